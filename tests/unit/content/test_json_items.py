"""Line markers on JSON (SPEC 2.5)."""

from __future__ import annotations

import pytest

from plurnk.content.json_items import edit_items, slice_items
from plurnk.content.lines import Slice
from plurnk.errors import Malformed, NoSuchRange
from plurnk.language.ast import LineMarker

pytestmark = pytest.mark.spec("2.5-json-items")


def marker(first: int, last: int | None = None) -> LineMarker:
    return LineMarker(first=first, last=last)


@pytest.mark.parametrize(
    ("content", "given", "expected"),
    [
        ("[1, 2, 3]", marker(2), Slice("[\n  2\n]", 2, 1)),
        ("[1, 2, 3]", marker(2, -1), Slice("[\n  2,\n  3\n]", 2, 2)),
        ("[]", marker(1, -1), Slice("[]", 1, 0)),
        ('{"b": 1, "a": [1]}', marker(2), Slice('[\n  {\n    "a": [\n      1\n    ]\n  }\n]', 2, 1)),
        (' "x" ', marker(1), Slice('[\n  "x"\n]', 1, 1)),
        ("null", marker(1, -1), Slice("[\n  null\n]", 1, 1)),
        ("[1]", marker(0), Slice("[]", 1, 0)),
        ("\ufeff[1, 2]", marker(2), Slice("[\n  2\n]", 2, 1)),
        ("[1]", marker(-1), Slice("[]", 2, 0)),
        ("", marker(1, -1), Slice("[]", 1, 0)),
        ('[1.10, 1e400, "\\u0041"]', marker(1, 3), Slice('[\n  1.10,\n  1e400,\n  "\\u0041"\n]', 1, 3)),
    ],
)
def test_reading_gives_an_array_of_items(content: str, given: LineMarker, expected: Slice) -> None:
    assert slice_items(content, given) == expected


@pytest.mark.parametrize(
    ("content", "given", "body", "expected"),
    [
        ("[1,2,3]", marker(2), "[8,9]", "[\n  1,\n  8,\n  9,\n  3\n]"),
        ("[1,2,3]\n", marker(2), "", "[\n  1,\n  3\n]\n"),
        ("[1,2]", marker(1, -1), "", "[]"),
        ("[1]", marker(0), '"x"', '[\n  "x",\n  1\n]'),
        ("[1]", marker(-1), '{"a": 1, "b": 2}', '[\n  1,\n  {\n    "a": 1,\n    "b": 2\n  }\n]'),
        ("[1]", marker(-1), "[[2]]", "[\n  1,\n  [\n    2\n  ]\n]"),
        ('{"a":1,"b":2}', marker(1), '{"c":3}', '{\n  "c": 3,\n  "b": 2\n}'),
        ('{"a":1,"b":2}', marker(1), "", '{\n  "b": 2\n}'),
        ('{"a":1,"b":2}', marker(1, -1), "", "{}"),
        ('{"a":1}', marker(-1), '[{"b":2},{"c":3,"d":4}]', '{\n  "a": 1,\n  "b": 2,\n  "c": 3,\n  "d": 4\n}'),
        ('{"a":1,"b":2}', marker(0), '{"b":3}', '{\n  "b": 3,\n  "a": 1\n}'),
        ('{"a":1,"b":2}', marker(-1), '{"a":3}', '{\n  "b": 2,\n  "a": 3\n}'),
        ("1", marker(1), "2", "2"),
        ("1", marker(1, -1), "[2]", "2"),
        ("1\n", marker(1), "", ""),
        ("", marker(1, -1), "[1]", "[\n  1\n]"),
        ("", marker(0), '{"a":1}', '{\n  "a": 1\n}'),
        ("", marker(-1), " ", ""),
        ("[1.10,1e400]", marker(2), "2.50", "[\n  1.10,\n  2.50\n]"),
        ('["\\u00e9"]', marker(-1), '"é"', '[\n  "\\u00e9",\n  "é"\n]'),
    ],
)
def test_editing_splices_items(content: str, given: LineMarker, body: str, expected: str) -> None:
    assert edit_items(content, given, body) == expected


@pytest.mark.parametrize(
    ("content", "given", "body", "message"),
    [
        ("[1", marker(1), "2", "content is not JSON: "),
        ("[1]", marker(1), "{", "body is not JSON: "),
        ("[1]", marker(1), "two", "body is not JSON: "),
        ("\ud800", marker(1), "2", "content is not JSON: "),
        ('{"a":1}', marker(1), "2", "an object takes pairs only"),
        ('{"a":1}', marker(1), '[{"b":1},2]', "an object takes pairs only"),
        ("1", marker(1), "[2,3]", "a scalar takes at most one item; the body has 2"),
        ("1", marker(0), "2", "a scalar takes no second item"),
        ("1", marker(-1), "2", "a scalar takes no second item"),
        ("[1]", marker(1), "[" * 10**6, "body is nested too deeply"),
    ],
)
def test_what_does_not_fit_is_malformed(content: str, given: LineMarker, body: str, message: str) -> None:
    with pytest.raises(Malformed) as refused:
        edit_items(content, given, body)
    assert refused.value.detail.startswith(message)


def test_any_depth_gives_a_result_or_is_refused() -> None:
    def fits(depth: int) -> bool:
        try:
            edit_items("[]", marker(0), '{"a":' * depth + "1" + "}" * depth)
        except Malformed:
            return False
        return True

    low, high = 1, 1_000_000  # Where the limit is depends on the Python and on the test runner.
    while high - low > 1:
        depth = (low + high) // 2
        low, high = (depth, high) if fits(depth) else (low, depth)
    for depth in range(low - 3, low + 5):  # The body is read at one depth and written one deeper.
        fits(depth)


def test_items_out_of_range_are_refused_by_number() -> None:
    with pytest.raises(NoSuchRange) as refused:
        slice_items('{"a":1}', marker(2))
    assert refused.value.detail == "item 2 out of range (1..1)"
    with pytest.raises(NoSuchRange):
        edit_items("1", marker(2), "3")


def test_a_byte_order_mark_stays_and_is_no_item() -> None:
    assert edit_items("\ufeff[1, 2]\n", marker(2), "\ufeff[3]") == "\ufeff[\n  1,\n  3\n]\n"
    assert edit_items("", marker(1, -1), "\ufeff[3]") == "[\n  3\n]"
