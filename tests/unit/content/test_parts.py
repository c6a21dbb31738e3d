"""Parts of a content as bytes (SPEC 2.2, 2.5)."""

from __future__ import annotations

import pytest

from plurnk.content.parts import edited, part
from plurnk.errors import Malformed
from plurnk.language.ast import LineMarker

SECOND = LineMarker(first=2)


@pytest.mark.spec("2.5-edit-lines")
def test_bytes_that_are_no_utf8_stay_as_they_are() -> None:
    content = b"a\xff\nb\xfe\r\nc\xc3"
    assert part(content, SECOND, "text/plain") == b"b\xfe\r"
    assert edited(content, SECOND, "", "text/plain") == b"a\xff\nc\xc3"
    assert edited(content, SECOND, "é", "text/plain") == b"a\xff\n\xc3\xa9\nc\xc3"


@pytest.mark.spec("2.5-json-items")
def test_of_json_it_is_items() -> None:
    assert part(b"[1,2]", SECOND, "application/json") == b"[\n  2\n]"
    assert edited(b"[1,2]", SECOND, "", "application/json") == b"[\n  1\n]"


@pytest.mark.spec("2.5-json-items")
def test_json_that_is_not_utf8_has_no_items() -> None:
    with pytest.raises(Malformed, match=r"not UTF-8 \(byte 2\)"):
        part(b'["\xe9", 2]', SECOND, "application/json")
    with pytest.raises(Malformed, match=r"not UTF-8 \(byte 2\)"):
        edited(b'["\xe9", 2]', SECOND, "", "application/json")


@pytest.mark.spec("2.5-edit-lines")
@pytest.mark.parametrize(
    ("content", "marker", "body", "expected"),
    [
        (b"a\r\nb\r\n", LineMarker(first=2), "x\ny", b"a\r\nx\r\ny\r\n"),
        (b"a\r\nb\r\n", LineMarker(first=2), "x\r\ny\r\n", b"a\r\nx\r\ny\r\n"),
        (b"a\r\nb", LineMarker(first=2), "x\n", b"a\r\nx"),
        (b"a\r\nb", LineMarker(first=-1), "x", b"a\r\nb\r\nx"),
        (b"a\r\nb\r\n", LineMarker(first=1), "", b"b\r\n"),
        (b"a\r\r\nb\r\n", LineMarker(first=2), "x", b"a\r\r\nx\r\n"),
        (b"a\r\nb\n", LineMarker(first=2), "x\ny", b"a\r\nx\ny\n"),  # both ways: the body is as it was written
    ],
)
def test_lines_of_a_crlf_content_stay_so(content: bytes, marker: LineMarker, body: str, expected: bytes) -> None:
    assert edited(content, marker, body, "text/plain") == expected


def test_a_line_alone_has_no_half_of_its_end() -> None:
    assert part(b"a\r\nb\r\nc\r\n", LineMarker(first=1, last=2), "text/plain") == b"a\r\nb"
