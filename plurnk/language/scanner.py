"""The unread end of a text that arrives in pieces, and where in the whole text it lies.

Cost: a character is copied into the window once, plus once for each feed that it waits through as
lookahead; counted for positions once; and copied once into what is held. The parser never leaves
more than ``MAX_LOOKAHEAD`` characters unread, so all of it is linear however the text is cut.
"""

from __future__ import annotations

import io
import re
from typing import Final

from plurnk.language.ast import Position

MAX_LOOKAHEAD: Final = 34
"""The longest unfinished piece that is looked at again: ``<-N,-N`` with two integers of 15 digits."""


class Scanner:
    """A cursor ``at`` in a ``window`` on the text; all before the cursor has been dealt with.

    Over anything but LF, ``at`` may be moved by hand.
    """

    __slots__ = ("_base", "_held", "_line", "_line_start", "at", "window")

    def __init__(self) -> None:
        self.window = ""
        self.at = 0
        self._base = 0  # offset of window[0] in the whole text
        self._line = 1
        self._line_start = 0  # offset in the whole text of the current line's first character
        self._held: io.StringIO | None = None

    @property
    def unread(self) -> int:
        return len(self.window) - self.at

    def feed(self, chunk: str) -> None:
        """Put ``chunk`` behind what is unread."""
        self._base += self.at
        self.window = self.window[self.at :] + chunk
        self.at = 0

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.window, self.at)

    def search(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.search(self.window, self.at)

    def find(self, text: str, start: int) -> int:
        return self.window.find(text, start)

    def skip(self, to: int) -> None:
        """Move the cursor to ``to``, counting lines. A line ends at LF alone."""
        newlines = self.window.count("\n", self.at, to)
        if newlines:
            self._line += newlines
            self._line_start = self._base + self.window.rindex("\n", self.at, to) + 1
        self.at = to

    def hold(self, to: int) -> None:
        """Like ``skip``, but keep what was passed until ``take``."""
        if to == self.at:
            return
        if self._held is None:
            self._held = io.StringIO()
        self._held.write(self.window[self.at : to])
        self.skip(to)

    def take(self) -> str:
        """All that was held since the last ``take``."""
        if self._held is None:
            return ""
        text = self._held.getvalue()
        self._held = None
        return text

    def position(self) -> Position:
        return Position(line=self._line, column=self._base + self.at - self._line_start)
