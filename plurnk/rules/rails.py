"""What ends a loop that does nothing but fail or repeat itself (SPEC 3.6): all of it a function of its turns.

A turn leaves a ``Mark``; ``judge`` looks at the marks of a loop and nothing else, so a loop that goes on after a
restart of the daemon is judged as if there had been none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from plurnk.content.canonical import canonical_json
from plurnk.language.ast import (
    Copy,
    Edit,
    Exec,
    Find,
    Hide,
    LineMarker,
    Move,
    Read,
    Send,
    Show,
    Statement,
    Target,
    UrlTarget,
    op_name,
)
from plurnk.language.targets import canonical
from plurnk.rules.proposals import TABLE, Event
from plurnk.wire.notifications import LogEntry

FINGERPRINT_CHARS: Final = 200
"""A longer fingerprint is replaced by its hash: a loop has a thousand, and a target may be as long as an answer."""

NOTHING_DONE: Final = "no statement"

_FAILED: Final = 400
_NO_FAULTS: Final = frozenset({404, 416, 501})
"""Looked for and not found: what is there, how long it is, what this daemon can do."""

_CONFLICT: Final = 409
_DECIDED: Final = frozenset({TABLE["proposed"][Event.REJECTED].status, _CONFLICT})
"""How a failed proposal ends that was well made: rejected, or overtaken by the world before it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rails:
    """The limits. ``max_strikes`` 0: no turn is a strike."""

    max_strikes: int = 3
    min_cycles: int = 3
    max_cycle_period: int = 4

    @property
    def span_turns(self) -> int:
        """So many turns, the last ones of a loop, are judged as all of them would be."""
        return max(self.max_strikes - 1, 0) + self.max_cycle_period * self.min_cycles


@dataclass(frozen=True, slots=True)
class Mark:
    """What a turn was. ``fingerprint`` "": it repeats no turn. ``fault``: why it is a strike by itself."""

    fingerprint: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Judgment:
    """What the last turn of a loop comes to.

    ``streak``: strikes in a row, at most as many as end a loop. ``reason``: why the last turn is one; None: it is
    none. ``period``: in turns, of the cycle that it completes. ``is_over``: the loop is to be ended.
    """

    streak: int = 0
    reason: str | None = None
    period: int | None = None
    is_over: bool = False


# -- marks


def fingerprint(statements: Sequence[Statement], *, parks: bool) -> str:
    """What a turn did, by what it did it to: the same for the same set of operations.

    "" for a turn without a statement, and for one that only waits and ``parks``: the next one comes with news.
    """
    if not statements or (parks and all(isinstance(each, Send) and each.target is None for each in statements)):
        return ""
    text = canonical_json(sorted({_print(each) for each in statements}))
    if len(text) <= FINGERPRINT_CHARS:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _print(statement: Statement) -> str:
    """``OP|target``, and what else tells it from another one of that target. Nothing but the last has a |."""
    parts: list[str] = [op_name(statement), _address(statement.target)]
    match statement:
        case Find() | Read() | Show() | Hide():
            matcher = statement.body.raw if statement.body else ""
            parts += [_signal(statement.signal), _marker(statement.line_marker), matcher]
        case Edit():
            parts += [_marker(statement.line_marker), statement.body or ""]
        case Copy() | Move():
            parts += [_marker(statement.line_marker), _address(statement.body)]
        case Exec():
            parts += [str(statement.signal), statement.body or ""]
        case Send():
            said = "" if statement.target is None or statement.body is None else statement.body.raw
            parts += [str(statement.signal), said]
    return "|".join(parts)


def _signal(signal: tuple[str, ...] | int | None) -> str:
    """The tags that an entry has to have, in any order, or the status of a HIDE."""
    said = ",".join(sorted(signal)) if isinstance(signal, tuple) else "" if signal is None else str(signal)
    return said.replace("|", "%7C")


def _address(target: Target | None) -> str:
    if target is None:
        return ""
    fragment = target.fragment if isinstance(target, UrlTarget) else None
    return (canonical(target) if fragment is None else f"{canonical(target)}#{fragment}").replace("|", "%7C")


def _marker(marker: LineMarker | None) -> str:
    return "" if marker is None else f"{marker.first},{marker.last}"


def fault(rows: Sequence[LogEntry]) -> str | None:
    """Why a turn whose statements came to these rows is a strike by itself; None: it is none.

    Statements that could not be parsed are no rows, and no fault beside others that are.
    """
    if not rows:
        return NOTHING_DONE
    failed = next(filter(_is_fault, rows), None)
    return None if failed is None else f"{failed.op} ended with {failed.status_rx}"


def _is_fault(row: LogEntry) -> bool:
    """By state and status alone: the outcome of a proposal is in the words of whoever decided."""
    if row.status_rx < _FAILED or row.status_rx in _NO_FAULTS or row.state == "cancelled":
        return False
    return not (row.state == "failed" and row.status_rx in _DECIDED)


# -- the judgment


def judge(history: Sequence[Mark], rails: Rails) -> Judgment:
    """Judge a loop by its turns, oldest first, of which only the last ``rails.span_turns`` count."""
    prints = [mark.fingerprint for mark in history]
    streak = 0
    for number in range(len(history), max(0, len(history) - rails.max_strikes), -1):
        if history[number - 1].fault is None and _period(prints[:number], rails) is None:
            break
        streak += 1
    period = _period(prints, rails)
    return Judgment(
        streak=streak,
        reason=history[-1].fault or _repeated(period, rails) if streak else None,
        period=period,
        is_over=0 < rails.max_strikes == streak,
    )


def _period(prints: Sequence[str], rails: Rails) -> int | None:
    """The shortest period, in turns, of a pattern that the last turns repeat often enough; None: there is none."""
    periods = range(1, rails.max_cycle_period + 1)
    return next((period for period in periods if _is_cycle(prints, period, rails.min_cycles)), None)


def _is_cycle(prints: Sequence[str], period: int, times: int) -> bool:
    """Compare from the end on, one by one: nearly always the first look is enough."""
    if len(prints) < period * times:
        return False
    return all(prints[-back] and prints[-back] == prints[-back - period] for back in range(1, period * (times - 1) + 1))


def _repeated(period: int | None, rails: Rails) -> str:
    turns = "turn" if period == 1 else f"{period} turns"
    return f"the same {turns} {rails.min_cycles} times in a row"
