"""Lines of JSON, bytes in and lines out."""

from __future__ import annotations

import pytest

from plurnk.providers.errors import ProviderFailed
from plurnk.providers.json_lines import LineReader

STREAM = '{"a": "ü"}\r\n\n  \n{"b":\t"€"}\n{"cut off'.encode()
LINES = ['{"a": "ü"}', '{"b":\t"€"}']


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_come_out_whole_however_the_bytes_are_cut(size: int) -> None:
    reader = LineReader()
    assert [line for at in range(0, len(STREAM), size) for line in reader.feed(STREAM[at : at + size])] == LINES


def test_invalid_utf8_is_replaced() -> None:
    assert LineReader().feed(b"a\xffb\xc3\n") == ["a\ufffdb\ufffd"]


@pytest.mark.parametrize("chunk", [b"x" * 51, b"x" * 51 + b"\n", b"a\n" + b"x" * 51])
def test_a_line_is_bounded(chunk: bytes) -> None:
    with pytest.raises(ProviderFailed, match="more than 50 bytes"):
        LineReader(max_line_bytes=50).feed(chunk)


def test_a_line_that_grows_is_bounded_too() -> None:
    reader = LineReader(max_line_bytes=50)
    assert [reader.feed(b"x") for _ in range(50)] == [[]] * 50
    with pytest.raises(ProviderFailed, match="more than 50 bytes"):
        reader.feed(b"x")


def test_many_small_lines_are_not_bounded() -> None:
    assert len(LineReader(max_line_bytes=50).feed(b"0123456789\n" * 1000)) == 1000
