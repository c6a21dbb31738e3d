"""The previews that need no knowledge of the type: the head, the tail, the one line of a binary (SPEC 2.8).

A preview is the text that the index shows. Every line of line-addressed content has its number before
it, ``12:<TAB>``: what ``<12>`` takes in an operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from plurnk.content.lines import count_lines
from plurnk.content.mimetypes import is_line_addressed

Orientation: TypeAlias = Literal["head", "tail"]

# A gutter, which may be empty, and the line that stands behind it.
_Line: TypeAlias = tuple[str, str]


def preview(
    content: str,
    mimetype: str,
    budget_chars: int,
    orientation: Orientation = "head",
    *,
    first_line: int = 1,
    total_lines: int | None = None,
) -> str:
    """As many whole lines from the head or the tail as fit into ``budget_chars``, and how many are left out.

    ``content`` may be a window of the channel, longer than the budget or all there is: the head of
    ``total_lines`` lines, or the tail from ``first_line`` on. Numbers and the remark count towards the
    budget. If not even one line fits, what fits of it is shown, cut at ``…``.
    """
    own_lines = count_lines(content)
    total = max(total_lines or 0, first_line - 1 + own_lines)
    numbered = is_line_addressed(mimetype)

    def lines() -> Iterator[_Line]:
        if orientation == "head":
            return _from_start(content, first_line, numbered=numbered)
        return _from_end(content, first_line - 1 + own_lines, numbered=numbered)

    shown = _fitting(lines(), budget_chars)
    if len(shown) < total and content:
        # The longest remark there can be, so that which lines fit does not depend on what it says.
        remark_chars = len(_remark(orientation, total - 1))
        room = budget_chars - remark_chars - 1
        if total > 1 and room >= remark_chars:
            shown = _fitting(lines(), room) or _cut(next(lines()), room, orientation)
            shown.append(_remark(orientation, total - len(shown)))
        else:
            shown = shown or _cut(next(lines()), budget_chars, orientation)
    return "\n".join(shown if orientation == "head" else reversed(shown))


def numbered_line(number: int, text: str) -> str:
    """``text`` as line ``number`` of a preview."""
    return f"{number}:\t{text}"


def clip(text: str, width: int) -> str:
    """``text``, cut at ``…`` if it has more than ``width`` characters."""
    if len(text) <= width:
        return text
    return f"{text[: width - 1]}…" if width > 0 else ""


def binary_preview(mimetype: str, size_bytes: int) -> str:
    """The one line for content that is not text."""
    return f"{mimetype}, {size_bytes} bytes"


def _remark(orientation: Orientation, lines: int) -> str:
    plural = "" if lines == 1 else "s"
    return f"… {lines} more line{plural}" if orientation == "head" else f"… {lines} line{plural} before"


def _from_start(content: str, number: int, *, numbered: bool) -> Iterator[_Line]:
    at = 0
    while at < len(content):
        end = content.find("\n", at)
        end = len(content) if end < 0 else end
        yield numbered_line(number, "") if numbered else "", content[at:end]
        at, number = end + 1, number + 1


def _from_end(content: str, number: int, *, numbered: bool) -> Iterator[_Line]:
    end = len(content) - content.endswith("\n")
    while end >= 0:
        at = content.rfind("\n", 0, end) + 1
        yield numbered_line(number, "") if numbered else "", content[at:end]
        end, number = at - 1, number - 1


def _fitting(lines: Iterable[_Line], room: int) -> list[str]:
    shown: list[str] = []
    used = -1  # the first line has no newline before it
    for gutter, text in lines:
        used += 1 + len(gutter) + len(text)
        if used > room:
            break
        shown.append(gutter + text)
    return shown


def _cut(line: _Line, room: int, orientation: Orientation) -> list[str]:
    """The one line, cut at the end that is not wanted; none when there is room for its number only."""
    gutter, text = line
    width = room - len(gutter)
    if width <= 0:
        return []
    return [gutter + (clip(text, width) if orientation == "head" else f"…{text[len(text) - width + 1 :]}")]
