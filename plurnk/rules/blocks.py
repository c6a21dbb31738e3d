"""The text of one index entry and of one log row (SPEC 3.4).

Each depends on its argument alone, so an unchanged row is the same text in every packet, and a text
once made can be kept.

A *fence* is the line ``<<label:`` before a block and ``:label`` after it. Numbered lines begin with
their number and lines of a diff with their sign, so neither can look like the closing line. Where
content stands as it is (JSON, XML, HTML) and lines of it begin like the closing line, the label is
followed by one ``~`` more than any of them has there.
"""

from __future__ import annotations

from typing import Any

from plurnk.content.canonical import canonical_json
from plurnk.content.mimetypes import is_line_addressed
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow


def render_index_entry(entry: IndexEntry) -> str:
    """The meta line of ``entry`` and the previews of its channels, without a newline at the end."""
    meta: dict[str, Any] = {
        "channels": {channel.name: _channel_meta(channel) for channel in entry.channels},
        "path": entry.path,
    }
    if entry.tags:
        meta["tags"] = sorted(entry.tags)
    lines = [f"* {canonical_json(meta)}"]
    for channel in entry.channels:
        if body := _preview_lines(channel):
            lines += _fenced(entry.path if channel.is_default else f"{entry.path}#{channel.name}", body)
    return "\n".join(lines)


def render_log_row(row: LogRow) -> str:
    """The meta line of ``row``, its content and its diff, without a newline at the end."""
    path = f"log://{row.loop_seq}/{row.turn_seq}/{row.sequence}/{row.op}"
    optional = {
        "error": row.error,
        "matcher": row.matcher,
        "matches": row.matches,
        "nextLine": row.next_line,
        "outcome": row.outcome,
        "target": row.target,
    }
    meta = {"op": row.op, "origin": row.origin, "path": path, "status": row.status}
    meta |= {name: value for name, value in optional.items() if value is not None}
    lines = [f"* {canonical_json(meta)}"]
    label = path if row.target is None else row.target
    if row.content:
        numbered = row.start_line is not None and is_line_addressed(row.mimetype)
        lines += _fenced(label, _lines(row.content, row.start_line if numbered else None))
    if row.diff:
        lines += _fenced(label, _lines(row.diff))
    return "\n".join(lines)


def _channel_meta(channel: IndexChannel) -> dict[str, Any]:
    meta: dict[str, Any] = {"mimetype": channel.mimetype, "tokens": channel.tokens}
    return meta if channel.state == "static" else meta | {"state": channel.state}


def _preview_lines(channel: IndexChannel) -> list[str]:
    shown = channel.preview
    text = _lines(shown.text, shown.first_line if shown.numbered else None) if shown.text else []
    return [*filter(None, [shown.before]), *text, *filter(None, [shown.after])]


def _lines(text: str, first_line: int | None = None) -> list[str]:
    """The lines of ``text``, numbered from ``first_line`` unless that is None."""
    lines = text.removesuffix("\n").split("\n")
    return lines if first_line is None else [f"{n}:\t{line}" for n, line in enumerate(lines, first_line)]


def _fenced(label: str, body: list[str]) -> list[str]:
    # A file's name may hold a line break; a label is one line.
    label = label.replace("\r", "%0D").replace("\n", "%0A")
    closing = f":{label}"
    rests = [line[len(closing) :] for line in body if line.startswith(closing)]
    label += "~" * max((len(rest) - len(rest.lstrip("~")) + 1 for rest in rests), default=0)
    return [f"<<{label}:", *body, f":{label}"]
