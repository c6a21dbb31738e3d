"""A run's log as its packets show it, kept from turn to turn, and the numbers of its packets' texts (SPEC 3.4).

Owned by the one thread that builds a packet of the run; a turn costs what is new.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from plurnk.engine.previews import ContentId
from plurnk.plugins.api import Provider
from plurnk.rules.fitting import NOTHING_LEFT_OUT, UNFOLDED, Fitted, Folds, IndexText, LeftOut, LogText
from plurnk.rules.packet import Packet
from plurnk.rules.shown import folded_text, index_text, log_text, without_body
from plurnk.rules.snapshot import IndexEntry, LogRow
from plurnk.store import log, packets
from plurnk.store.packets import Part, Pieces, Refs, Text
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry

PAGE_ROWS: Final = 64
"""Rows that are in memory at once with all that they have: each may have a MiB, of which a packet shows little."""

SLICE_S: Final = 1.0
"""How long a log is read on in one snapshot: well below ``READ_LIMIT_S``, however long it is."""


class Numbers:
    """The numbers of texts, in one part of a run's. A text keeps its number as long as it is remembered."""

    def __init__(self, kept: dict[bytes, int]) -> None:
        self._known = kept
        self._next = max(kept.values(), default=0) + 1
        self._unkept: list[Text] = []

    def number(self, text: str) -> int:
        """The number of ``text``, a new one if it has none."""
        digest = packets.digest(text)
        number = self._known.get(digest)
        if number is None:
            number = self._known[digest] = self._next
            self._next += 1
            self._unkept.append(Text(number, digest, text))
        return number

    def remember(self, numbers: Iterable[int]) -> None:
        """Forget all texts but these; what comes again after that is kept twice, which only costs room."""
        wanted = set(numbers)
        self._known = {digest: number for digest, number in self._known.items() if number in wanted}

    def recall(self, kept: dict[bytes, int]) -> None:
        """Know all texts again that the store has."""
        self._known = kept | self._known

    def unkept(self, last_kept: int) -> tuple[Text, ...]:
        """The texts that the store, which has them up to that number, may lack.

        A turn may be cut off before its texts are kept; then the next one brings them along.
        """
        self._unkept = [text for text in self._unkept if text.number > last_kept]
        return tuple(self._unkept)


@dataclass(slots=True)
class Row:
    """A row as it is shown. ``asked``: the turn whose model has said it; 0: none has.

    ``number``: that of its text; 0: no packet has had it yet.
    """

    shown: LogText
    asked: int
    number: int = 0


def _id(row: Row) -> int:
    return row.shown.id


@dataclass(slots=True)
class RunTexts:
    """What is kept of a run: its rows up to ``last_id``, without those that are hidden or left out.

    ``chars``: what the last packet showed of them. ``hidden``, ``proposed``: the ids of rows that are, of those that
    are not left out; proposed ones will look different. Bodies that are folded are not kept: that is for good, and
    a long log must not fill the memory. ``entries``, ``plain``: the index of the last packet, and its plain previews.
    """

    run_id: int
    other: Numbers
    log: Numbers = field(default_factory=lambda: Numbers({}))
    provider: Provider | None = None
    version: int = -1
    last_id: int = 0
    chars: int = 0
    folds: Folds = UNFOLDED
    left_out: LeftOut = NOTHING_LEFT_OUT
    rows: list[Row] = field(default_factory=list[Row])
    hidden: set[int] = field(default_factory=set[int])
    proposed: set[int] = field(default_factory=set[int])
    entries: dict[IndexEntry, IndexText] = field(default_factory=dict[IndexEntry, IndexText])
    plain: Mapping[ContentId, str] = field(default_factory=dict[ContentId, str])

    @classmethod
    def open(cls, db: Snapshot, run_id: int) -> RunTexts:
        """Nothing of the log yet."""
        return cls(run_id, Numbers(packets.kept(db, run_id, "other")))

    def read(self, db: Snapshot, folds: Folds, render: Callable[[LogEntry], LogRow], provider: Provider) -> bool:
        """Read on in the log. False: that takes long, and there is more to be read, in another snapshot.

        ``provider``: whose tokens are counted.
        """
        if provider is not self.provider:
            self.log = Numbers(packets.kept(db, self.run_id, "log"))
            self.provider, self.version, self.last_id = provider, -1, 0
            self.rows, self.hidden, self.proposed = [], set(), set()
            self.entries = {}
        self._fold(db, folds)
        self._look_again(db, render, provider)
        until = time.monotonic() + SLICE_S
        while True:
            page = log.of_run(db, self.run_id, after_id=max(self.last_id, folds.rows_to), limit=PAGE_ROWS)
            for entry, hidden in page:
                self._take(entry, render, provider, hidden=hidden)
                self.last_id = entry.id
            if len(page) < PAGE_ROWS:
                return True
            if time.monotonic() > until:
                return False

    def texts(self) -> list[LogText]:
        """The rows, oldest first."""
        return [row.shown for row in self.rows]

    def index(
        self, entries: Sequence[IndexEntry], plain: Mapping[ContentId, str], provider: Provider
    ) -> list[IndexText]:
        """The entries as they are shown; what looks as it did in the packet before is not made again."""
        before, self.plain = self.entries, plain
        self.entries = {entry: before.get(entry) or index_text(entry, provider.count_tokens) for entry in entries}
        return list(self.entries.values())

    def pieces(self, db: Snapshot, packet: Packet, fitted: Fitted) -> Pieces:
        """How the packet is kept that shows what was read as it was ``fitted``.

        Rows among those that are folded now get new numbers like those, though their texts stay: in one row again,
        the numbers of a long log are one range, and not a thousand.
        """
        shown = self._shown(fitted)
        lines = len(fitted.log) - len(shown)
        numbers = [self.log.number(text) for text in fitted.log[:lines]]
        again = [*numbers]
        folded_from, folded_to = self.folds.bodies_to, fitted.folds.bodies_to
        for row, text in zip(shown, fitted.log[lines:], strict=True):
            if folded_from < row.shown.id <= folded_to:
                number = self.log.number(text)
                again.append(number)
                if text is row.shown.text:
                    row.number = number
            else:
                number = row.number = row.number or self.log.number(text)
            numbers.append(number)
        index = [self.other.number(text) for text in fitted.index]
        refs = Refs(
            definition=self.other.number(packet.system.system_definition),
            persona=self.other.number(packet.system.persona),
            prompt=self.other.number(packet.user.prompt),
            index=packets.ranges(index),
            log=packets.ranges(numbers),
        )
        self.other.remember([*index, refs.definition, refs.persona, refs.prompt])
        self.log.remember(again)
        self.chars = sum(map(len, fitted.log))
        unkept: dict[Part, Sequence[Text]] = {
            "log": self.log.unkept(packets.last_number(db, self.run_id, "log")),
            "other": self.other.unkept(packets.last_number(db, self.run_id, "other")),
        }
        return Pieces(refs=refs, texts=unkept)

    def log_ends(self, fitted: Fitted) -> list[int]:
        """Where, in characters of the log as it was ``fitted``, those of earlier packets ended, and where it ends.

        Each turn's ended before the first statement that came of it.
        """
        shown = self._shown(fitted)
        asked = [*[0] * (len(fitted.log) - len(shown)), *(row.asked for row in shown)]
        starts = [0, *accumulate([len(text) + 1 for text in fitted.log])]
        firsts = zip(starts, asked, [0, *asked], strict=False)
        ends = [start - 1 for start, turn, before in firsts if turn and turn != before]
        return [end for end in (*ends, starts[-1] - 1) if end > 0]

    def _shown(self, fitted: Fitted) -> list[Row]:
        """The rows that are not left out."""
        return self.rows[bisect_right(self.rows, fitted.folds.rows_to, key=_id) :]

    def _fold(self, db: Snapshot, folds: Folds) -> None:
        if folds.rows_to > self.folds.rows_to:
            self.left_out = log.left_out(db, self.run_id, folds.rows_to)
            self.rows = [row for row in self.rows if row.shown.id > folds.rows_to]
            self.hidden = {row_id for row_id in self.hidden if row_id > folds.rows_to}
            self.proposed = {row_id for row_id in self.proposed if row_id > folds.rows_to}
        if folds.bodies_to > self.folds.bodies_to:
            for at in range(bisect_right(self.rows, folds.bodies_to, key=_id)):
                row = self.rows[at]
                if row.shown.folded is not None:
                    self.rows[at] = Row(without_body(row.shown), row.asked)
        self.folds = folds

    def _look_again(self, db: Snapshot, render: Callable[[LogEntry], LogRow], provider: Provider) -> None:
        """See which rows that were read before look different now."""
        again = set(self.proposed)
        version = log.version(db, self.run_id)
        if version != self.version:
            hidden = log.hidden(db, self.run_id, after_id=self.folds.rows_to, to_id=self.last_id)
            if self.hidden - hidden:
                again |= self.hidden - hidden
                self.log.recall(packets.kept(db, self.run_id, "log"))
            self.rows = [row for row in self.rows if row.shown.id not in hidden]
            self.left_out = log.left_out(db, self.run_id, self.folds.rows_to)
            self.version, self.hidden = version, hidden
        for row_id in sorted(again):
            ((entry, is_hidden),) = log.of_run(db, self.run_id, after_id=row_id - 1, limit=1)
            self._take(entry, render, provider, hidden=is_hidden)

    def _take(self, entry: LogEntry, render: Callable[[LogEntry], LogRow], provider: Provider, *, hidden: bool) -> None:
        """Keep a row as it is now."""
        (self.hidden.add if hidden else self.hidden.discard)(entry.id)
        (self.proposed.add if entry.state == "proposed" else self.proposed.discard)(entry.id)
        if hidden:
            return
        make = folded_text if entry.id <= self.folds.bodies_to else log_text
        shown = make(entry.id, render(entry), provider.count_tokens)
        at = bisect_left(self.rows, entry.id, key=_id)
        was_there = at < len(self.rows) and self.rows[at].shown.id == entry.id
        if not was_there or self.rows[at].shown != shown:
            self.rows[at : at + was_there] = [Row(shown, entry.turn_id if entry.origin == "model" else 0)]
