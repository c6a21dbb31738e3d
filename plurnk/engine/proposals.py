"""Operations that wait to be accepted: each has a row (202), one waiter and one answer (SPEC 5.3).

What was proposed is in the store, so it outlives the daemon; who waits for the answer is here. An accepted operation
is worked out once more, from its statement: it is carried out if it is what was shown, to the digest, and refused if
the world has changed since.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import msgspec
import trio

from plurnk.engine.asked import Also, Asked, Suspended, as_shown, digest_of, misfit
from plurnk.errors import NotFound, OutOfRoom, PlurnkError, Stale
from plurnk.language.ast import op_name
from plurnk.plugins.api import Accepted, CommandGrant, Proposal
from plurnk.rules.proposals import WRITE_CONFLICT, Event, move
from plurnk.store import approvals, log, proposals
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.proposals import Proposed
from plurnk.wire.notifications import LogEntry, LoopProposal, ProposalTarget
from plurnk.wire.results import OpResult

logger = logging.getLogger(__name__)

ABANDON_LIMIT_S: float = 15.0
"""Longer than an accepted change of files may take to be undone or finished."""

RETRY_S: float = 0.5

Decision: TypeAlias = Literal["accept", "reject", "cancel"]

_EVENTS: Final[Mapping[Decision, Event]] = {
    "accept": Event.APPLIED,
    "reject": Event.REJECTED,
    "cancel": Event.CANCELLED,
}
_WORDS: Final[Mapping[Event, str]] = {
    Event.REJECTED: "it was rejected",
    Event.CANCELLED: "it was cancelled",
    Event.ABANDONED: log.ABANDONED,
    Event.EXPIRED: "nobody answered in time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided. ``body`` None: as it was proposed."""

    event: Event
    body: str | None = None
    outcome: str | None = None
    grant: CommandGrant = field(default_factory=CommandGrant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """``status`` is the operation's after the decision; 404 nothing is pending, 409 somebody was first."""

    status: int
    outcome: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """An open proposal as it was told, and when."""

    told: LoopProposal
    at: str


@dataclass(slots=True, eq=False)
class _Waiting:
    """An open proposal. Its waiter is the task that does the operation; ``is_over``: nobody waits any more.

    ``pending`` None: its row is not written yet; ``is_told``: it is committed, too. ``asked`` None: the loop that
    proposed it has not gone on yet; ``taken_up``: it has by now, or never will. ``fresh``: what was worked out just
    now, as nobody is asked; it need not be worked out again.
    """

    asked: Asked | None = None
    pending: Pending | None = None
    verdict: Verdict | None = None
    fresh: Proposal | None = None
    decided: trio.Event = field(default_factory=trio.Event)
    answer: LogEntry | None = None
    is_told: bool = False
    is_over: bool = False
    is_suspended: bool = False
    answered: trio.Event = field(default_factory=trio.Event)
    taken_up: trio.Event = field(default_factory=trio.Event)

    @property
    def told(self) -> LoopProposal:
        assert self.pending is not None
        return self.pending.told

    def decide(self, verdict: Verdict) -> bool:
        """Whoever is first decides."""
        if self.verdict is not None:
            return False
        self.verdict = verdict
        self.decided.set()
        return True


class Proposals:
    """Those that are open, by the id of their row."""

    def __init__(self, store: Store, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._open: dict[int, _Waiting] = {}
        self._suspending = False

    # -- the one who waits

    async def see_through(self, asked: Asked, proposal: Proposal) -> LogEntry:
        """Propose, wait for a verdict, carry it out; returns the row with its answer.

        Raises:
            NotFound: the session went meanwhile.
            OutOfRoom, StoreFailed: the row or its answer could not be written.
            Suspended: the row is left as it is, proposed.

        Cancelled: the row is answered 499 ``loop_cancelled``, unless the effect was there already.
        """
        waiting = _Waiting(asked, fresh=proposal)
        del proposal  # which holds all that it would write: it is let go while somebody is asked
        return await self._see_through(waiting, asked, partial(self._propose, waiting, asked))

    async def see_through_reopened(self, asked: Asked, row_id: int) -> None:
        """The same for one that was proposed before the daemon was started. It may have been answered meanwhile."""
        waiting = self._open.get(row_id)
        if waiting is not None:
            waiting.asked = asked
            waiting.taken_up.set()
            await self._see_through(waiting, asked, trio.lowlevel.checkpoint)

    async def _see_through(self, waiting: _Waiting, asked: Asked, begin: Callable[[], Awaitable[object]]) -> LogEntry:
        try:
            await begin()
            verdict = await self._verdict(waiting, asked)
            waiting.answer = await self._carry_out(asked, verdict, waiting)
            return waiting.answer
        finally:
            # Shield: a proposal that nobody waits for any more must not look open (SPEC 5.3).
            with trio.move_on_after(ABANDON_LIMIT_S, shield=True):
                await self._see_answered(waiting)
            self._forget(waiting)

    def reopen(self, found: Sequence[Proposed]) -> None:
        """At a start: have these be decided again; ``see_through_reopened`` takes each up when its loop goes on."""
        for one in found:
            waiting = _Waiting(pending=Pending(one.told, one.at), is_told=True)
            waiting.verdict = _foregone(one.told.flags)
            self._open[one.told.log_entry_id] = waiting

    def reopened(self, loop_id: int) -> list[int]:
        """The rows of the loop that nobody has taken up yet, oldest first. To be asked before it proposes anything."""
        found = list(self._open.items())  # at once, as in suspend
        return sorted(row_id for row_id, waiting in found if waiting.told.loop_id == loop_id)

    def tell(self, row_id: int) -> None:
        """Show it to whoever asks what is open: its row is committed."""
        with suppress(KeyError):
            self._open[row_id].is_told = True

    def suspend(self) -> None:
        """The daemon stops: wait for no verdict any more. Those of models' loops stay open in the store."""
        self._suspending = True
        for waiting in list(self._open.values()):  # at once: the writer's thread may be putting another one there
            waiting.decided.set()

    # -- those who decide

    async def resolve(
        self,
        session_id: int,
        log_entry_id: int,
        decision: Decision,
        *,
        body: str | None = None,
        outcome: str | None = None,
        grant: CommandGrant | None = None,
        digest: str | None = None,
    ) -> Resolution:
        """Decide, and return when that has been carried out.

        Cancelled: the decision stands.
        """
        waiting = self._open.get(log_entry_id)
        if waiting is None or waiting.told.session_id != session_id:
            return await self._too_late(session_id, log_entry_id)
        if digest is not None and digest != waiting.told.attrs["digest"]:
            return Resolution(status=409, error="digest: it is not that of what was proposed; look at it again")
        if decision == "accept" and body is not None and waiting.verdict is None:
            if waiting.asked is None:
                await waiting.taken_up.wait()  # the daemon has just been started
            why = await misfit(waiting.asked, waiting.told, body)
            if why is not None and waiting.verdict is None:
                return Resolution(status=why.status, error=f"{why.detail}; it is still open")
        verdict = Verdict(event=_EVENTS[decision], body=body, outcome=outcome, grant=grant or CommandGrant())
        is_first = waiting.decide(verdict)
        await waiting.answered.wait()
        row = waiting.answer
        if not is_first or row is None:  # None: its loop ended before it was taken up, or its session is gone
            return await self._too_late(session_id, log_entry_id)
        return Resolution(status=row.status_rx, outcome=row.outcome, error=row.rx.get("error"))

    async def _too_late(self, session_id: int, log_entry_id: int) -> Resolution:
        """What became of a proposal that was decided by somebody else, if there is one."""
        found = await self._store.read(lambda db: proposals.find(db, session_id, log_entry_id))
        if found is None:
            return Resolution(status=404, error=f"nothing is pending at log row {log_entry_id}")
        if found.state == "proposed":
            return Resolution(status=503, error="the daemon is stopping; it stays open, and the next start has it")
        happened = found.outcome or found.state
        return Resolution(status=409, error=f"somebody was first: {happened}", outcome=happened)

    def pending(self, session_id: int) -> tuple[Pending, ...]:
        """The session's, oldest first."""
        return tuple(
            waiting.pending
            for _row_id, waiting in sorted(self._open.items())
            if waiting.pending and waiting.is_told and waiting.verdict is None
            if waiting.told.session_id == session_id
        )

    async def abandon(self, run_ids: Collection[int]) -> None:
        """End those of these runs, as their session goes; returns when what was being carried out is done or undone."""
        found = [waiting for waiting in list(self._open.values()) if waiting.told.run_id in run_ids]  # as in suspend
        for waiting in found:
            waiting.decide(Verdict(event=Event.ABANDONED))
        for waiting in found:
            if waiting.asked is not None:  # else its loop ends it
                await waiting.answered.wait()

    def drop(self, loop_id: int) -> None:
        """Forget what nobody will take up any more, as the loop has ended and its rows have been answered."""
        for row_id in self.reopened(loop_id):
            self._forget(self._open[row_id])

    # -- the steps of one

    async def _propose(self, waiting: _Waiting, asked: Asked) -> None:
        try:
            await self._store.write(partial(self._begin, waiting, asked))
        except Exception:
            self._forget(waiting)  # nothing was written, and the id that the row was to have is free again
            raise

    def _forget(self, waiting: _Waiting) -> None:
        waiting.is_over = True
        if waiting.pending is not None and self._open.get(waiting.told.log_entry_id) is waiting:
            del self._open[waiting.told.log_entry_id]
        waiting.taken_up.set()
        waiting.answered.set()

    def _begin(self, waiting: _Waiting, asked: Asked, tx: Tx) -> None:
        """Write the row and announce the proposal.

        The waiter is put in its place here, on the writer's thread: only here the row's id is known, and whoever
        is told of it, which is after the commit, finds the waiter there.
        """
        turn, proposal = asked.turn, waiting.fresh
        if waiting.is_over or proposal is None:
            raise NotFound("nobody waits for the answer any more")
        row = log.add(tx, turn, asked.statement, origin=asked.origin, result=OpResult(status=202))
        target = ProposalTarget(scheme=row.scheme, pathname=row.pathname)
        told = LoopProposal(
            log_entry_id=row.id,
            session_id=turn.session_id,
            run_id=turn.run_id,
            loop_id=turn.loop_id,
            turn_id=turn.turn_id,
            op=op_name(asked.statement),
            target=target,
            body=proposal.body,
            attrs={**proposal.attrs, "digest": digest_of(asked.statement, target, proposal)},
            flags=msgspec.to_builtins(asked.flags),
        )
        approval_id = None if asked.flags.yolo else approvals.matching(tx.db, told)
        if approval_id is not None:
            told = msgspec.structs.replace(told, flags={**told.flags, "approved": approval_id})
        waiting.pending = Pending(told, row.at)
        waiting.verdict = _foregone(told.flags)
        if waiting.verdict is None:
            waiting.fresh = None
        self._open[row.id] = waiting
        proposals.add(tx, told, asked.statement, asked.project_root)

    async def _verdict(self, waiting: _Waiting, asked: Asked) -> Verdict:
        """Wait for it. Raises Suspended, if the daemon stops meanwhile and the next one can take it up."""
        if waiting.verdict is None and not self._suspending:
            begun = trio.current_time()
            with trio.move_on_after(self._timeout_s) as patience:
                await waiting.decided.wait()
            asked.patience.waited_s += trio.current_time() - begun
            if patience.cancelled_caught:
                waiting.decide(Verdict(event=Event.EXPIRED))
        if waiting.verdict is None and asked.origin == "model":
            waiting.is_suspended = True
            raise Suspended
        waiting.decide(Verdict(event=Event.ABANDONED))  # nobody takes up what a client asked for
        assert waiting.verdict is not None
        return waiting.verdict

    async def _carry_out(self, asked: Asked, verdict: Verdict, waiting: _Waiting) -> LogEntry:
        told, row_id = waiting.told, waiting.told.log_entry_id
        if verdict.event is not Event.APPLIED:
            return await self._refuse(asked, verdict, row_id)
        rows: list[LogEntry] = []

        def record(tx: Tx, result: OpResult) -> None:
            rows.append(_answer(tx, row_id, verdict, result, asked.also))

        body = told.body if verdict.body is None else verdict.body
        try:
            shown = waiting.fresh or await as_shown(asked, told)
            await shown.apply(Accepted(log_entry_id=row_id, body=body, grant=verdict.grant, record=record))
        except Exception as error:  # noqa: BLE001 – SPEC 5.3: what an apply raises is the operation's answer
            outcome = verdict.outcome or (WRITE_CONFLICT if isinstance(error, Stale) else None)
            failed = Verdict(event=Event.REFUSED, outcome=outcome)
            return await self._refuse(asked, failed, row_id, _refusal(error))
        return rows[-1]

    async def _refuse(self, asked: Asked, verdict: Verdict, row_id: int, result: OpResult | None = None) -> LogEntry:
        """Answer a proposal that has no effect."""
        status = move("proposed", verdict.event).status
        answer = result or OpResult(status=status or 500, error=_WORDS[verdict.event])
        return await self._store.write(lambda tx: _answer(tx, row_id, verdict, answer, asked.also))

    async def _see_answered(self, waiting: _Waiting) -> None:
        """See that the row, if it was written, has an answer, whatever ended the wait."""
        while waiting.answer is None and not (waiting.is_over or waiting.is_suspended):
            try:
                waiting.answer = await self._store.write(partial(_abandon, waiting))
            except (OutOfRoom, StoreFailed) as error:
                logger.error("a proposal has no answer: %s; trying again", error.detail)  # noqa: TRY400 – its message says all
                await trio.sleep(RETRY_S)
            else:
                break


def _foregone(flags: Mapping[str, Any]) -> Verdict | None:
    """The verdict on what its flags say is accepted without asking anybody."""
    if flags.get("yolo") is True:
        return Verdict(event=Event.APPLIED)
    approved = flags.get("approved")
    return None if approved is None else Verdict(event=Event.APPLIED, outcome=f"approved:{approved}")


def _answer(tx: Tx, row_id: int, verdict: Verdict, result: OpResult, also: Also | None) -> LogEntry:
    moved = move("proposed", verdict.event)
    row = log.answer(tx, row_id, result, state=moved.state, outcome=verdict.outcome or moved.outcome)
    if row is None:
        raise NotFound("the session was deleted")
    if also is not None:
        also(tx, row)
    return row


def _abandon(waiting: _Waiting, tx: Tx) -> LogEntry | None:
    """Answer 499 if there is no answer; the row as it is then, None when it is gone or was never written.

    Only here, after the unit that was to write the row, it is known whether that was done: whoever proposed may have
    been cancelled while the unit waited for its turn.
    """
    if waiting.pending is None:
        return None
    row_id = waiting.told.log_entry_id
    return log.abandon(tx, row_id) or log.get(tx.db, row_id)


def _refusal(error: Exception) -> OpResult:
    if isinstance(error, PlurnkError) and error.status != 500:
        return OpResult(status=error.status, error=error.detail)
    logger.error("an accepted operation failed", exc_info=error)
    return OpResult(status=500, error=f"it failed inside plurnk: {error}")
