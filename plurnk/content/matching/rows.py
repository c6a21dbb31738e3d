"""Rows as a bounded JSON array, and where to go on when they are too many (SPEC 2.4, 2.6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

import msgspec

from plurnk.content.matching.subject import Rows

ELLIPSIS: Final = "…"

# As canonical JSON, but numbers that are kept as decimals, because no float holds them, stay numbers.
_ENCODER: Final = msgspec.json.Encoder(order="sorted", decimal_format="number")


class Row(msgspec.Struct, frozen=True):
    """One match; ``line`` is 1-based, of the source."""

    line: int
    matched: Any
    matching: str | msgspec.UnsetType = msgspec.UNSET

    def row(self) -> Row:
        return self


class Match(Protocol):
    """What a row can be made of; where only the line is wanted, none is made."""

    @property
    def line(self) -> int: ...

    def row(self) -> Row: ...


def encode(value: Any) -> str:
    """``value`` as compact JSON, the keys sorted."""
    return _ENCODER.encode(value).decode()


def gather(matches: Iterable[Match], max_chars: int, *, by_line: bool) -> Rows:
    """As many rows of ``matches`` as make an array of at most ``max_chars`` characters.

    ``by_line``: they come in the order of their lines, and reading on from a line is possible. The
    lines before ``next_line`` then have all their rows here, and the others have none, so that nothing
    is lost or told twice. When not even the rows of one line fit, as many as do are here and the next
    line that has any is ``next_line``.

    A first row that is too long by itself is cut: ``matched`` becomes a string (its own beginning, or
    that of its JSON) with an ellipsis, and so does ``matching`` if need be. Room for the two ellipses,
    some 60 characters, is taken even if it is not there.
    """
    rest = iter(matches)
    kept: list[tuple[int, str]] = []
    chars = len("[")
    for match in rest:
        row = match.row()
        text = encode(row)
        chars += len(text) + len(",")
        if chars > max_chars:
            if not kept:
                kept.append((row.line, encode(_shortened(row, max_chars - len("[]")))))
            return _cut(kept, row, rest) if by_line else _array(kept, complete=False)
        kept.append((row.line, text))
    return _array(kept)


def _cut(kept: list[tuple[int, str]], left_out: Row, rest: Iterator[Match]) -> Rows:
    """The part of ``kept`` after which reading on loses nothing; ``left_out`` and ``rest`` did not fit."""
    if kept[0][0] == left_out.line:
        later = next((match.line for match in rest if match.line > left_out.line), None)
        return _array(kept, complete=False, next_line=later)
    earlier = [row for row in kept if row[0] != left_out.line]
    return _array(earlier, complete=False, next_line=left_out.line)


def _array(kept: list[tuple[int, str]], *, complete: bool = True, next_line: int | None = None) -> Rows:
    text = "[" + ",".join(text for _, text in kept) + "]"
    return Rows(text=text, count=len(kept), complete=complete, next_line=next_line)


def _shortened(row: Row, room: int) -> Row:
    """``row`` cut to ``room`` characters of JSON, or to its ellipses where that is too little."""
    matched = row.matched if isinstance(row.matched, str) else encode(row.matched)
    matching = row.matching
    bare = Row(row.line, ELLIPSIS, matching)
    if isinstance(matching, str) and len(encode(bare)) > room:
        return _fitting(matching, room, lambda cut: Row(row.line, ELLIPSIS, cut))
    return _fitting(matched, room, lambda cut: Row(row.line, cut, matching))


def _fitting(text: str, room: int, row_of: Callable[[str], Row]) -> Row:
    """The row of the longest beginning of ``text`` that fits; escapes make its length in JSON another one."""
    lengths = range(1, min(len(text), max(room, 0)) + 1)
    chars = bisect_right(lengths, room, key=lambda chars: len(encode(row_of(text[:chars] + ELLIPSIS))))
    return row_of(text[:chars] + ELLIPSIS)
