"""What becomes of the proposals of the loop that a command watches: it was the one who asked, so it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import trio

from plurnk.cli.approving import in_words
from plurnk.cli.asking import Answer, ask, can_ask
from plurnk.cli.reviewing import Proposed, digest_of, summary
from plurnk.cli.rows import REJECTED
from plurnk.cli.waterfall import Waterfall
from plurnk.client import Client, ClientError, Disconnected, Heard, RequestError
from plurnk.rules.proposals import TABLE, WRITE_CONFLICT, Event
from plurnk.wire.notifications import LogEntryUpdated
from plurnk.wire.params import ApprovalAddParams

NOBODY: Final = Answer(
    decision="reject",
    outcome=f"{REJECTED}: nobody can be asked here; proposals are accepted by --yolo or at a terminal",
)
_CANCELLED: Final = Answer(decision="cancel")
_ELSEWHERE: Final = {404, 409, 503}
_FAILED: Final = {WRITE_CONFLICT, TABLE["proposed"][Event.REFUSED].outcome}


@dataclass(frozen=True, slots=True)
class _Open:
    """A proposal that has no answer yet; who cancels ``scope`` has it asked no longer, which is so when ``over``."""

    proposal: Proposed
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)


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
        self._taken: set[int] = set()
        self._decided: set[int] = set()
        self._open: dict[int, _Open] = {}
        self.refused = 0

    def take(self, proposal: Proposed) -> None:
        """See that it is answered, but for one that the daemon accepts by itself: by the loop's flag or an approval.

        Once: the open ones are told again to whoever attaches, so after every link that broke.
        """
        row_id = proposal.log_entry_id
        accepted = proposal.flags.get("yolo") is True or proposal.flags.get("approved") is not None
        if not accepted and row_id not in self._taken | self._decided:
            self._taken.add(row_id)
            self._tasks.start_soon(self._see_to, proposal, self._opened(proposal))

    async def hear(self, heard: Heard) -> None:
        """Take back the question about what was decided elsewhere, or do not even ask it.

        Returns when nothing is asked about it any more: what is shown next has a line of its own.
        """
        if isinstance(heard, LogEntryUpdated) and heard.entry.state != "proposed":
            self._decided.add(heard.entry.id)
            if (asked := self._open.get(heard.entry.id)) is not None:
                await _taken_back(asked)

    async def take_all_back(self) -> None:
        """Ask nothing more about those that are open, as they are decided; returns as ``hear``."""
        for asked in list(self._open.values()):
            await _taken_back(asked)

    def cancel_all(self) -> bool:
        """Answer those that are open with cancel; False: there are none."""
        for asked in self._open.values():
            asked.scope.cancel(reason="Ctrl-C")
            self._tasks.start_soon(self._resolve, asked.proposal, _CANCELLED)
        return bool(self._open)

    def _opened(self, proposal: Proposed) -> _Open:
        asked = self._open[proposal.log_entry_id] = _Open(proposal)
        return asked

    async def _see_to(self, proposal: Proposed, asked: _Open) -> None:
        answer = await self._answer_or_none(asked, None)
        while answer is not None:
            if answer.always is not None:
                await self._stand(answer.always)
            if await self._resolve(proposal, answer):
                return
            answer = await self._answer_or_none(self._opened(proposal), answer.body)

    async def _answer_or_none(self, asked: _Open, draft: str | None) -> Answer | None:
        """Find the answer; None: it is decided meanwhile, and nobody is asked any more."""
        answer = None
        try:
            with asked.scope:
                if asked.proposal.log_entry_id not in self._decided:
                    answer = await self._answer(asked.proposal, draft)
            if answer is None:
                self._shown.note("it is decided")
        finally:
            del self._open[asked.proposal.log_entry_id]
            asked.over.set()
        return answer

    async def _answer(self, proposal: Proposed, draft: str | None) -> Answer:
        if self._yolo:
            return Answer(decision="accept")
        if not can_ask():
            self.refused += 1
            self._shown.note(f"! rejected, as nobody can be asked: {summary(proposal)}")
            self._shown.note("  --yolo accepts every proposal; on a terminal you are asked")
            return NOBODY
        async with self._one_at_a_time:
            with self._shown.asking():
                return await ask(proposal, draft)

    async def _stand(self, approval: ApprovalAddParams) -> None:
        try:
            added = await self._client.add_approval(approval)
        except (ClientError, RequestError) as error:
            self._shown.note(f"! for sure this one alone is accepted: {error}")
        else:
            self._shown.note(f"accepted from now on: {in_words(added)}")
            self._shown.note(f"  plurnk approvals --remove {added.id} ends that")

    async def _resolve(self, proposal: Proposed, answer: Answer) -> bool:
        """Answer it; False: not like that, which is said, and it is still open."""
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
                return True
            # Of one that failed when it was carried out, its row says so.
            elsewhere = resolved.status in _ELSEWHERE and resolved.outcome not in _FAILED
            stays = resolved.outcome is None and not elsewhere and answer.body is not None and resolved.status >= 400
            if elsewhere or stays:
                self._shown.note(f"! {resolved.error}")
            return not stays


async def _taken_back(asked: _Open) -> None:
    asked.scope.cancel(reason="it is decided")
    await asked.over.wait()
