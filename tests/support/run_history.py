"""What happened in one run from its first daemon to its last, as seen from outside the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

from plurnk.engine.bus import Event
from plurnk.engine.proposals import Resolution
from plurnk.store.loops import Loop, Submitted
from plurnk.wire.notifications import Notification

Marks: TypeAlias = tuple[int, ...]

SESSION, RUN = 1, 1
"""The first daemon's; each later one finds it, and makes one more that nobody uses."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a provider was asked, and by which turn."""

    loop_id: int
    turn_seq: int
    messages: tuple[str, ...]

    @property
    def user(self) -> str:
        return self.messages[1]


@dataclass(eq=False)
class History:
    """It is a client's ear, too. ``prompts`` are all that were sent; of some it is not known whether they were taken.

    ``untold``: the streams of whose end no turn had told when all was over but one more prompt. ``reached`` counts what
    a plan has come to.
    """

    heard: list[tuple[int, Notification]] = field(default_factory=list[tuple[int, Notification]])
    asked: list[Asked] = field(default_factory=list[Asked])
    taken: list[tuple[str, Submitted]] = field(default_factory=list[tuple[str, Submitted]])
    refused: list[str] = field(default_factory=list[str])
    ends: list[Loop] = field(default_factory=list[Loop])
    decided: list[tuple[int, Resolution]] = field(default_factory=list[tuple[int, Resolution]])
    prompts: list[str] = field(default_factory=list[str])
    untold: set[int] = field(default_factory=set[int])
    reached: Counter[str] = field(default_factory=Counter[str])

    def hear(self, event: Event) -> None:
        if event.seq is not None:
            self.heard.append((event.seq, event.notification))

    def marks(self) -> Marks:
        """How far it has come. On any thread."""
        return tuple(len(kept) for kept in self._known)

    def forget_after(self, marks: Marks) -> None:
        """Nobody has seen what came after: the daemon was dead by then."""
        for kept, mark in zip(self._known, marks, strict=True):
            del kept[mark:]

    @property
    def _known(self) -> tuple[list[object], ...]:
        known: tuple[list[object], ...] = (self.heard, self.asked, self.taken, self.refused, self.ends, self.decided)  # type: ignore[assignment]
        return known
