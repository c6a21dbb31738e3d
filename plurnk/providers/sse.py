"""Server-sent events: bytes in, events out."""

from __future__ import annotations

import re
from typing import Final

from plurnk.providers.errors import ProviderFailed

MAX_EVENT_BYTES: Final = 1 << 20
"""Of one event, and so of one line. A delta is some hundred bytes; the largest events, whole tool calls
or usage reports, some ten thousand."""

_LINE_END: Final = re.compile(rb"\r\n?|\n")


class SseReader:
    """Collects bytes, however cut, into events; of an event only its data matters here."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that ``chunk`` completes; invalid UTF-8 becomes U+FFFD.

        Raises:
            ProviderFailed: an event is larger than the bound.
        """
        events: list[str] = []
        at = 1 if self._after_cr and chunk.startswith(b"\n") else 0
        self._after_cr = chunk.endswith(b"\r") if chunk else self._after_cr
        while (end := _LINE_END.search(chunk, at)) is not None:
            self._line += chunk[at : end.start()]
            at = end.end()
            if not self._line:
                if self._data:
                    events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data.clear()
                self._data_bytes = 0
            else:
                self._take_line()
        self._line += chunk[at:]
        self._check_size()
        return events

    def _take_line(self) -> None:
        name, _, value = bytes(self._line).partition(b":")
        if name.removeprefix(b"\xef\xbb\xbf") == b"data":  # The stream may begin with a byte order mark.
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(self._data[-1]) + 1  # With its end: lines without data are not for nothing.
        self._line.clear()
        self._check_size()

    def _check_size(self) -> None:
        if len(self._line) + self._data_bytes > self._max_event_bytes:
            raise ProviderFailed(f"the provider sent an event of more than {self._max_event_bytes} bytes")
