"""Glob rows (SPEC 2.6)."""

from __future__ import annotations

import pytest

from plurnk.content.matching.evaluation import has_match
from plurnk.language.matchers import parse_matcher
from tests.support.matching import rows, run, subject

ROWS: list[tuple[str, str, list[tuple[int, str]]]] = [
    ("b", "a\nb\nbb", [(2, "b")]),
    ("*b*", "abc\nc\nb\n", [(1, "abc"), (3, "b")]),
    ("*", "a/b\n\nc", [(1, "a/b"), (2, ""), (3, "c")]),
    ("*", "", []),
    ("*", "\n", [(1, "")]),
    ("[!a]?", "ab\nbb", [(2, "bb")]),
    ("a", "a\r\nb\r\n", [(1, "a")]),
    ("*", "a\r\r\nb\rc", [(1, "a\r"), (2, "b\rc")]),
    ("x", "a", []),
]


@pytest.mark.spec("2.6-glob-lines")
@pytest.mark.parametrize(("glob", "text", "expected"), ROWS)
def test_rows(glob: str, text: str, expected: list[tuple[int, str]]) -> None:
    assert rows(glob, text, "text/plain") == [{"line": line, "matched": matched} for line, matched in expected]
    assert has_match(parse_matcher(glob), subject(text, "text/plain")) is bool(expected)


@pytest.mark.spec("2.4-read-composition")
def test_lines_are_those_of_the_source() -> None:
    assert run("b", "a\nb\n", "text/plain", first_line=41).text == '[{"line":42,"matched":"b"}]'


@pytest.mark.spec("2.4-read-composition")
def test_in_json_a_marker_names_items() -> None:
    content = '[1,\n {"a":\n  2}, 3,\n\n4 ]'
    found = rows("*", content, "application/json", marker=(2, 3))
    assert found == [{"line": 2, "matched": '{"a":'}, {"line": 3, "matched": "  2}, 3"}]
