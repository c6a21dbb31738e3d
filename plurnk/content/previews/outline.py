"""Outlines: what a content is made of, each part in a line, as many as a budget allows (SPEC 2.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from plurnk.content.lines import count_lines
from plurnk.content.previews.plain import clip, numbered_line, preview

# Enough for most signatures.
MAX_TEXT_CHARS: Final = 64
# Enough for a name; where not all fit, one more says more than the ends of long ones.
_NARROW_CHARS: Final = 36
INDENT: Final = "  "
# Deeper than this nothing gets further to the right.
_MAX_INDENTS: Final = 8
# A line of the head that is cut shorter than this says nothing.
_MIN_CUT_CHARS: Final = 20
# The shortest line there is, ``1:<TAB>``, and its newline.
_LEAST_LINE_CHARS: Final = 4


class Part(Protocol):
    """What has a line in an outline. Of thousands few are shown: ``line`` and ``text`` may be made when asked for."""

    @property
    def line(self) -> int:
        """The 1-based line where it begins."""
        ...

    @property
    def depth(self) -> int:
        """How deep it lies; 0 is the top."""
        ...

    @property
    def text(self) -> str:
        """What is shown of it, in one line."""
        ...


@dataclass(frozen=True, slots=True)
class Symbol:
    """A part that is made at once."""

    line: int
    depth: int
    text: str


@dataclass(frozen=True, slots=True)
class Handler:
    """A ``PreviewHandler`` made of a function.

    ``make(content, budget_chars)`` gives the preview, or ``""`` when the content is broken or has
    nothing to tell of its parts: then its head is shown.
    """

    mimetype: str
    make: Callable[[str, int], str]
    contract_version: int = 1

    def preview(self, content: str, budget_chars: int) -> str:
        return self.make(content, budget_chars) or preview(content, self.mimetype, budget_chars)


def outline(parts: Sequence[Part], budget_chars: int, *, indent: str = INDENT) -> str:
    """As many of ``parts`` as fit, in the order in which they are given, and how many are left out.

    The shallow ones go first, and of one depth the first ones. ``""`` when there are none.
    """
    if not parts:
        return ""
    if _may_fit(parts, budget_chars):
        for width in (MAX_TEXT_CHARS, _NARROW_CHARS):
            lines = [_line(part, indent, width) for part in parts]
            if _size(lines) <= budget_chars:
                return "\n".join(lines)
    order = sorted(range(len(parts)), key=lambda index: parts[index].depth)
    room = budget_chars - len(more(len(parts))) - 1
    count = fitting((_line(parts[index], indent, _NARROW_CHARS) for index in order), room)
    if not count:
        return clip(_line(parts[order[0]], indent, _NARROW_CHARS), budget_chars)
    shown = [_line(parts[index], indent, _NARROW_CHARS) for index in sorted(order[:count])]
    return "\n".join([*shown, more(len(parts) - count)])


def outline_with_head(parts: Sequence[Part], content: str, budget_chars: int, *, indent: str = INDENT) -> str:
    """``outline``; when all fit, with lines from the head of ``content`` between them, blank ones left out."""
    lines = [(part.line, _line(part, indent)) for part in parts] if _may_fit(parts, budget_chars) else []
    total = count_lines(content)
    room = budget_chars - len(more(total, "line")) - 1 - _size(line for _, line in lines)
    if not lines or room < 0:
        return outline(parts, budget_chars, indent=indent)
    numbers = {number for number, _ in lines}
    for number, text in _lines_with_text(content):
        if number in numbers:
            continue
        line = numbered_line(number, text)
        if len(line) >= room and room <= _MIN_CUT_CHARS:
            break
        lines.append((number, clip(line, room - 1)))
        numbers.add(number)
        room -= len(line) + 1
        if room <= 0:
            break
    lines.sort(key=lambda line: line[0])
    left_out = total - len(numbers)
    return "\n".join([*(line for _, line in lines), *([more(left_out, "line")] if left_out else [])])


def fitting(lines: Iterable[str], room: int) -> int:
    """How many of ``lines``, joined by newlines, fit into ``room`` characters."""
    used = -1  # the first line has no newline before it
    count = 0
    for line in lines:
        used += 1 + len(line)
        if used > room:
            break
        count += 1
    return count


def one_line(text: str) -> str:
    """``text`` without line breaks and needless white space, cut to what a line of an outline may hold."""
    return clip(" ".join(text.split()), MAX_TEXT_CHARS)


def line_from(text: str, at: int) -> str:
    """The line of ``text`` from offset ``at`` on, as ``one_line``."""
    # Of a line of megabytes no more is looked at.
    return one_line(text[at : at + 4 * MAX_TEXT_CHARS].partition("\n")[0])


def more(count: int, noun: str = "") -> str:
    """The remark that says how many are left out; ``noun`` is the word for one."""
    return f"… {count} more{f' {noun}' if noun else ''}{'s' if noun and count != 1 else ''}"


def _may_fit(parts: Sequence[Part], budget_chars: int) -> bool:
    return len(parts) * _LEAST_LINE_CHARS <= budget_chars + 1


def _line(part: Part, indent: str, width: int = MAX_TEXT_CHARS) -> str:
    return numbered_line(part.line, indent * min(part.depth, _MAX_INDENTS) + clip(part.text, width))


def _size(lines: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in lines) - 1


def _lines_with_text(content: str) -> Iterator[tuple[int, str]]:
    """The numbers and texts of the lines that are not blank, without the white space at their ends."""
    at = number = 0
    while at < len(content):
        end = content.find("\n", at)
        end = len(content) if end < 0 else end
        number += 1
        if text := content[at:end].rstrip():
            yield number, text
        at = end + 1
