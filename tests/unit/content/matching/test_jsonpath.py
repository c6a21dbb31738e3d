"""JSONPath rows (SPEC 2.6)."""

from __future__ import annotations

from typing import Any

import pytest

from plurnk.content.matching.evaluation import has_match, match_rows
from plurnk.errors import Malformed, NoSuchRange, PlurnkError, Unreadable, UnsupportedType
from plurnk.language.ast import JsonpathMatcher
from plurnk.language.matchers import parse_matcher
from tests.support.matching import rows, run, subject

JSON = "application/json"

BOOKS = """{
  "books": [
    {"title": "one", "price": 8},
    {
      "title": "two",
      "price": 12.5
    }
  ],
  "it's \\u00e9\\n":
    null
}
"""
TWICE = '{"a": {"x": 1},\n"b": 1, "a": [],\n"a":\n{"x":\n2}}'

ROWS: list[tuple[str, str, list[tuple[int, Any, str]]]] = [
    ("$.books[*].title", BOOKS, [(3, "one", "$['books'][0]['title']"), (5, "two", "$['books'][1]['title']")]),
    ("$.books[?@.price > 10].price", BOOKS, [(6, 12.5, "$['books'][1]['price']")]),
    ("$.books[1]", BOOKS, [(4, {"title": "two", "price": 12.5}, "$['books'][1]")]),
    ("$.books[?match(@.title, 't.*')].title", BOOKS, [(5, "two", "$['books'][1]['title']")]),
    ('$["it\'s é\\n"]', BOOKS, [(10, None, "$['it\\'s é\\n']")]),
    ("$.books[::-1].price", BOOKS, [(6, 12.5, "$['books'][1]['price']"), (3, 8, "$['books'][0]['price']")]),
    ("$.nothing", BOOKS, []),
    ("$", "\n\n 5", [(3, 5, "$")]),
    ("$", "[]", [(1, [], "$")]),
    ("$..*", "", []),
    ("$..*", " \n", []),
    # Of equal names the last counts, for the value and for the line, whatever the others are.
    ("$.a", TWICE, [(4, {"x": 2}, "$['a']")]),
    ("$.a.x", TWICE, [(5, 2, "$['a']['x']")]),
    ("$.*", TWICE, [(4, {"x": 2}, "$['a']"), (2, 1, "$['b']")]),
    ("$.a.x", '{"a": 3, "a": {},\n"a": {"x": "}"}}', [(2, "}", "$['a']['x']")]),
    # Numbers are what is written.
    ("$[*]", "[123456789012345678901234567890, -0, 1.50]", [
        (1, 123456789012345678901234567890, "$[0]"), (1, 0, "$[1]"), (1, 1.5, "$[2]"),
    ]),
]  # fmt: skip


@pytest.mark.spec("2.6-jsonpath")
@pytest.mark.parametrize(("path", "content", "expected"), ROWS)
def test_rows(path: str, content: str, expected: list[tuple[int, Any, str]]) -> None:
    assert rows(path, content, JSON) == [
        {"line": line, "matched": matched, "matching": matching} for line, matched, matching in expected
    ]
    assert has_match(parse_matcher(path), subject(content, JSON)) is bool(expected)


@pytest.mark.spec("2.6-jsonpath")
def test_rows_are_canonical_and_numbers_beyond_floats_stay_what_they_are() -> None:
    found = run("$", '{"b": [1e400, {"d": 0, "c": "é"}], "a": 0}', "application/geo+json; charset=utf-8")
    assert found.text == '[{"line":1,"matched":{"a":0,"b":[1E+400,{"c":"é","d":0}]},"matching":"$"}]'


def test_what_is_no_utf8_is_a_replacement_character() -> None:
    assert rows("$[0]", b'["\xff",\n1]', JSON) == [{"line": 1, "matched": "\ufffd", "matching": "$[0]"}]


ITEMS = '[1,\n{"a":\n2}, 3]'
PAIRS = '{"a": 1,\n"b":\n{"c":\n2}, "d":\n[]}'


CHOSEN: list[tuple[str, str, tuple[int, int] | int, list[tuple[int, Any, str]]]] = [
    ("$[*]", ITEMS, (2, -1), [(2, {"a": 2}, "$[0]"), (3, 3, "$[1]")]),
    ("$..a", ITEMS, 2, [(3, 2, "$[0]['a']")]),
    ("$", ITEMS, 3, [(3, [3], "$")]),
    ("$[1]", ITEMS, 3, []),
    ("$[*]", ITEMS, 0, []),
    ("$[*]", ITEMS, -1, []),
    # A pair begins with its name.
    ("$[*]", PAIRS, (2, 3), [(2, {"b": {"c": 2}}, "$[0]"), (4, {"d": []}, "$[1]")]),
    ("$..c", PAIRS, (1, 2), [(4, 2, "$[1]['b']['c']")]),
    ("$[*].b", PAIRS, 2, [(3, {"c": 2}, "$[0]['b']")]),
    ("$", PAIRS, 2, [(2, [{"b": {"c": 2}}], "$")]),
    ("$[*]", "\n7", 1, [(2, 7, "$[0]")]),
    ("$", "\n7", (1, -1), [(2, [7], "$")]),
    ("$", "\n[]", (1, -1), [(2, [], "$")]),
    ("$", " ", (1, -1), []),
]


@pytest.mark.spec("2.4-read-composition")
@pytest.mark.parametrize(("path", "content", "marker", "expected"), CHOSEN)
def test_a_marker_names_items(
    path: str, content: str, marker: tuple[int, int] | int, expected: list[tuple[int, Any, str]]
) -> None:
    assert rows(path, content, JSON, marker=marker) == [
        {"line": line, "matched": matched, "matching": matching} for line, matched, matching in expected
    ]


@pytest.mark.parametrize(
    ("path", "content", "mimetype", "error", "detail"),
    [
        ("$", "{}", "text/plain", UnsupportedType, "a jsonpath applies to JSON, not to text/plain"),
        ("$", "{}", "application/jsonl", UnsupportedType, "a jsonpath applies to JSON, not to application/jsonl"),
        ("$", "[1,]", JSON, Unreadable, "content is not JSON: JSON is malformed: trailing comma in array (byte 3)"),
        ("$", "[" * 100_000 + "]" * 100_000, JSON, Unreadable, "content is nested too deeply"),
        ("$" + "[0]" * 1300, "[" * 1300 + "]" * 1300, JSON, Unreadable, "content is nested too deeply"),
        ("$..a", "[" * 500 + "]" * 500, JSON, Unreadable, "content is nested too deeply"),
    ],
)
@pytest.mark.spec("2.6-jsonpath")
def test_what_cannot_be_matched(path: str, content: str, mimetype: str, error: type[PlurnkError], detail: str) -> None:
    with pytest.raises(error) as caught:
        run(path, content, mimetype)
    assert caught.value.detail == detail
    assert has_match(parse_matcher(path), subject(content, mimetype)) is False


def test_a_marker_out_of_range() -> None:
    with pytest.raises(NoSuchRange, match=r"item 4 out of range \(1..3\)"):
        run("$", ITEMS, JSON, marker=4)
    with pytest.raises(NoSuchRange, match=r"item 2 out of range \(1..1\)"):
        run("$", "7", JSON, marker=2)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("$[?@ == 1e400]", "broken jsonpath: a number too large"),
        ("$[", "broken jsonpath: unbalanced brackets"),  # The parser's check lets no such path through.
    ],
)
def test_a_path_that_the_library_refuses_is_malformed(path: str, detail: str) -> None:
    with pytest.raises(Malformed) as caught:
        match_rows(JsonpathMatcher(raw=path), subject("{}", JSON), 100)
    assert caught.value.detail.startswith(detail)


def test_depth_that_is_not_too_deep() -> None:
    found = run("$..x", '{"a":' * 350 + '{"x":\n1}' + "}" * 350, JSON)
    assert found.text == '[{"line":2,"matched":1,"matching":"$' + "['a']" * 350 + "['x']\"}]"


@pytest.mark.spec("2.6-jsonpath", "2.6-regex-rows")
def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    content = '\ufeff[1,\n"a"]'
    assert rows("$[1]", content, JSON) == [{"line": 2, "matched": "a", "matching": "$[1]"}]
    assert rows("$[0]", content, JSON, marker=2) == [{"line": 2, "matched": "a", "matching": "$[0]"}]
    assert rows("/^./gm", "\ufeffid\n1", "text/csv") == [{"line": 1, "matched": "i"}, {"line": 2, "matched": "1"}]
