"""What of a run's index and log fits into a context (SPEC 3.4, "Fit").

*Room* is what a packet has beside its fixed part. The index has at most half of it. When index and log
need more, the log gives way first and for good, oldest first, so that what is shown of it keeps beginning
alike; the previews of the index give way for one packet only. In this order:

1. bodies that the model has seen, in one step until GOAL_PERCENT of the room are in use;
2. if there are not enough of them, rows that it has seen, likewise. Bodies that it has not seen do not count
   here: one large READ does not cost the memory of what was done;
3. bodies that it has not seen, and then such rows, each only where no dropping of previews would do. After
   2 they have nearly half of the room, so what was read now can be seen now;
4. previews, largest first.

So a packet can always be made, unless its fixed part alone is larger than the context.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, TypeAlias

from plurnk.content.canonical import canonical_json
from plurnk.errors import TooLarge

GOAL_PERCENT: Final = 70
"""What a fold leaves in use: fewer folds, each of which changes the text that providers have cached."""

LISTED_PERCENT: Final = 50
"""What bare index and rows without their bodies have at most, once rows are left out: the rest is for bodies."""

CountTokens: TypeAlias = Callable[[str], int]

_Line: TypeAlias = tuple[tuple[str, ...], int]
"""One line that stands for what is left out, or none, and its tokens."""

_NO_LINE: Final[_Line] = ((), 0)

_id = attrgetter("id")


@dataclass(frozen=True, slots=True)
class LogText:
    """One log row as it is shown: whole, and with its body folded away. Tokens include the newline after it.

    ``folded`` None: it has no body, or none that takes more than it takes to say that it is folded;
    ``folded_tokens`` is then 0, and less than ``tokens`` otherwise.
    """

    id: int
    path: str
    text: str
    tokens: int
    folded: str | None
    folded_tokens: int


@dataclass(frozen=True, slots=True)
class IndexText:
    """One index entry as it is shown, and without its previews (equal where it has none)."""

    text: str
    tokens: int
    bare: str
    bare_tokens: int


@dataclass(frozen=True, slots=True)
class Folds:
    """How far a run's log is folded: the ids of the last row whose body is, and of the last that is left out."""

    bodies_to: int = 0
    rows_to: int = 0


UNFOLDED: Final = Folds()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows before those of a log, which were left out earlier: how many, and the paths of the first and the last."""

    rows: int = 0
    first: str = ""
    last: str = ""


NOTHING_LEFT_OUT: Final = LeftOut()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a packet shows. ``folds`` are the given ones when nothing was folded now.

    ``folded_rows``: those whose body was folded, or that were left out, just now; ``freed_tokens``: by that.
    """

    index: tuple[str, ...]
    index_tokens: int
    log: tuple[str, ...]
    log_tokens: int
    folds: Folds
    folded_rows: int
    freed_tokens: int


def fit(
    log: Sequence[LogText],
    index: Sequence[IndexText],
    folds: Folds,
    *,
    fixed_tokens: int,
    limit: int | None,
    recent_from: int,
    count_tokens: CountTokens,
    left_out: LeftOut = NOTHING_LEFT_OUT,
) -> Fitted:
    """What is shown of ``log`` (ids ascending) and ``index`` in a packet of at most ``limit`` tokens.

    ``limit`` None: none is known, and nothing more is folded. ``fixed_tokens``: all that is neither index nor
    log. ``recent_from``: the id of the first row that the model has not seen yet. What ``folds`` says was
    folded before stays so; rows that it leaves out may be in ``log``, or else are in ``left_out``. The same
    arguments give the same result, and so do its own folds.

    Raises:
        TooLarge: the fixed part alone exceeds ``limit``.
    """
    if limit is None:
        limit = sys.maxsize
    room = limit - fixed_tokens
    if room < 0:
        raise TooLarge(f"the prompt and what goes with it take {fixed_tokens} tokens, and a packet may have {limit}")
    entries = _Index(index, room // 2, count_tokens)
    rows = _Log(log, folds, left_out, count_tokens)
    before = rows.tokens
    if entries.tokens + before > room:
        _make_room(entries, rows, room, recent=bisect_left(rows.rows, recent_from, key=_id))
    folded_rows = rows.changed()
    return Fitted(
        index=entries.texts(),
        index_tokens=entries.tokens,
        log=rows.texts(),
        log_tokens=rows.tokens,
        folds=rows.folds(),
        folded_rows=folded_rows,
        freed_tokens=max(before - rows.tokens, 0) if folded_rows else 0,
    )


def _make_room(entries: _Index, rows: _Log, room: int, *, recent: int) -> None:
    """The steps above, each of which does nothing where there is nothing to do.

    The recent rows give way to the index without its previews, so that the previews dropped at the end are the
    same when all this is done again.
    """
    goal = room * GOAL_PERCENT // 100
    rows.fold(recent, goal - entries.tokens)
    if entries.tokens + rows.tokens > goal:
        listed = room * LISTED_PERCENT // 100
        rows.leave_out(recent, min(goal - entries.tokens, listed - entries.bare_tokens))
    rows.fold(len(rows.rows), room - entries.bare_tokens)
    rows.leave_out(len(rows.rows), room - entries.bare_tokens)
    entries.drop_previews(room - rows.tokens)


class _Log:
    """A log and how far it is folded. Positions count from the first row that was not left out before.

    The first ``left`` rows are left out, and of the first ``folded`` no body is shown. The sums are of the
    tokens that the first rows have folded, and of those that they have more when they are not.
    """

    def __init__(self, log: Sequence[LogText], folds: Folds, left_out: LeftOut, count_tokens: CountTokens) -> None:
        gone = bisect_right(log, folds.rows_to, key=_id)
        self._gone = _with(left_out, log, gone)
        self.rows = rows = log[gone:]
        self._given = folds
        self._count_tokens = count_tokens
        self.left = 0
        self.folded = self._folded_before = bisect_right(rows, folds.bodies_to, key=_id)
        self._line = self._line_for(0)
        self._bare = [0, *accumulate([row.tokens if row.folded is None else row.folded_tokens for row in rows])]
        self._bodies = [0, *accumulate([0 if row.folded is None else row.tokens - row.folded_tokens for row in rows])]

    @property
    def tokens(self) -> int:
        bodies = self._bodies[-1] - self._bodies[self.folded]
        return self._line[1] + self._bare[-1] - self._bare[self.left] + bodies

    def fold(self, end: int, goal: int) -> None:
        """Fold bodies of the rows before ``end``, oldest first, until it has at most ``goal`` tokens."""
        end = max(self.folded, end)
        wanted = self._bodies[self.folded] + self.tokens - goal
        self.folded = bisect_left(self._bodies, min(wanted, self._bodies[end]), self.folded, end)

    def leave_out(self, end: int, goal: int) -> None:
        """Leave out rows before ``end``, oldest first, until with all bodies folded it had at most ``goal`` tokens."""
        self.left, self._line = _leave_out(self._bare, self.left, max(self.left, end), goal, self._line_for)
        self.folded = max(self.folded, self.left)

    def texts(self) -> tuple[str, ...]:
        folded = [row.text if row.folded is None else row.folded for row in self.rows[self.left : self.folded]]
        whole = [row.text for row in self.rows[self.folded :]]
        return (*self._line[0], *folded, *whole)

    def folds(self) -> Folds:
        return Folds(
            bodies_to=self._given.bodies_to if self.folded == self._folded_before else self.rows[self.folded - 1].id,
            rows_to=self._given.rows_to if self.left == 0 else self.rows[self.left - 1].id,
        )

    def changed(self) -> int:
        """How many rows were folded or left out now."""
        folded = range(max(self._folded_before, self.left), self.folded)
        return self.left + sum(self._bodies[row + 1] > self._bodies[row] for row in folded)

    def _line_for(self, left: int) -> _Line:
        """What stands for all that was left out before, and ``left`` rows more."""
        gone = _with(self._gone, self.rows, left)
        if gone.rows == 0:
            return _NO_LINE
        return _line({"path": gone.first, "through": gone.last, "rows": gone.rows}, self._count_tokens)


class _Index:
    """An index and what is dropped of it: some previews and, only when no preview is left, the first entries.

    It is ordered by scheme, files first: they are found again, while the notes after them are the model's memory.
    """

    def __init__(self, index: Sequence[IndexText], goal: int, count_tokens: CountTokens) -> None:
        self._index = index
        self._count_tokens = count_tokens
        previews = [entry.tokens - entry.bare_tokens for entry in index]
        self._largest_first = sorted(range(len(index)), key=lambda entry: (-previews[entry], -entry))
        self._previews = [0, *accumulate(previews[entry] for entry in self._largest_first)]
        self._bare = [0, *accumulate(entry.bare_tokens for entry in index)]
        self._dropped = self._left = 0
        self._line = _NO_LINE
        self.drop_previews(goal)
        if self.tokens > goal:
            self._left, self._line = _leave_out(self._bare, 0, len(index), goal, self._line_for)

    @property
    def bare_tokens(self) -> int:
        """What it has at least, all previews dropped."""
        return self._line[1] + self._bare[-1] - self._bare[self._left]

    @property
    def tokens(self) -> int:
        return self.bare_tokens + self._previews[-1] - self._previews[self._dropped]

    def drop_previews(self, goal: int) -> None:
        """Drop previews, largest first (of equal ones the later), until it has at most ``goal`` tokens."""
        wanted = self._previews[self._dropped] + self.tokens - goal
        self._dropped = bisect_left(self._previews, min(wanted, self._previews[-1]), self._dropped)

    def texts(self) -> tuple[str, ...]:
        dropped = set(self._largest_first[: self._dropped])
        listed = range(self._left, len(self._index))
        shown = (self._index[entry].bare if entry in dropped else self._index[entry].text for entry in listed)
        return (*self._line[0], *shown)

    def _line_for(self, left: int) -> _Line:
        return _line({"entries": left}, self._count_tokens) if left else _NO_LINE


def _leave_out(
    sums: Sequence[int], start: int, end: int, goal: int, line_for: Callable[[int], _Line]
) -> tuple[int, _Line]:
    """How many are to be left out, ``start`` at least, for the others and the line to have ``goal`` tokens at most.

    That is ``end`` when no number does. Where all are left out, so is a line that does not fit.
    """
    left = bisect_left(sums, sums[-1] - goal, start, end)  # without the line, which is worth a few more
    while sums[-1] - sums[left] + line_for(left)[1] > goal:
        if left == end:
            return left, line_for(left) if left < len(sums) - 1 else _NO_LINE
        left += 1
    return left, line_for(left)


def _with(gone: LeftOut, log: Sequence[LogText], count: int) -> LeftOut:
    """The first ``count`` rows of ``log`` left out, too."""
    if count == 0:
        return gone
    return LeftOut(gone.rows + count, gone.first if gone.rows else log[0].path, log[count - 1].path)


def _line(left_out: dict[str, Any], count_tokens: CountTokens) -> _Line:
    text = f"* {canonical_json(left_out | {'folded': True})}"
    return (text,), count_tokens(f"{text}\n")
