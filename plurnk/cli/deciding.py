"""What becomes of the proposals of the loop that a command watches: it was the one who asked, so it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from plurnk.cli.approving import in_words
from plurnk.cli.asking import Answer, ask, can_ask
from plurnk.cli.reviewing import Proposed, digest_of, summary
from plurnk.cli.rows import REJECTED, printable
from plurnk.cli.waterfall import Waterfall
from plurnk.client import Client, ClientError, Disconnected, Heard, RequestError
from plurnk.wire.notifications import LogEntryUpdated
from plurnk.wire.params import ApprovalAddParams

NOBODY: Final = Answer(
    decision="reject",
    outcome=f"{REJECTED}: nobody can be asked here; proposals are accepted by --yolo or at a terminal",
)
_CANCELLED: Final = Answer(decision="cancel")


@dataclass(frozen=True, slots=True)
class _Open:
    """A proposal that has no answer yet; who leaves ``scope`` asks no longer."""

    proposal: Proposed
    scope: trio.CancelScope


class Decider:
    """Answers proposals: yes where ``yolo``, else as a person says, else no, as nobody is there to ask.

    ``tasks`` holds the questions. ``refused`` counts the proposals that nobody could be asked about.
    """

    def __init__(self, client: Client, shown: Waterfall, tasks: trio.Nursery, *, yolo: bool) -> None:
        self._client = client
        self._shown = shown
        self._tasks = tasks
        self._yolo = yolo
        self._one_at_a_time = trio.Lock()
        self._seen: set[int] = set()
        self._open: dict[int, _Open] = {}
        self.refused = 0

    def take(self, proposal: Proposed) -> None:
        """See that it is answered, but for one that the daemon accepts by itself: by the loop's flag or an approval.

        Once: the open ones are told again to whoever attaches, so after every link that broke.
        """
        row_id = proposal.log_entry_id
        accepted = proposal.flags.get("yolo") is True or proposal.flags.get("approved") is not None
        if not accepted and row_id not in self._seen:
            self._seen.add(row_id)
            self._open[row_id] = _Open(proposal, trio.CancelScope())
            self._tasks.start_soon(self._see_to, self._open[row_id])

    def hear(self, heard: Heard) -> None:
        """Take back the question about what was decided elsewhere, or do not even ask it."""
        if isinstance(heard, LogEntryUpdated) and heard.entry.state != "proposed":
            self._seen.add(heard.entry.id)
            if (asked := self._open.get(heard.entry.id)) is not None:
                asked.scope.cancel(reason="it is decided")

    def cancel_all(self) -> bool:
        """Answer those that are open with cancel; False: there are none."""
        for asked in self._open.values():
            asked.scope.cancel(reason="Ctrl-C")
            self._tasks.start_soon(self._resolve, asked.proposal, _CANCELLED)
        return bool(self._open)

    async def _see_to(self, asked: _Open) -> None:
        answer = None
        try:
            with asked.scope:
                answer = await self._answer(asked.proposal)
        finally:
            del self._open[asked.proposal.log_entry_id]
        if answer is None:
            self._shown.note("it is decided")
            return
        if answer.always is not None:
            await self._stand(answer.always)
        await self._resolve(asked.proposal, answer)

    async def _answer(self, proposal: Proposed) -> Answer:
        if self._yolo:
            return Answer(decision="accept")
        if not can_ask():
            self.refused += 1
            self._shown.note(f"! rejected, as nobody can be asked: {summary(proposal)}")
            self._shown.note("  --yolo accepts every proposal; on a terminal you are asked")
            return NOBODY
        async with self._one_at_a_time:
            with self._shown.asking():
                return await ask(proposal)

    async def _stand(self, approval: ApprovalAddParams) -> None:
        try:
            added = await self._client.add_approval(approval)
        except (ClientError, RequestError) as error:
            self._shown.note(f"! for sure this one alone is accepted: {error}")
        else:
            self._shown.note(f"accepted from now on: {in_words(added)}")
            self._shown.note(f"  plurnk approvals --remove {added.id} ends that")

    async def _resolve(self, proposal: Proposed, answer: Answer) -> None:
        while True:
            try:
                resolved = await self._client.resolve(
                    proposal.log_entry_id,
                    answer.decision,
                    body=answer.body,
                    outcome=answer.outcome,
                    digest=digest_of(proposal),
                )
            except Disconnected:
                continue  # if it stood, the daemon says now that nothing is pending
            except RequestError as error:
                self._shown.note(f"! it could not be answered: {error}")
                return
            if resolved.status in {404, 409}:
                self._shown.note(printable(f"! {resolved.error}"))
            return
