"""Line markers on text (SPEC 2.5)."""

from __future__ import annotations

import pytest

from plurnk.content.lines import (
    Insertion,
    Slice,
    Span,
    count_lines,
    edit_lines,
    resolve,
    slice_lines,
    without_final_newline,
)
from plurnk.errors import NoSuchRange
from plurnk.language.ast import LineMarker

FOUR = "a\nb\nc\nd\n"


def marker(first: int, last: int | None = None) -> LineMarker:
    return LineMarker(first=first, last=last)


@pytest.mark.spec("2.5-lines")
@pytest.mark.parametrize(
    ("text", "lines"),
    [("", 0), ("a", 1), ("a\n", 1), ("\n", 1), ("\n\n", 2), ("a\n\n", 2), ("a\nb", 2), ("a\r\x0b\x0c\x85\u2028b", 1)],
)
def test_lines_end_at_newlines_only(text: str, lines: int) -> None:
    assert count_lines(text) == lines


@pytest.mark.spec("2.5-lines")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (marker(1), Span(1, 1)),
        (marker(4), Span(4, 4)),
        (marker(2, 3), Span(2, 3)),
        (marker(0, 2), Span(1, 2)),
        (marker(3, -1), Span(3, 4)),
        (marker(0, -1), Span(1, 4)),
        (marker(0), Insertion(1)),
        (marker(-1), Insertion(5)),
    ],
)
def test_a_marker_names_lines_or_a_gap(given: LineMarker, expected: Span | Insertion) -> None:
    assert resolve(given, 4) == expected


@pytest.mark.spec("2.5-lines")
def test_of_empty_content_the_whole_and_both_ends_can_be_named() -> None:
    assert resolve(marker(1, -1), 0) == Span(1, 0)
    assert resolve(marker(0), 0) == resolve(marker(-1), 0) == Insertion(1)


@pytest.mark.spec("2.5-416")
@pytest.mark.parametrize(
    ("given", "total", "message"),
    [
        (marker(9), 4, "line 9 out of range (1..4)"),
        (marker(-2), 4, "line -2 out of range (1..4)"),
        (marker(2, 9), 4, "line 9 out of range (1..4)"),
        (marker(5, -1), 4, "line 5 out of range (1..4)"),
        (marker(-3, -1), 4, "line -3 out of range (1..4)"),
        (marker(1, 0), 4, "line 0 out of range (1..4)"),
        (marker(1, -2), 4, "line -2 out of range (1..4)"),
        (marker(3, 2), 4, "line 2 out of range (3..4)"),
        (marker(1), 0, "line 1 out of range (1..0)"),
        (marker(1, 0), 0, "line 1 out of range (1..0)"),
        (marker(2, -1), 0, "line 2 out of range (1..0)"),
    ],
)
def test_other_lines_are_refused_by_number(given: LineMarker, total: int, message: str) -> None:
    with pytest.raises(NoSuchRange) as refused:
        resolve(given, total)
    assert refused.value.detail == message


@pytest.mark.spec("2.5-lines")
@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        (FOUR, marker(1), Slice("a", 1, 1)),
        (FOUR, marker(4), Slice("d", 4, 1)),
        (FOUR, marker(2, 3), Slice("b\nc", 2, 2)),
        (FOUR, marker(1, -1), Slice("a\nb\nc\nd", 1, 4)),
        ("a\nb", marker(2, -1), Slice("b", 2, 1)),
        ("a\n\nb\n", marker(2), Slice("\n", 2, 1)),
        ("a\n\nb\n", marker(1, 2), Slice("a\n\n", 1, 2)),
        (FOUR, marker(0), Slice("", 1, 0)),
        (FOUR, marker(-1), Slice("", 5, 0)),
        ("", marker(1, -1), Slice("", 1, 0)),
    ],
)
def test_reading_gives_the_lines_without_the_last_newline(text: str, given: LineMarker, expected: Slice) -> None:
    assert slice_lines(text, given) == expected


@pytest.mark.spec("2.5-edit-lines")
@pytest.mark.parametrize(
    ("text", "given", "body", "expected"),
    [
        (FOUR, marker(2), "X", "a\nX\nc\nd\n"),
        (FOUR, marker(2), "X\n", "a\nX\nc\nd\n"),
        (FOUR, marker(2, 3), "X\nY\nZ", "a\nX\nY\nZ\nd\n"),
        (FOUR, marker(2, 3), "", "a\nd\n"),
        (FOUR, marker(2, 3), "\n", "a\n\nd\n"),
        (FOUR, marker(1, -1), "X", "X\n"),
        (FOUR, marker(1, -1), "", ""),
        (FOUR, marker(0), "X", "X\na\nb\nc\nd\n"),
        (FOUR, marker(-1), "X", "a\nb\nc\nd\nX\n"),
        (FOUR, marker(-1), "", FOUR),
        ("a\nb", marker(2), "X\n", "a\nX"),
        ("a\nb", marker(-1), "X\n", "a\nb\nX"),
        ("a\nb", marker(2), "", "a"),
        ("a\nb", marker(1, -1), "", ""),
        ("", marker(0), "X\n", "X"),
        ("", marker(-1), "X", "X"),
        ("", marker(1, -1), "X\nY\n", "X\nY"),
    ],
)
def test_editing_puts_the_lines_of_the_body_in_their_place(
    text: str, given: LineMarker, body: str, expected: str
) -> None:
    assert edit_lines(text, given, body) == expected


@pytest.mark.spec("2.5-edit-lines")
def test_an_empty_last_line_keeps_the_newline_that_it_consists_of() -> None:
    assert edit_lines("a\nb", marker(2), "\n") == "a\n\n"
    assert edit_lines("x\n\ny", marker(3), "") == "x\n\n"
    assert without_final_newline("\n") == "\n"


@pytest.mark.spec("2.5-416")
def test_editing_out_of_range_is_refused() -> None:
    with pytest.raises(NoSuchRange):
        edit_lines(FOUR, marker(9), "X")
