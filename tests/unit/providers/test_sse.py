"""The event stream format, bytes in and events out."""

from __future__ import annotations

import pytest

from plurnk.providers.errors import ProviderFailed
from plurnk.providers.sse import SseReader

STREAM = (
    "\ufeffdata: one\n\n: a comment\n\nevent: x\rid: 7\rdata:two\r\r"
    "data:  ü\r\ndata\r\ndata: €\r\n\r\n\n\n\ndataset: no\ndata: [DONE]\n\ndata: unfinished\n"
).encode()
EVENTS = ["one", "two", " ü\n\n€", "[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_come_out_whole_however_the_bytes_are_cut(size: int) -> None:
    reader = SseReader()
    assert [event for at in range(0, len(STREAM), size) for event in reader.feed(STREAM[at : at + size])] == EVENTS


def test_an_empty_chunk_between_cr_and_lf_makes_no_difference() -> None:
    reader = SseReader()
    assert [reader.feed(chunk) for chunk in (b"data: a\r", b"", b"\ndata: b\n", b"\n")] == [[], [], [], ["a\nb"]]


def test_invalid_utf8_is_replaced() -> None:
    assert SseReader().feed(b"data: a\xffb\xc3\n\n") == ["a\ufffdb\ufffd"]


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: " + b"x" * 60,
        b"data: " + b"x" * 60 + b"\n\n",
        b"data: xxxxxxxxxxxxxxxx\n" * 4,
        b": " + b"x" * 60,
        b"data\n" * 60,
    ],
)
def test_an_event_is_bounded(chunk: bytes) -> None:
    reader = SseReader(max_event_bytes=50)
    with pytest.raises(ProviderFailed, match="more than 50 bytes"):
        reader.feed(chunk)


def test_many_small_events_are_not_bounded() -> None:
    assert len(SseReader(max_event_bytes=50).feed(b"data: 0123456789\n\n" * 1000)) == 1000
