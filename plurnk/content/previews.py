"""Previews: what the index shows of a channel (SPEC 2.8).

Here are the plain forms, head or tail by characters and the one line of a binary; the forms by type
fall back to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from plurnk.content.lines import count_lines, without_final_newline
from plurnk.content.mimetypes import is_line_addressed

Orientation: TypeAlias = Literal["head", "tail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Lines of a channel from line ``first_line`` on, as a line text, and what to say of the rest.

    ``numbered``: they are to be shown with their line numbers. ``before`` and ``after`` (a line each,
    or empty) say what is missing there and never get a number.
    """

    text: str = ""
    first_line: int = 1
    numbered: bool = True
    before: str = ""
    after: str = ""


def preview(
    content: str,
    mimetype: str,
    budget_chars: int,
    orientation: Orientation = "head",
    *,
    first_line: int = 1,
    total_lines: int | None = None,
) -> Preview:
    """As many whole lines from the head or the tail as fit into ``budget_chars`` with the remark.

    ``content`` may be a window of the channel, longer than the budget or all there is: the head of
    ``total_lines`` lines, or the tail from ``first_line`` on. If not even one line fits, what fits of
    it is shown, cut at ``…``.
    """
    numbered = is_line_addressed(mimetype)
    own_lines = count_lines(content)
    last_line = first_line - 1 + own_lines
    total = max(total_lines or 0, last_line)
    if len(content) <= budget_chars and own_lines == total:
        return Preview(text=without_final_newline(content), numbered=numbered)
    # Room for the longest remark that can be, so that which lines fit does not depend on it.
    room = budget_chars - len(_remark(orientation, total))
    remarks = room >= 0
    if orientation == "head":
        text = _head(content, room if remarks else budget_chars)
        after = _remark("head", total - (first_line - 1 + count_lines(text))) if remarks else ""
        return Preview(text=text, first_line=first_line, numbered=numbered, after=after)
    text = _tail(content, room if remarks else budget_chars)
    first_shown = last_line - count_lines(text) + 1
    before = _remark("tail", first_shown - 1) if remarks else ""
    return Preview(text=text, first_line=first_shown, numbered=numbered, before=before)


def binary_preview(mimetype: str, size_bytes: int) -> Preview:
    """The one line for content that is not text."""
    return Preview(text=f"{mimetype}, {size_bytes} bytes", numbered=False)


def _remark(orientation: Orientation, lines: int) -> str:
    if not lines:
        return ""
    plural = "s" if lines > 1 else ""
    return f"… {lines} more line{plural}" if orientation == "head" else f"… {lines} line{plural} before"


def _head(content: str, room: int) -> str:
    if len(content) <= room:
        return without_final_newline(content)
    end = content.rfind("\n", 0, max(room, 0)) + 1
    if end:
        return without_final_newline(content[:end])
    return f"{content[: room - 1]}…" if room > 0 else ""


def _tail(content: str, room: int) -> str:
    if len(content) <= room:
        return without_final_newline(content)
    start = content.find("\n", len(content) - room - 1) + 1 if room > 0 else len(content)
    if 0 < start < len(content):
        return without_final_newline(content[start:])
    last_line = without_final_newline(content)
    return f"…{last_line[len(last_line) - room + 1 :]}" if room > 0 else ""
