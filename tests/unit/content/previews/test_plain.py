"""The head, the tail and the one line of a binary (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.plain import binary_preview, preview

TEN = "".join(f"line {n}\n" for n in range(10))


def test_what_fits_with_its_numbers_is_shown_whole() -> None:
    assert preview("a\nb\n", "text/plain", 9) == "1:\ta\n2:\tb"
    assert preview("a\n\n", "text/plain", 8, "tail") == "1:\ta\n2:\t"
    assert preview("", "text/plain", 0) == ""


@pytest.mark.parametrize("mimetype", ["application/json", "text/html", "image/svg+xml"])
def test_json_and_markup_are_not_numbered(mimetype: str) -> None:
    assert preview("x\ny\n", mimetype, 3) == "x\ny"


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (99, TEN[:-1]),
        (69, TEN[:-1]),
        (68, "line 0\nline 1\nline 2\nline 3\nline 4\nline 5\nline 6\n… 3 more lines"),
        (29, "line 0\nline 1\n… 8 more lines"),
        (28, "line 0\nline 1\nline 2\nline 3"),
        (26, "line 0\nline 1\nline 2"),
        (6, "line 0"),
        (5, "line…"),
        (0, ""),
        (-1, ""),
    ],
)
def test_a_head_is_cut_at_a_line_and_says_how_many_follow(budget_chars: int, expected: str) -> None:
    assert preview(TEN, "application/json", budget_chars) == expected


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (37, "… 8 lines before\n9:\tline 8\n10:\tline 9"),
        (36, "… 9 lines before\n10:\tline 9"),
        (20, "9:\tline 8\n10:\tline 9"),
        (10, "10:\tline 9"),
        (9, "10:\t…ne 9"),
        (0, ""),
    ],
)
def test_a_tail_is_cut_at_a_line_and_says_how_many_came_before(budget_chars: int, expected: str) -> None:
    assert preview(TEN, "text/plain", budget_chars, "tail") == expected


def test_a_line_that_does_not_fit_is_cut_inside() -> None:
    assert preview("x" * 20, "text/plain", 20) == f"1:\t{'x' * 16}…"
    assert preview("y" * 49 + "x\n", "text/plain", 8, "tail") == "1:\t…yyyx"
    assert preview("x" * 50 + "\nb\n", "text/plain", 30) == f"1:\t{'x' * 12}…\n… 1 more line"


def test_a_window_is_told_where_it_lies() -> None:
    assert preview(TEN, "text/plain", 36, total_lines=1000) == "1:\tline 0\n2:\tline 1\n… 998 more lines"
    assert preview(TEN, "text/plain", 43, "tail", first_line=991) == "… 998 lines before\n999:\tline 8\n1000:\tline 9"
    assert preview("a\nb\n", "text/plain", 99, total_lines=9) == "1:\ta\n2:\tb\n… 7 more lines"


def test_a_binary_is_one_line() -> None:
    assert binary_preview("image/png", 42) == "image/png, 42 bytes"
