"""Lines of JSON: bytes in, lines out."""

from __future__ import annotations

from typing import Final

from plurnk.providers.errors import ProviderFailed

MAX_LINE_BYTES: Final = 1 << 20
"""As of an event: a delta is some hundred bytes."""


class LineReader:
    """Collects bytes, however cut, into lines; what comes after the last line's end is none."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._line = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that ``chunk`` completes, without empty ones; invalid UTF-8 becomes U+FFFD.

        Raises:
            ProviderFailed: a line is larger than the bound.
        """
        *ended, rest = chunk.split(b"\n")
        lines: list[str] = []
        for piece in ended:
            self._add(piece)
            if line := self._line.strip():
                lines.append(line.decode("utf-8", "replace"))
            self._line.clear()
        self._add(rest)
        return lines

    def _add(self, piece: bytes) -> None:
        self._line += piece
        if len(self._line) > self._max_line_bytes:
            raise ProviderFailed(f"the provider sent a line of more than {self._max_line_bytes} bytes")
