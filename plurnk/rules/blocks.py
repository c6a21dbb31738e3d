"""The text of one index entry and of one log row (SPEC 3.4).

Each depends on its argument alone, so an unchanged row is the same text in every packet, and a text
once made can be kept.
"""

from __future__ import annotations

from typing import Any, Final

from plurnk.content.canonical import canonical_json
from plurnk.content.mimetypes import is_line_addressed
from plurnk.rules.fences import fenced, shown_lines
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow

META_CHARS: Final = 1_000
"""Of each text in a row's meta line, which cannot be folded: a matcher or a target may be as long as an answer."""


def render_index_entry(entry: IndexEntry, *, previews: bool = True) -> str:
    """The meta line of ``entry`` and, if wanted, the previews of its channels, without a newline at the end."""
    meta: dict[str, Any] = {
        "channels": {channel.name: _channel_meta(channel) for channel in entry.channels},
        "path": entry.path,
    }
    if entry.awaiting_input:
        meta["awaitingInput"] = True
    if entry.tags:
        meta["tags"] = sorted(entry.tags)
    lines = [f"* {canonical_json(meta)}"]
    for channel in entry.channels:
        if previews and channel.preview:
            label = entry.path if channel.is_default else f"{entry.path}#{channel.name}"
            lines += fenced(label, channel.preview.split("\n"))
    return "\n".join(lines)


def render_log_row(row: LogRow) -> str:
    """The meta line of ``row``, its content and its diff, without a newline at the end."""
    lines = [_meta_line(row)]
    label = log_path(row) if row.target is None else row.target
    if row.content:
        numbered = row.start_line is not None and is_line_addressed(row.mimetype)
        lines += fenced(label, shown_lines(row.content, row.start_line if numbered else None))
    if row.diff:
        lines += fenced(label, shown_lines(row.diff))
    return "\n".join(lines)


def render_folded(row: LogRow) -> str | None:
    """The meta line of ``row``, which says that its body is folded; None if there is neither content nor diff."""
    return _meta_line(row, folded=True) if row.content or row.diff else None


def log_path(row: LogRow) -> str:
    return f"log://{row.loop_seq}/{row.turn_seq}/{row.sequence}/{row.op}"


def _meta_line(row: LogRow, *, folded: bool = False) -> str:
    optional = {
        "command": row.command,
        "destination": row.destination,
        "entry": row.entry,
        "error": row.error,
        "folded": folded or None,
        "matcher": row.matcher,
        "matches": row.matches,
        "nextLine": row.next_line,
        "outcome": row.outcome,
        "target": row.target,
    }
    meta = {"op": row.op, "origin": row.origin, "path": log_path(row), "status": row.status}
    meta |= {name: _cut(value) for name, value in optional.items() if value is not None}
    return f"* {canonical_json(meta)}"


def _cut(value: Any) -> Any:
    return f"{value[:META_CHARS]}…" if isinstance(value, str) and len(value) > META_CHARS else value


def _channel_meta(channel: IndexChannel) -> dict[str, Any]:
    meta: dict[str, Any] = {"mimetype": channel.mimetype, "tokens": channel.tokens}
    if channel.missing:
        meta["missing"] = True
    return meta if channel.state == "static" else meta | {"state": channel.state}
