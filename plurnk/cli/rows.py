"""A row of the log as a person reads it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from plurnk.language.ast import SendBody, UrlTarget
from plurnk.language.targets import canonical
from plurnk.wire.notifications import LogEntry

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
    """Return ``L/T/S OP target status``, and why where it was refused; a code is shown as in ``SEND[102]``."""
    place = f"{entry.loop_seq}/{entry.turn_seq}/{entry.sequence}"
    op = f"{entry.op}[{entry.signal}]" if isinstance(entry.signal, int) else entry.op
    parts = [place, op, target_of(entry), str(entry.status_rx), str(entry.rx.get("error") or "")]
    return printable(" ".join(part for part in parts if part)).replace("\n", " ")


def broadcast(entry: LogEntry) -> str | None:
    """Return what a SEND to nobody in particular says; None for any other row."""
    if entry.op != "SEND" or entry.scheme is not None or entry.pathname is not None:
        return None
    body = entry.tx.get("body")
    return msgspec.convert(body, SendBody).raw if body else ""


def answer_of(entry: LogEntry) -> str | None:
    """Return the text of a broadcast that ends a loop well; the last one of a loop is its answer."""
    return broadcast(entry) if entry.signal == 200 and entry.status_rx == 200 else None


def printable(text: str) -> str:
    """Return ``text`` without what a terminal would obey; it comes from a model, and newlines and tabs stay."""
    return _CONTROL.sub("�", text)
