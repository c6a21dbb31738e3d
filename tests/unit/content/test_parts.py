"""Parts of a content as bytes (SPEC 2.2, 2.5)."""

from __future__ import annotations

import pytest

from plurnk.content.parts import edited, part
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
