"""Unified diffs at a bounded price (SPEC 2.4, 5.2).

What two texts have in common at either end is cut off by comparing blocks of memory; only the lines
between are compared one by one, by Myers' greedy search. Where that would take more than ``MAX_STEPS``
comparisons the whole of the middle is shown as replaced: longer than it need be, still a correct
diff, and the same one every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, TypeAlias

CONTEXT: Final = 3
# Some 50 ms: enough for about 400 changed lines anywhere in a text of any length.
MAX_STEPS: Final = 100_000
# Compared at once, and copied for that: while it is, no other thread runs.
BLOCK: Final = 64 * 1024
# Of a line in a diff that is for reading; minified files have lines of megabytes.
MAX_LINE_CHARS: Final = 400

# Half-open line ranges (old from, old to, new from, new to) that differ.
_Change: TypeAlias = tuple[int, int, int, int]


def unified(old: str | None, new: str | None, path: str, *, max_lines: int | None = 40) -> str:
    """The diff from ``old`` to ``new`` (None: no such file), or ``""`` when they are equal.

    Lines end at a newline and at nothing else. A diff of more than ``max_lines`` lines is cut to
    that many, the last of which says how many are missing, and its long lines are cut too; with None
    it is whole, and applies.
    """
    if old == new:
        return ""
    header = (
        "--- /dev/null" if old is None else f"--- a/{path}",
        "+++ /dev/null" if new is None else f"+++ b/{path}",
    )
    diff = chain(header, _hunks(old or "", new or ""))
    if max_lines is None:
        lines = list(diff)
    else:
        lines = [_cut(line) for line in islice(diff, max_lines)]
        missing = sum(1 for _ in diff)
        if missing:
            lines[-1] = f"... {missing + 1} more lines of diff"
    return "\n".join(lines) + "\n"


def readable(old: bytes, new: bytes, path: str, *, max_lines: int | None = 40) -> str:
    r"""The diff from ``old`` to ``new`` for reading: bytes that are not UTF-8 stand as ``\xNN`` in it.

    They are compared before that: a text in which such a byte has become a character is another one.
    """
    was, will_be = (data.decode("utf-8", "surrogateescape") for data in (old, new))
    diff = unified(was, will_be, path, max_lines=max_lines)
    return diff.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE_CHARS else f"{line[:MAX_LINE_CHARS]}... {len(line) - MAX_LINE_CHARS} more"


def _hunks(old: str, new: str) -> Iterator[str]:
    """The lines below the header."""
    start, old_end, new_end = _middle(old, new)
    lead = _back(old, start, CONTEXT)
    trail = _forward(old, old_end, CONTEXT)
    first_line = old.count("\n", 0, lead) + 1
    old_lines, new_lines = _lines(old[lead:trail]), _lines(new[lead : new_end + trail - old_end])
    for group in _grouped(_changes(old_lines, new_lines)):
        yield from _hunk(old_lines, new_lines, group, first_line)


def _hunk(old: Sequence[str], new: Sequence[str], changes: Sequence[_Change], first_line: int) -> Iterator[str]:
    """One hunk; ``first_line`` is the number of the first of both ``old`` and ``new``."""
    lead = min(CONTEXT, changes[0][0])
    trail = min(CONTEXT, len(old) - changes[-1][1])
    old_range = _range(changes[0][0] - lead, changes[-1][1] + trail, first_line)
    new_range = _range(changes[0][2] - lead, changes[-1][3] + trail, first_line)
    yield f"@@ -{old_range} +{new_range} @@"
    at = changes[0][0] - lead
    for old_from, old_to, new_from, new_to in changes:
        yield from _signed(" ", old[at:old_from])
        yield from _signed("-", old[old_from:old_to])
        yield from _signed("+", new[new_from:new_to])
        at = old_to
    yield from _signed(" ", old[at : at + trail])


def _range(start: int, end: int, first_line: int) -> str:
    """``start,count`` of a hunk header: no count when it is 1, the line before when it is 0."""
    if end - start == 1:
        return f"{first_line + start}"
    return f"{first_line + start - (end == start)},{end - start}"


def _signed(sign: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if line.endswith("\n"):
            yield sign + line[:-1]
        else:
            yield sign + line
            yield "\\ No newline at end of file"


def _grouped(changes: Sequence[_Change]) -> Iterator[list[_Change]]:
    """Changes that share a hunk, because their context would touch."""
    group: list[_Change] = []
    for change in changes:
        if group and change[0] - group[-1][1] > 2 * CONTEXT:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _middle(old: str, new: str) -> tuple[int, int, int]:
    """Where the differing lines begin (the same in both) and where they end in ``old`` and in ``new``."""
    start = old.rfind("\n", 0, _shared_head(old, new)) + 1
    # The shared tail begins after a newline that both have, so that it is whole lines in both.
    newline = old.find("\n", len(old) - _shared_tail(old, new, start))
    tail = len(old) - newline - 1 if newline >= 0 else 0
    return start, len(old) - tail, len(new) - tail


def _shared_head(old: Sequence[object], new: Sequence[object]) -> int:
    """How many items both begin with."""
    return _agreement(min(len(old), len(new)), lambda low, high: old[low:high] == new[low:high])


def _shared_tail(old: Sequence[object], new: Sequence[object], head: int) -> int:
    """How many items both end with, leaving ``head`` items alone."""
    m, n = len(old), len(new)
    return _agreement(min(m, n) - head, lambda low, high: old[m - high : m - low] == new[n - high : n - low])


def _agreement(size: int, equal: Callable[[int, int], bool]) -> int:
    """The largest n ≤ ``size`` such that all before n is equal: block by block, then by halving. Linear in ``size``."""
    low = 0
    while low < size and equal(low, min(low + BLOCK, size)):
        low = min(low + BLOCK, size)
    high = min(low + BLOCK, size)
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _changes(old: Sequence[str], new: Sequence[str]) -> list[_Change]:
    """What differs between two lists of lines, in order: as little as can be, or all when that is too dear.

    Row *d* of the search says how far into ``old`` *d* deletions and insertions get on each diagonal
    (lines of ``old`` less lines of ``new``) from -d to d in steps of two.
    """
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in old]
    b = [numbers.setdefault(line, len(numbers)) for line in new]
    rows: list[list[int]] = []
    steps = 0
    while True:
        distance = len(rows)
        row: list[int] = []
        for place in range(distance + 1):
            x = begin = _reached(rows, place)
            y = x - (2 * place - distance)
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x += 1
                y += 1
            steps += 1 + x - begin
            if x >= len(a) and y >= len(b):
                return _traced(rows, len(a), len(b))
            if steps > MAX_STEPS:
                return [_replaced(a, b)]
            row.append(x)
        rows.append(row)


def _replaced(old: Sequence[int], new: Sequence[int]) -> _Change:
    """Everything but what both begin and end with, as one change."""
    head = _shared_head(old, new)
    tail = _shared_tail(old, new, head)
    return head, len(old) - tail, head, len(new) - tail


def _inserts(rows: Sequence[Sequence[int]], place: int) -> bool:
    """Whether the best way to ``place`` of the row after ``rows`` is an insertion, not a deletion."""
    last = rows[-1]
    return place == 0 or (place < len(last) and last[place - 1] < last[place])


def _reached(rows: Sequence[Sequence[int]], place: int) -> int:
    """How far into the old lines the row after ``rows`` begins at ``place``."""
    if not rows:
        return 0
    return rows[-1][place] if _inserts(rows, place) else rows[-1][place - 1] + 1


def _traced(rows: list[list[int]], x: int, y: int) -> list[_Change]:
    """The way back from the end, as changes; neighbours are made one."""
    changes: list[_Change] = []
    while rows:
        place = (x - y + len(rows)) // 2
        diagonal = x - y
        if _inserts(rows, place):
            x = rows[-1][place]
            y = x - diagonal - 1
            change = (x, x, y, y + 1)
        else:
            x = rows[-1][place - 1]
            y = x - diagonal + 1
            change = (x, x + 1, y, y)
        if changes and (change[1], change[3]) == (changes[-1][0], changes[-1][2]):
            _, old_to, _, new_to = changes.pop()
            change = (change[0], old_to, change[2], new_to)
        changes.append(change)
        rows.pop()
    return changes[::-1]


def _lines(text: str) -> list[str]:
    """The lines of ``text``, each with its newline."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop()
    return [*lines, last[:-1]] if last != "\n" else lines


def _back(text: str, start: int, count: int) -> int:
    """Where the line begins that is ``count`` lines before the one at ``start``, or the first."""
    for _ in range(count):
        start = text.rfind("\n", 0, max(start - 1, 0)) + 1
    return start


def _forward(text: str, end: int, count: int) -> int:
    """Where ``count`` lines from ``end`` on end, or the last."""
    for _ in range(count):
        end = text.find("\n", end) + 1 or len(text)
    return end
