"""A row of the log as a person reads it."""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from plurnk.language.ast import SendBody, Target, UrlTarget
from plurnk.language.targets import canonical
from plurnk.rules.proposals import DEFAULT_OUTCOMES
from plurnk.wire.notifications import LogEntry

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""With these a text could move the cursor, or have what follows shown in another order than it stands."""
_LINE_CHARS: Final = 100

REJECTED: Final = "rejected"
"""How the outcome of a rejected proposal begins; what a person said comes after a colon."""


class Glyph(NamedTuple):
    """``style`` is one of rich's."""

    sign: str
    style: str


def glyph(status: int) -> Glyph:
    if status == 499:
        return Glyph("■", "yellow")
    if status >= 400:
        return Glyph("✗", "red")
    if status >= 300:
        return Glyph("=", "dim")
    if status == 202:
        return Glyph("?", "yellow")
    if status >= 200:
        return Glyph("✓", "green")
    return Glyph("…", "cyan")


def target_of(entry: LogEntry) -> str:
    """Return the canonical target, with the fragment if one was named; empty for a broadcast."""
    if entry.scheme is None:
        path = entry.pathname or ""
    else:
        query = f"?{urlencode(entry.params, doseq=True)}" if entry.params else ""
        path = canonical(
            UrlTarget(
                raw=query,
                scheme=entry.scheme,
                hostname=entry.hostname,
                port=entry.port,
                pathname=entry.pathname or "",
                params=entry.params or {},
            )
        )
    return path if entry.fragment is None else f"{path}#{entry.fragment}"


def row(entry: LogEntry) -> str:
    """Return ``L/T/S OP target status``, and why where it was refused; a code is shown as in ``SEND[102]``.

    Of an EXEC the runtime is shown, the address where what it started can be found, and the command before the why;
    of a COPY or MOVE where to.
    """
    place = f"{entry.loop_seq}/{entry.turn_seq}/{entry.sequence}"
    signal = entry.signal if isinstance(entry.signal, int) or entry.op == "EXEC" else None
    op = entry.op if signal is None else f"{entry.op}[{signal}]"
    started = str(entry.rx.get("entry") or "")
    to = _destination(entry)
    shown = " ".join(part for part in (place, op, target_of(entry), to, str(entry.status_rx), started) if part)
    reason = why(str(entry.rx.get("error") or ""), entry.outcome)
    if command := command_of(entry):
        shown += f": {first_line(command)}"
        reason = reason and f"({reason})"
    return printable(f"{shown} {reason}" if reason else shown).replace("\n", " ")


def _destination(entry: LogEntry) -> str | None:
    body = entry.tx.get("body")
    if entry.op not in {"COPY", "MOVE"} or body is None:
        return None
    return f"→ {canonical(msgspec.convert(body, Target))}"


def why(error: str, outcome: str | None) -> str:
    """Return why it was refused, with what somebody said to that."""
    if not error or outcome is None or outcome in DEFAULT_OUTCOMES:
        return error
    return f"{error}: {outcome.removeprefix(f'{REJECTED}: ')}"


def command_of(entry: LogEntry) -> str | None:
    """Return what an EXEC runs or was to run; None for any other row, and for one that tells how a command ended."""
    body = entry.rx.get("command") or entry.tx.get("body")
    return body if entry.op == "EXEC" and entry.origin != "system" and isinstance(body, str) else None


def first_line(text: str) -> str:
    """Return the first line that says something, cut to what fits beside other things."""
    line = text.strip().partition("\n")[0].rstrip()
    whole = len(line) <= _LINE_CHARS and line == text.strip()
    return line if whole else line[: _LINE_CHARS - 1] + "…"


def broadcast(entry: LogEntry) -> str | None:
    """Return what a SEND to nobody in particular says; None for any other row."""
    if entry.op != "SEND" or entry.scheme is not None or entry.pathname is not None:
        return None
    body = entry.tx.get("body")
    return msgspec.convert(body, SendBody).raw if body else ""


def answer_of(entry: LogEntry) -> str | None:
    """Return the text of a broadcast that ends a loop well; the last one of a loop is its answer."""
    return broadcast(entry) if entry.signal == 200 and entry.status_rx == 200 else None


def how_to_answer(target: str, session: str) -> str:
    """Return what to say of a command that waits for input: nothing that is typed here gets there."""
    statement = f"<<SEND[200]({target}):TEXT:SEND"
    return f"! {target} waits for input: plurnk op --session {shlex.quote(session)} {shlex.quote(statement)}"


def printable(text: str) -> str:
    """Return ``text`` without what a terminal would obey; it comes from a model, and newlines and tabs stay."""
    return _CONTROL.sub("�", text)
