"""A run's log as its packets show it, kept from turn to turn, and the numbers of its packets' texts (SPEC 3.4).

Owned by the one thread that builds a packet of the run; a turn costs what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from plurnk.rules.fitting import CountTokens, Fitted, Folds, LogText
from plurnk.rules.packet import Packet
from plurnk.rules.shown import log_text
from plurnk.rules.snapshot import LogRow
from plurnk.store import log, packets
from plurnk.store.packets import Part, Pieces, Refs, Text
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry


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

    def unkept(self, last_kept: int) -> tuple[Text, ...]:
        """The texts that the store, which has them up to that number, may lack.

        A turn may be cut off before its texts are kept; then the next one brings them along.
        """
        self._unkept = [text for text in self._unkept if text.number > last_kept]
        return tuple(self._unkept)


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is shown, and the number of its text. ``asked``: the turn whose model has said it; 0: none has."""

    shown: LogText
    asked: int
    number: int


@dataclass(slots=True)
class RunTexts:
    """What is kept of a run. ``rows`` are those that are not hidden and will not change, up to row ``last_id``.

    ``loose`` are those from the first on that is still proposed, and so will look different.
    """

    run_id: int
    log: Numbers
    other: Numbers
    version: int = -1
    last_id: int = 0
    folded_to: int = 0
    counted_by: object = None
    rows: list[Row] = field(default_factory=list[Row])
    loose: list[Row] = field(default_factory=list[Row])

    @classmethod
    def open(cls, db: Snapshot, run_id: int) -> RunTexts:
        """Nothing of the log yet, and the numbers that the store knows."""
        log_numbers, others = (Numbers(packets.kept(db, run_id, part)) for part in packets.PARTS)
        return cls(run_id, log_numbers, others)

    def read(
        self, db: Snapshot, folds: Folds, render: Callable[[LogEntry], LogRow], counted_by: object, count: CountTokens
    ) -> list[LogText]:
        """The rows of the run that are not hidden, oldest first; what was read before and is settled is not read again.

        ``counted_by``: whose tokens ``count`` counts.
        """
        version = log.version(db, self.run_id)
        if version != self.version or counted_by is not self.counted_by or folds.bodies_to < self.folded_to:
            self.log = Numbers(packets.kept(db, self.run_id, "log"))
            self.version, self.counted_by = version, counted_by
            self.last_id, self.folded_to, self.rows = 0, 0, []
        self.loose = []
        settled = True
        for entry, hidden in log.of_run(db, self.run_id, after_id=self.last_id):
            settled = settled and entry.state != "proposed"
            if not hidden:
                asked = entry.turn_id if entry.origin == "model" else 0
                row = self._row(asked, log_text(entry.id, render(entry), count), folds)
                (self.rows if settled else self.loose).append(row)
            if settled:
                self.last_id = entry.id
        self._fold(folds)
        return [row.shown for row in self._all()]

    def pieces(self, db: Snapshot, packet: Packet, fitted: Fitted) -> Pieces:
        """How the packet is kept that shows what was read as it was ``fitted``."""
        self._fold(fitted.folds)
        line, shown = self._shown(fitted)
        lines = [self.log.number(text) for text in line]
        index = [self.other.number(text) for text in fitted.index]
        refs = Refs(
            definition=self.other.number(packet.system.system_definition),
            persona=self.other.number(packet.system.persona),
            prompt=self.other.number(packet.user.prompt),
            index=packets.ranges(index),
            log=packets.ranges([*lines, *(row.number for row in shown)]),
        )
        self.other.remember([*index, refs.definition, refs.persona, refs.prompt])
        self.log.remember([*lines, *(row.number for row in self.loose)])
        unkept: dict[Part, Sequence[Text]] = {
            "log": self.log.unkept(packets.last_number(db, self.run_id, "log")),
            "other": self.other.unkept(packets.last_number(db, self.run_id, "other")),
        }
        return Pieces(refs=refs, texts=unkept)

    def log_ends(self, fitted: Fitted) -> list[int]:
        """Where, in characters of the log as it was ``fitted``, those of earlier packets ended, and where it ends.

        Each turn's ended before the first statement that came of it.
        """
        line, shown = self._shown(fitted)
        at = sum(len(text) + 1 for text in line)
        ends: list[int] = []
        before = 0
        for row in shown:
            if row.asked and row.asked != before:
                ends.append(at - 1)
            before = row.asked
            at += len(row.shown.text) + 1
        return [end for end in (*ends, at - 1) if end > 0]

    def _all(self) -> list[Row]:
        return [*self.rows, *self.loose]

    def _shown(self, fitted: Fitted) -> tuple[tuple[str, ...], list[Row]]:
        """The line that stands for the rows that are left out, if any, and the others."""
        shown = [row for row in self._all() if row.shown.id > fitted.folds.rows_to]
        return fitted.log[: len(fitted.log) - len(shown)], shown

    def _row(self, asked: int, shown: LogText, folds: Folds) -> Row:
        """The row; without its body if that is folded, which is for good: a long log must not fill the memory."""
        if shown.folded is not None and shown.id <= folds.bodies_to:
            shown = LogText(shown.id, shown.path, shown.folded, shown.folded_tokens, None, 0)
        return Row(shown, asked, self.log.number(shown.text))

    def _fold(self, folds: Folds) -> None:
        if folds.bodies_to > self.folded_to:
            self.rows, self.loose = (
                [
                    self._row(row.asked, row.shown, folds)
                    if row.shown.folded is not None and row.shown.id <= folds.bodies_to
                    else row
                    for row in rows
                ]
                for rows in (self.rows, self.loose)
            )
            self.folded_to = folds.bodies_to
