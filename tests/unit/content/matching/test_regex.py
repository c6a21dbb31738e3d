"""Regex rows (SPEC 2.6)."""

from __future__ import annotations

from typing import Any

import pytest

from plurnk.content.matching.evaluation import has_match
from plurnk.errors import NoSuchRange, Unreadable, UnsupportedType
from plurnk.language.matchers import parse_matcher
from tests.support.matching import rows, run, subject

TEXT = "text/plain"
JSON = "application/json"

ROWS: list[tuple[str, str, list[tuple[int, Any]]]] = [
    ("/b/", "a\nb\nb", [(2, "b")]),
    ("/b/g", "a\nb\nb b", [(2, "b"), (3, "b"), (3, "b")]),
    ("/x/g", "a\nb", []),
    ("/b/g", "", []),
    ("/^$/", "", [(1, "")]),
    # Groups: all of them, in a list or, once one has a name, by name or number.
    (r"/(\w)=(\d)?/g", "a=1\nb=", [(1, ["a", "1"]), (2, ["b", None])]),
    (r"/(?<key>\w)=(\d)?/g", "a=1\nb=", [(1, {"key": "a", "2": "1"}), (2, {"key": "b", "2": None})]),
    (r"/(?:a)b/", "ab", [(1, "ab")]),
    # Flags.
    ("/B/", "b", []),
    ("/B/i", "b", [(1, "b")]),
    ("/^b$/", "a\nb\nc", []),
    ("/^b$/m", "a\nb\nc", [(2, "b")]),
    ("/a.b/", "a\nb", []),
    ("/a.b/s", "a\nb", [(1, "a\nb")]),
    ("/é/u", "é", [(1, "é")]),
    # A row has the line on which its match begins.
    (r"/\n./g", "a\nb\nc", [(1, "\nb"), (2, "\nc")]),
    (r"/\r/g", "a\rb\r\nc\r\n", [(1, "\r"), (1, "\r"), (2, "\r")]),
    # Matches of nothing; there is no line behind the final newline.
    ("/^/gm", "a\nb", [(1, ""), (2, "")]),
    ("/^/gm", "a\nb\n", [(1, ""), (2, ""), (2, "")]),
    ("/$/g", "\n", [(1, ""), (1, "")]),
    ("/x*/g", "ax", [(1, ""), (1, "x"), (1, "")]),
    # Slashes and classes in the language's spelling.
    (r"/a\/b/", "a/b", [(1, "a/b")]),
    ("/[[]/", "a[", [(1, "[")]),
]


@pytest.mark.spec("2.6-regex-rows")
@pytest.mark.parametrize(("matcher", "text", "expected"), ROWS)
def test_rows(matcher: str, text: str, expected: list[tuple[int, Any]]) -> None:
    assert rows(matcher, text, TEXT) == [{"line": line, "matched": matched} for line, matched in expected]
    assert has_match(parse_matcher(matcher), subject(text, TEXT)) is bool(expected)


@pytest.mark.spec("2.4-read-composition")
def test_lines_are_those_of_the_source() -> None:
    found = run("/b/g", "a\nb\nb\n", TEXT, first_line=41)
    assert found.text == '[{"line":42,"matched":"b"},{"line":43,"matched":"b"}]'


@pytest.mark.spec("2.4-read-composition")
def test_only_the_lines_that_are_given_are_seen() -> None:
    assert rows("/^./g", "a\nb\nc\n", TEXT, marker=(2, 3)) == [{"line": 2, "matched": "b"}]


def test_what_is_no_utf8_is_a_replacement_character() -> None:
    assert rows("/a(.)b/", b"\na\xffb", TEXT) == [{"line": 2, "matched": ["\ufffd"]}]


ITEMS = '[1,\n {"a":\n  2}, 3,\n\n4 ]'
PAIRS = '{"a": 1,\n"b": 2,\n"a":\n3}'


@pytest.mark.spec("2.4-read-composition")
@pytest.mark.parametrize(
    ("content", "marker", "expected"),
    [
        (ITEMS, None, [(1, "1"), (3, "2"), (3, "3"), (5, "4")]),
        (ITEMS, (2, 3), [(3, "2"), (3, "3")]),
        (ITEMS, 4, [(5, "4")]),
        (ITEMS, 0, []),
        (ITEMS, -1, []),
        (PAIRS, 2, [(2, "2")]),
        (PAIRS, 1, [(4, "3")]),
        (PAIRS, (1, 2), [(2, "2"), (4, "3")]),
        ("\n7", 1, [(2, "7")]),
        ("[ ]", (1, -1), []),
        (" ", (1, -1), []),
    ],
)
def test_in_json_a_marker_names_items(
    content: str, marker: tuple[int, int] | int | None, expected: list[tuple[int, str]]
) -> None:
    found = rows(r"/\d/g", content, JSON, marker=marker)
    assert found == [{"line": line, "matched": matched} for line, matched in expected]


def test_what_cannot_be_matched() -> None:
    matcher = parse_matcher("/./")
    with pytest.raises(UnsupportedType, match="content of type application/pdf is binary and cannot be matched"):
        run("/./", b"\0", "application/pdf")
    assert has_match(matcher, subject(b"\0", "application/pdf")) is False
    with pytest.raises(NoSuchRange, match=r"item 3 out of range \(1..2\)"):
        run("/./", "[1, 2]", JSON, marker=3)
    with pytest.raises(Unreadable, match="content is not JSON: JSON is malformed"):
        run("/./", "[1,]", JSON, marker=1)
    assert rows("/1/", "[1,]", JSON) == [{"line": 1, "matched": "1"}]
