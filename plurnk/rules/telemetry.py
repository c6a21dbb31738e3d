"""What a model is told once about the turn before: flat objects with ``kind`` and ``message`` (SPEC 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from plurnk.language.ast import OpName, ParseError, UrlTarget
from plurnk.language.targets import canonical
from plurnk.wire.notifications import LogEntry

MAX_PARSE_FAILURES: Final = 20
"""More broken statements than these in one turn are counted, not listed: garbage must not fill a packet."""

SNIPPET_CHARS: Final = 80

_COMPLETE: Final = frozenset({"", "stop", "end_turn", "stop_sequence"})
"""What providers say of an answer that the model itself ended."""

QUOTED_CHARS: Final = 200
"""Of a target or of an error that a model is told: a target may be as long as an answer."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind"):
    """``message`` is one sentence; the fields beside it are the facts that it is made of."""

    message: str


class ActionFailure(_Event, frozen=True, kw_only=True, tag="action_failure"):
    """A row of the previous turn ended with 400 or more; ``coordinate`` is its ``L/T/S``."""

    coordinate: str
    op: OpName
    status: int
    target: str | None


class ParseFailure(_Event, frozen=True, kw_only=True, tag="parse_error"):
    """A statement could not be parsed; ``snippet`` is the text from where it went wrong."""

    line: int
    column: int
    source: Literal["lexer", "parser", "visitor"]
    snippet: str


class NoOps(_Event, frozen=True, kw_only=True, tag="no_ops"):
    message: str = "The turn had no statement, so nothing was done; end a loop with SEND[200]."


class MaxCommands(_Event, frozen=True, kw_only=True, tag="max_commands"):
    emitted: int
    dropped: int


class Strike(_Event, frozen=True, kw_only=True, tag="strike"):
    streak: int
    max_strikes: int
    reason: str


class Cycle(_Event, frozen=True, kw_only=True, tag="cycle"):
    period: int
    cycles: int


class SuddenDeath(_Event, frozen=True, kw_only=True, tag="sudden_death"):
    remaining: int


class BudgetFolded(_Event, frozen=True, kw_only=True, tag="budget_folded"):
    rows: int
    tokens: int


class ProviderRetry(_Event, frozen=True, kw_only=True, tag="provider_retry"):
    """``attempt`` is the one that follows; ``status`` is the provider's, None if it told none."""

    attempt: int
    status: int | None
    wait_ms: int


class NothingToWaitFor(_Event, frozen=True, kw_only=True, tag="nothing_to_wait_for"):
    message: str = "SEND[202] waits for a stream or a prompt, but no stream is live; the loop goes on."


class ProviderError(_Event, frozen=True, kw_only=True, tag="provider_error"):
    """The provider failed for good, and with it the loop; ``message`` has the cause."""


class Interrupted(_Event, frozen=True, kw_only=True, tag="interrupted"):
    """The daemon was stopped in the middle of the turn before; the loop was resumed (SPEC 7.2)."""

    message: str = "The daemon stopped in the middle of the last turn; the log shows what was done before."


Telemetry: TypeAlias = (
    ActionFailure
    | ParseFailure
    | NoOps
    | MaxCommands
    | Strike
    | Cycle
    | SuddenDeath
    | BudgetFolded
    | ProviderRetry
    | NothingToWaitFor
    | ProviderError
    | Interrupted
)


def flat(event: Telemetry) -> dict[str, Any]:
    """``event`` as the JSON object that packets hold and clients get."""
    built: dict[str, Any] = msgspec.to_builtins(event)
    return built


def action_failure(row: LogEntry) -> ActionFailure:
    """A row that ended with 400 or more, with the error that it gave."""
    coordinate = f"{row.loop_seq}/{row.turn_seq}/{row.sequence}"
    target = None if row.pathname is None else _cut(_address(row, row.pathname))
    what = row.op if target is None else f"{row.op} {target}"
    return ActionFailure(
        message=f"{what}: {_cut(str(row.rx.get('error', row.outcome or row.status_rx)))}",
        coordinate=coordinate,
        op=row.op,
        status=row.status_rx,
        target=target,
    )


def parse_failures(errors: Sequence[ParseError], text: str) -> tuple[ParseFailure, ...]:
    """The errors of one parse of ``text``, each with what stands there; at most ``MAX_PARSE_FAILURES``."""
    lines = text.split("\n") if errors else []
    shown = [_parse_failure(error, error.message, lines) for error in errors[:MAX_PARSE_FAILURES]]
    missing = len(errors) - len(shown)
    if missing:
        first = errors[MAX_PARSE_FAILURES - 1]
        shown[-1] = _parse_failure(first, f"{missing + 1} more statements could not be parsed.", lines)
    return tuple(shown)


def no_ops(finish_reason: str) -> NoOps:
    """``finish_reason`` is the provider's own word, told if it is not that the answer was complete."""
    if finish_reason.lower() in _COMPLETE:
        return NoOps()
    return NoOps(message=f"The turn had no statement: the provider cut the answer off, as {finish_reason[:40]}.")


def max_commands(*, emitted: int, dropped: int) -> MaxCommands:
    return MaxCommands(
        message=f"The turn had {emitted} statements; the last {dropped} were not run.",
        emitted=emitted,
        dropped=dropped,
    )


def strike(*, streak: int, max_strikes: int, reason: str) -> Strike:
    return Strike(
        message=f"Strike {streak} of {max_strikes}: {reason}.", streak=streak, max_strikes=max_strikes, reason=reason
    )


def cycle(*, period: int, cycles: int) -> Cycle:
    turns = "turn" if period == 1 else f"{period} turns"
    return Cycle(message=f"The same {turns} {cycles} times in a row; do something else.", period=period, cycles=cycles)


def sudden_death(*, remaining: int) -> SuddenDeath:
    """``remaining``: with the turn that reads it."""
    return SuddenDeath(
        message=f"{remaining} turn(s) left, this one included; then the loop is ended.", remaining=remaining
    )


def late(event: Telemetry, turns: int) -> Telemetry:
    """``event`` as it is to be told so many turns later than was meant."""
    return sudden_death(remaining=event.remaining - turns) if isinstance(event, SuddenDeath) else event


def budget_folded(*, rows: int, tokens: int) -> BudgetFolded:
    return BudgetFolded(
        message=f"{rows} log row(s) were folded to free {tokens} tokens; READ shows them again.",
        rows=rows,
        tokens=tokens,
    )


def sentence(detail: str) -> str:
    """``detail``, such as an error has, as the beginning of a sentence."""
    return detail[:1].upper() + detail[1:]


def provider_retry(*, attempt: int, status: int | None, wait_s: float, cause: str) -> ProviderRetry:
    return ProviderRetry(
        message=f"{sentence(cause)}; attempt {attempt} follows in {wait_s:.1f} s.",
        attempt=attempt,
        status=status,
        wait_ms=round(wait_s * 1000),
    )


def _address(row: LogEntry, pathname: str) -> str:
    if row.scheme is None:
        return pathname
    return canonical(UrlTarget(raw="", scheme=row.scheme, hostname=row.hostname, port=row.port, pathname=pathname))


def _cut(text: str) -> str:
    return text if len(text) <= QUOTED_CHARS else f"{text[:QUOTED_CHARS]}…"


def _parse_failure(error: ParseError, message: str, lines: Sequence[str]) -> ParseFailure:
    line = lines[error.line - 1] if error.line <= len(lines) else ""
    return ParseFailure(
        message=message,
        line=error.line,
        column=error.column,
        source=error.source,
        snippet=line[error.column : error.column + SNIPPET_CHARS],
    )
