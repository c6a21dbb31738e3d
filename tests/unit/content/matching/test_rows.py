"""How many rows fit, and where to go on (SPEC 2.4)."""

from __future__ import annotations

import json

import pytest

from plurnk.content.matching import Rows
from plurnk.content.matching.rows import Row, gather
from tests.support.matching import run

# Each is 24 characters long as {"line":1,"matched":"a"}, so that an array of both is 51.
AB = [Row(1, "a"), Row(2, "b")]


def text(*rows: tuple[int, str]) -> str:
    return "[" + ",".join(f'{{"line":{line},"matched":"{matched}"}}' for line, matched in rows) + "]"


def lines(*numbers: int) -> list[Row]:
    return [Row(line, "x") for line in numbers]


@pytest.mark.parametrize(
    ("rows", "max_chars", "expected"),
    [
        ([], 0, Rows(text="[]", count=0)),
        (AB, 51, Rows(text=text((1, "a"), (2, "b")), count=2)),
        (AB, 50, Rows(text=text((1, "a")), count=1, complete=False, next_line=2)),
        # The rows of a line stay together...
        (lines(1, 2, 2), 60, Rows(text=text((1, "x")), count=1, complete=False, next_line=2)),
        (lines(1, 1, 2, 2, 3), 80, Rows(text=text((1, "x"), (1, "x")), count=2, complete=False, next_line=2)),
        # ...but for a line whose rows are too many by themselves.
        (lines(1, 1, 1, 4, 5), 60, Rows(text=text((1, "x"), (1, "x")), count=2, complete=False, next_line=4)),
        (lines(1, 1, 1), 60, Rows(text=text((1, "x"), (1, "x")), count=2, complete=False)),
    ],
)
@pytest.mark.spec("2.4-read-composition")
def test_what_fits(rows: list[Row], max_chars: int, expected: Rows) -> None:
    assert gather(rows, max_chars, by_line=True) == expected


def test_where_a_line_is_no_place_to_go_on_what_fits_is_there() -> None:
    expected = Rows(text=text((1, "x"), (2, "x")), count=2, complete=False)
    assert gather(lines(1, 2, 2), 60, by_line=False) == expected


@pytest.mark.parametrize(
    ("row", "max_chars", "expected"),
    [
        (Row(7, "abcdef"), 28, '[{"line":7,"matched":"ab…"}]'),
        (Row(7, 'a"\n"'), 29, '[{"line":7,"matched":"a\\"…"}]'),
        (Row(7, 'a"\n"'), 28, '[{"line":7,"matched":"a…"}]'),
        (Row(7, ["a", None]), 29, '[{"line":7,"matched":"[\\"…"}]'),
        (Row(7, "abcdef", "$[0]"), 45, '[{"line":7,"matched":"a…","matching":"$[0]"}]'),
        (Row(7, "abcdef", "$[0][1]"), 45, '[{"line":7,"matched":"…","matching":"$[0]…"}]'),
        # It is never less than this.
        (Row(7, "abcdef"), 0, '[{"line":7,"matched":"…"}]'),
        (Row(7, "abcdef", "$[0]"), 0, '[{"line":7,"matched":"…","matching":"…"}]'),
    ],
)
def test_a_row_that_is_too_long_is_cut(row: Row, max_chars: int, expected: str) -> None:
    assert gather([row], max_chars, by_line=True) == Rows(text=expected, count=1, complete=False)
    more = [row, Row(7, "x"), Row(9, "x")]
    assert gather(more, max_chars, by_line=True) == Rows(text=expected, count=1, complete=False, next_line=9)


@pytest.mark.spec("2.4-read-composition")
@pytest.mark.parametrize(
    ("matcher", "content", "mimetype"),
    [
        (r"/\w/g", "a b\n\nc\nd e f\ng\n", "text/plain"),
        ("*", "a\nb\nc\nd\n\ne\nf\n", "text/plain"),
        ("//*", "<a>\n<b/><b/>\n<c>\n<d/></c></a>", "application/xml"),
        ("//text()", "<a>1\n<b>2</b>\n3<b>4</b></a>", "application/xml"),
    ],
)
def test_reading_on_gives_all_rows_once(matcher: str, content: str, mimetype: str) -> None:
    everything = json.loads(run(matcher, content, mimetype).text)
    found: list[object] = []
    page = run(matcher, content, mimetype, max_chars=130)
    while page.next_line is not None:
        assert len(page.text) <= 130
        found += json.loads(page.text)
        page = run(matcher, content, mimetype, marker=(page.next_line, -1), max_chars=130)
    assert page.complete
    assert found + json.loads(page.text) == everything
    assert found


def test_in_json_there_is_no_line_to_go_on_at() -> None:
    for matcher in ("/1/g", "*", "$[*]"):
        found = run(matcher, "[1,\n1,\n1,\n1]", "application/json", max_chars=60)
        assert (found.count, found.complete, found.next_line) == (len(json.loads(found.text)), False, None)
