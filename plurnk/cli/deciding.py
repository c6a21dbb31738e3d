"""What becomes of the proposals of the loop that a command watches: it was the one who asked, so it answers."""

from __future__ import annotations

from typing import Final

import trio

from plurnk.cli.asking import Answer, ask, can_ask
from plurnk.cli.rows import REJECTED, first_line, printable
from plurnk.cli.waterfall import Waterfall
from plurnk.client import Client, Disconnected, Heard, RequestError
from plurnk.wire.answers import LoopResolveResult, ProposalView
from plurnk.wire.notifications import LogEntryUpdated, LoopProposal

NOBODY: Final = Answer(
    decision="reject", outcome=f"{REJECTED}: nobody can be asked here; commands run with --yolo or from a terminal"
)
_CANCELLED: Final = Answer(decision="cancel")


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
        self._open: dict[int, trio.CancelScope] = {}
        self.refused = 0

    def take(self, proposal: LoopProposal | ProposalView) -> None:
        """See that it is answered, but for one that the daemon accepts by itself."""
        if proposal.flags.get("yolo") is not True and proposal.log_entry_id not in self._taken:
            self._taken.add(proposal.log_entry_id)
            self._open[proposal.log_entry_id] = trio.CancelScope()
            self._tasks.start_soon(self._see_to, proposal)

    def hear(self, heard: Heard) -> None:
        """Take back the question about what was decided elsewhere."""
        if isinstance(heard, LogEntryUpdated) and heard.entry.state != "proposed":
            scope = self._open.get(heard.entry.id)
            if scope is not None:
                scope.cancel(reason="it is decided")

    def cancel_all(self) -> bool:
        """Answer those that are open with cancel; False: there are none."""
        for row_id, scope in self._open.items():
            scope.cancel(reason="Ctrl-C")
            self._tasks.start_soon(self._resolve, row_id, _CANCELLED)
        return bool(self._open)

    async def _see_to(self, proposal: LoopProposal | ProposalView) -> None:
        row_id = proposal.log_entry_id
        answer = None
        try:
            with self._open[row_id]:
                answer = await self._answer(proposal)
        finally:
            del self._open[row_id]
        if answer is None:
            self._shown.note("it is decided")
        else:
            await self._resolve(row_id, answer)

    async def _answer(self, proposal: LoopProposal | ProposalView) -> Answer:
        if self._yolo:
            return Answer(decision="accept")
        if not can_ask():
            self.refused += 1
            self._shown.note(f"! rejected, as nobody can be asked: {first_line(proposal.body)}")
            self._shown.note("  --yolo accepts every proposal; on a terminal you are asked")
            return NOBODY
        async with self._one_at_a_time:
            with self._shown.asking():
                return await ask(proposal)

    async def _resolve(self, row_id: int, answer: Answer) -> None:
        while True:
            try:
                resolved: LoopResolveResult = await self._client.resolve(
                    row_id, answer.decision, body=answer.body, outcome=answer.outcome
                )
            except Disconnected:
                continue  # if it stood, the daemon says now that nothing is pending
            except RequestError as error:
                self._shown.note(f"! it could not be answered: {error}")
                return
            if resolved.status in {404, 409}:
                self._shown.note(printable(f"! {resolved.error}"))
            return
