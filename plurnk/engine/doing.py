"""Doing what the model said: its statements in order, and the end of the turn with the last one (SPEC 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plurnk.engine.asking import Answer
from plurnk.engine.waiting import Wait, wait_after
from plurnk.engine.workshop import Job, Workshop
from plurnk.rules import rails, telemetry
from plurnk.rules.rails import Judgment, Mark, Rails
from plurnk.rules.telemetry import Telemetry
from plurnk.store import turns
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.turns import TurnEnd
from plurnk.wire.notifications import LogEntry

CARRY_ON, NO_OPS = 102, 422
LAST = frozenset({200, 499})
"""The statuses of a turn that is the last one of its loop."""


@dataclass(frozen=True, slots=True)
class Done:
    """A turn that has ended, and what its loop waits for before the next one, if ``strikes_out`` does not end it."""

    status: int
    wait: Wait
    strikes_out: bool


def turn_status(rows: Sequence[LogEntry]) -> int:
    """The last broadcast SEND's code, else 102; 422 when nothing was done."""
    said = [row.signal for row in rows if row.op == "SEND" and row.pathname is None and row.status_rx < 400]
    return said[-1] if said else CARRY_ON if rows else NO_OPS


async def do(shop: Workshop, job: Job, turn: TurnRef, answer: Answer) -> Done:
    """Do the statements in order; the last one's transaction also ends the turn."""
    limits = shop.limits
    todo = answer.statements[: limits.max_commands]
    rows: list[LogEntry] = []
    ends: list[Done] = []  # the last one counts: what is undone is done again

    def end(tx: Tx, last: LogEntry | None = None) -> None:
        rows_done = rows if last is None else [*rows, last]
        status = turn_status(rows_done)
        wait = wait_after(tx.db, turn, status)
        mark = Mark(rails.fingerprint(todo, parks=wait.parks and limits.park_s > 0), rails.fault(rows_done))
        before = turns.marks(tx.db, turn.loop_id, last=limits.rails.span_turns - 1)
        judged = rails.judge([*before, mark], limits.rails)
        ends.append(Done(status, wait, strikes_out=judged.is_over))
        goes_on = status not in LAST and not judged.is_over
        remaining = job.loop.max_turns - turn.turn_seq if goes_on else 0
        ended = TurnEnd(
            status=status,
            told=answer.retries,
            telemetry=(*_telemetry(answer, rows_done, wait), *_warnings(judged, limits.rails, remaining)),
            mark=mark,
        )
        turns.end(tx, turn, ended)

    for number, statement in enumerate(todo, 1):
        also = end if number == len(todo) else None
        row, _result = await shop.dispatcher.dispatch(turn, statement, job.asker, also=also)
        rows.append(row)
    if not todo:
        await shop.store.write(end)
    return ends[-1]


def _telemetry(answer: Answer, rows: Sequence[LogEntry], wait: Wait) -> tuple[Telemetry, ...]:
    """What the next turn is told of this one."""
    events: list[Telemetry] = [telemetry.action_failure(row) for row in rows if row.status_rx >= 400]
    events += telemetry.parse_failures(answer.errors, answer.completion.content)
    emitted = len(answer.statements)
    if emitted > len(rows):
        events.append(telemetry.max_commands(emitted=emitted, dropped=emitted - len(rows)))
    if not emitted:
        events.append(telemetry.no_ops(answer.completion.finish_reason))
    if wait.in_vain:
        events.append(telemetry.NothingToWaitFor())
    return tuple(events)


def _warnings(judged: Judgment, limits: Rails, remaining: int) -> Iterator[Telemetry]:
    """What the next turn is told of how the loop may be ended; ``remaining`` turns are left to it, itself included."""
    if judged.reason is not None:
        yield telemetry.strike(streak=judged.streak, max_strikes=limits.max_strikes, reason=judged.reason)
    if judged.period is not None:
        yield telemetry.cycle(period=judged.period, cycles=limits.min_cycles)
    if 0 < remaining <= limits.max_strikes:
        yield telemetry.sudden_death(remaining=remaining)
