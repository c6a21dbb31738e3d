r"""Line markers on text: which lines ``<L>`` names, reading them, replacing them (SPEC 2.5).

A text is split at ``\n`` only. One final newline ends the last line and is no line of its own, so
``"a\n"`` has one line, ``"a\n\n"`` two, ``"\n"`` one (an empty one) and ``""`` none.

A *line text* is the form in which lines travel alone (what READ returns, what EDIT takes): the lines
joined by ``\n``, without a final newline, unless the last line is empty: there the newline stays,
because without it that line would be gone.

Lines are found by walking from the nearer end, so memory stays at a copy of the text whatever the
number of lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plurnk.errors import NoSuchRange

if TYPE_CHECKING:
    from plurnk.language.ast import LineMarker


BYTE_ORDER_MARK: Final = "\ufeff"
"""What some editors write in front of a text. It is kept, and no part of what is matched or read as JSON."""


@dataclass(frozen=True, slots=True)
class Span:
    """Lines ``first`` to ``last``, both 1-based and inclusive; ``Span(1, 0)`` is the whole of nothing."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """The gap in front of line ``before``; one more than the last line means the end."""

    before: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Lines or items read out of a text, the number of the first, how many there are.

    ``next``: there were more than fitted; go on with that one.
    """

    text: str
    start_line: int
    count: int
    next: int | None = None


def count_lines(text: str) -> int:
    """How many lines ``text`` has."""
    return text.count("\n") + (1 if text and not text.endswith("\n") else 0)


def without_final_newline(text: str) -> str:
    """``text`` as a line text: the newline that ends its last line dropped, if that line is not empty."""
    if text.endswith("\n") and text != "\n" and not text.endswith("\n\n"):
        return text[:-1]
    return text


def whole_lines(data: bytes, first: int) -> tuple[bytes, int]:
    """What to show of ``data``, which begins with line ``first`` and was cut somewhere: its whole lines, and
    the number of the last of them. A first line that is itself cut is shown as it is.
    """
    end = data.rfind(b"\n") + 1
    return (data[:end], first - 1 + data.count(b"\n", 0, end)) if end else (data, first)


def resolve(marker: LineMarker, total: int, *, noun: str = "line") -> Span | Insertion:
    """What ``marker`` names among ``total`` lines; ``noun`` is the word for one in the error.

    Raises:
        NoSuchRange: it names a line outside 1..total, or the range is inverted.
    """
    if marker.last is None:
        if marker.first == 0:
            return Insertion(1)
        if marker.first == -1:
            return Insertion(total + 1)
        first = last = marker.first
    else:
        first = marker.first or 1
        last = total if marker.last == -1 else marker.last
        if total == 0 and first == 1 and marker.last == -1:
            return Span(1, 0)
    if not 1 <= first <= total:
        raise NoSuchRange(f"{noun} {first} out of range (1..{total})")
    if not 1 <= last <= total:
        raise NoSuchRange(f"{noun} {last} out of range (1..{total})")
    if last < first:
        raise NoSuchRange(f"{noun} {last} out of range ({first}..{total})")
    return Span(first, last)


def slice_lines(text: str, marker: LineMarker) -> Slice:
    """The lines that ``marker`` names; none of them (``count`` 0) at an insertion marker.

    Raises:
        NoSuchRange: as ``resolve``.
    """
    total = count_lines(text)
    selection = resolve(marker, total)
    if isinstance(selection, Insertion):
        return Slice("", selection.before, 0)
    start = _line_start(text, selection.first, total)
    end = _line_start(text, selection.last + 1, total)
    return Slice(without_final_newline(text[start:end]), selection.first, selection.last - selection.first + 1)


def edit_lines(text: str, marker: LineMarker, body: str) -> str:
    """``text`` with the lines of ``body`` in the place of those that ``marker`` names.

    An empty ``body`` has no lines, so it deletes. The final newline of ``body`` does not count; the
    result ends with one iff ``text`` did, or iff its last line is empty (see the module's text).

    Raises:
        NoSuchRange: as ``resolve``.
    """
    total = count_lines(text)
    selection = resolve(marker, total)
    if isinstance(selection, Insertion):
        first, after = selection.before, selection.before
    else:
        first, after = selection.first, selection.last + 1
    terminated = text.endswith("\n")
    source = _terminated(text)
    start, end = _line_start(source, first, total), _line_start(source, after, total)
    edited = "".join((source[:start], _terminated(body), source[end:]))  # one copy, where ``+`` makes another
    return edited if terminated else without_final_newline(edited)


def _terminated(text: str) -> str:
    """``text`` with every line of it ended by a newline."""
    return text if not text or text.endswith("\n") else text + "\n"


def _line_start(text: str, line: int, total: int) -> int:
    """The offset at which 1-based ``line`` of ``total`` begins; the end of ``text`` for any beyond."""
    if line > total:
        return len(text)
    if line <= total // 2:
        at = 0
        for _ in range(line - 1):
            at = text.index("\n", at) + 1
        return at
    at = len(text) - text.endswith("\n")
    for _ in range(total - line + 1):
        at = text.rfind("\n", 0, at)
    return at + 1
