"""Operations that wait to be accepted: each has a row (202), one waiter and one answer (SPEC 5.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, TypeAlias

import msgspec
import trio

from plurnk.errors import NotFound, OutOfRoom, PlurnkError
from plurnk.language.ast import Statement, op_name
from plurnk.plugins.api import Accepted, CommandGrant, Proposal
from plurnk.rules.proposals import TABLE, Event
from plurnk.store import log
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import LogEntry, LoopProposal, Origin, ProposalTarget
from plurnk.wire.params import LoopFlags
from plurnk.wire.results import OpResult

logger = logging.getLogger(__name__)

ABANDON_LIMIT_S: float = 5.0
RETRY_S: float = 0.5

Decision: TypeAlias = Literal["accept", "reject", "cancel"]
Also: TypeAlias = Callable[[Tx, LogEntry], None]
"""More to write in the transaction of a row that is done with, such as the turn's end."""

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


@dataclass(slots=True)
class Patience:
    """How long somebody has waited for verdicts in all: that counts as no time of a loop's (SPEC 5.3)."""

    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A proposal and what it is about. ``also`` is run in the transaction of its answer."""

    turn: TurnRef
    statement: Statement
    origin: Origin
    flags: LoopFlags
    patience: Patience
    proposal: Proposal
    also: Also | None


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
    """An open proposal. Its waiter is the task that does the operation; ``is_over``: it waits no more."""

    asked: Asked
    pending: Pending | None = None
    verdict: Verdict | None = None
    decided: trio.Event = field(default_factory=trio.Event)
    answer: LogEntry | None = None
    is_over: bool = False
    answered: trio.Event = field(default_factory=trio.Event)

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

    async def see_through(self, asked: Asked) -> LogEntry:
        """Propose, wait for a verdict, carry it out; returns the row with its answer.

        Raises:
            NotFound: the session went meanwhile.
            OutOfRoom, StoreFailed: the row or its answer could not be written.

        Cancelled: the row is answered 499 ``loop_cancelled``, unless the effect was there already.
        """
        waiting = _Waiting(asked)
        try:
            row_id = await self._propose(waiting)
            verdict = await self._verdict(waiting)
            waiting.answer = await self._carry_out(asked, verdict, row_id)
            return waiting.answer
        finally:
            # Shield: a proposal that nobody waits for any more must not look open (SPEC 5.3).
            with trio.move_on_after(ABANDON_LIMIT_S, shield=True):
                await self._see_answered(waiting)
            self._forget(waiting)
            waiting.answered.set()

    async def resolve(
        self,
        session_id: int,
        log_entry_id: int,
        decision: Decision,
        *,
        body: str | None = None,
        outcome: str | None = None,
        grant: CommandGrant | None = None,
    ) -> Resolution:
        """Decide, and return when that has been carried out.

        Cancelled: the decision stands.
        """
        waiting = self._open.get(log_entry_id)
        if waiting is None or waiting.asked.turn.session_id != session_id:
            return Resolution(status=404, error=f"nothing is pending at log row {log_entry_id}")
        verdict = Verdict(event=_EVENTS[decision], body=body, outcome=outcome, grant=grant or CommandGrant())
        is_first = waiting.decide(verdict)
        await waiting.answered.wait()
        row = waiting.answer
        happened = row.outcome or row.state if row is not None else "session_gone"
        if not is_first:
            return Resolution(status=409, error=f"somebody was first: {happened}", outcome=happened)
        if row is None:
            return Resolution(status=499, error="the session was deleted", outcome=happened)
        return Resolution(status=row.status_rx, outcome=row.outcome, error=row.rx.get("error"))

    def pending(self, session_id: int) -> tuple[Pending, ...]:
        """The session's, oldest first."""
        return tuple(
            waiting.pending
            for _row_id, waiting in sorted(self._open.items())
            if waiting.pending and waiting.verdict is None and waiting.asked.turn.session_id == session_id
        )

    def abandon(self, run_ids: Collection[int]) -> None:
        """End those of these runs, as their session goes."""
        for waiting in list(self._open.values()):  # at once: the writer's thread may be putting another one there
            if waiting.asked.turn.run_id in run_ids:
                waiting.decide(Verdict(event=Event.ABANDONED))

    # -- the steps of one

    async def _propose(self, waiting: _Waiting) -> int:
        try:
            return await self._store.write(partial(self._begin, waiting))
        except Exception:
            self._forget(waiting)  # nothing was written, and the id that the row was to have is free again
            raise

    def _forget(self, waiting: _Waiting) -> None:
        waiting.is_over = True
        if waiting.pending is not None:
            row_id = waiting.pending.told.log_entry_id
            if self._open.get(row_id) is waiting:
                del self._open[row_id]

    def _begin(self, waiting: _Waiting, tx: Tx) -> int:
        """Write the row and announce the proposal.

        The waiter is put in its place here, on the writer's thread: only here the row's id is known, and whoever
        is told of it, which is after the commit, finds the waiter there.
        """
        asked, turn = waiting.asked, waiting.asked.turn
        if waiting.is_over:
            raise NotFound("nobody waits for the answer any more")
        row = log.add(tx, turn, asked.statement, origin=asked.origin, result=OpResult(status=202))
        told = LoopProposal(
            log_entry_id=row.id,
            session_id=turn.session_id,
            run_id=turn.run_id,
            loop_id=turn.loop_id,
            turn_id=turn.turn_id,
            op=op_name(asked.statement),
            target=ProposalTarget(scheme=row.scheme, pathname=row.pathname),
            body=asked.proposal.body,
            attrs=dict(asked.proposal.attrs),
            flags=msgspec.to_builtins(asked.flags),
        )
        waiting.pending = Pending(told, row.at)
        if asked.flags.yolo:
            waiting.verdict = Verdict(event=Event.APPLIED)
        self._open[row.id] = waiting
        tx.announce(turn.session_id, told)
        return row.id

    async def _verdict(self, waiting: _Waiting) -> Verdict:
        if waiting.verdict is None:
            begun = trio.current_time()
            with trio.move_on_after(self._timeout_s):
                await waiting.decided.wait()
            waiting.asked.patience.waited_s += trio.current_time() - begun
            waiting.decide(Verdict(event=Event.EXPIRED))
        assert waiting.verdict is not None
        return waiting.verdict

    async def _carry_out(self, asked: Asked, verdict: Verdict, row_id: int) -> LogEntry:
        if verdict.event is not Event.APPLIED:
            return await self._refuse(asked, verdict, row_id)
        rows: list[LogEntry] = []

        def record(tx: Tx, result: OpResult) -> None:
            rows.append(_answer(tx, row_id, verdict, result, asked.also))

        body = asked.proposal.body if verdict.body is None else verdict.body
        try:
            await asked.proposal.apply(Accepted(body=body, grant=verdict.grant, record=record))
        except Exception as error:  # noqa: BLE001 – SPEC 5.3: what an apply raises is the operation's answer
            failed = Verdict(event=Event.REFUSED, outcome=verdict.outcome)
            return await self._refuse(asked, failed, row_id, _refusal(error))
        return rows[-1]

    async def _refuse(self, asked: Asked, verdict: Verdict, row_id: int, result: OpResult | None = None) -> LogEntry:
        """Answer a proposal that has no effect."""
        status = TABLE["proposed"][verdict.event].status
        answer = result or OpResult(status=status or 500, error=_WORDS[verdict.event])
        return await self._store.write(lambda tx: _answer(tx, row_id, verdict, answer, asked.also))

    async def _see_answered(self, waiting: _Waiting) -> None:
        """See that the row, if it was written, has an answer, whatever ended the wait."""
        while waiting.answer is None and not waiting.is_over:
            try:
                waiting.answer = await self._store.write(partial(_abandon, waiting))
            except (OutOfRoom, StoreFailed) as error:
                logger.error("a proposal has no answer: %s; trying again", error.detail)  # noqa: TRY400 – its message says all
                await trio.sleep(RETRY_S)
            else:
                break


def _answer(tx: Tx, row_id: int, verdict: Verdict, result: OpResult, also: Also | None) -> LogEntry:
    move = TABLE["proposed"][verdict.event]
    row = log.answer(tx, row_id, result, state=move.state, outcome=verdict.outcome or move.outcome)
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
    row_id = waiting.pending.told.log_entry_id
    return log.abandon(tx, row_id) or log.get(tx.db, row_id)


def _refusal(error: Exception) -> OpResult:
    if isinstance(error, PlurnkError) and error.status != 500:
        return OpResult(status=error.status, error=error.detail)
    logger.error("an accepted operation failed", exc_info=error)
    return OpResult(status=500, error=f"it failed inside plurnk: {error}")
