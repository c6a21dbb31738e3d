"""Previews, plain form (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews import Preview, binary_preview, preview

TEN = "".join(f"line {n}\n" for n in range(10))


def test_what_fits_is_shown_whole() -> None:
    assert preview("a\nb\n", "text/plain", 4) == Preview(text="a\nb")
    assert preview("a\n\n", "text/plain", 4, "tail") == Preview(text="a\n\n")
    assert preview("", "text/plain", 0) == Preview()


@pytest.mark.spec("2.8-preview-budget")
def test_a_head_is_cut_at_a_line_and_says_how_many_follow() -> None:
    assert preview(TEN, "text/plain", 35) == Preview(text="line 0\nline 1", after="… 8 more lines")
    assert preview("line 0\n" + "x" * 100, "text/plain", 30) == Preview(text="line 0", after="… 1 more line")


@pytest.mark.spec("2.8-preview-budget")
def test_a_tail_is_cut_at_a_line_and_says_how_many_came_before() -> None:
    assert preview(TEN, "text/plain", 35, "tail") == Preview(
        text="line 8\nline 9", first_line=9, before="… 8 lines before"
    )
    assert preview("x" * 100 + "\nline 2", "text/plain", 30, "tail") == Preview(
        text="line 2", first_line=2, before="… 1 line before"
    )


def test_a_line_that_does_not_fit_is_cut_inside() -> None:
    assert preview("x" * 50, "text/plain", 20) == Preview(text="xxxxxx…")
    assert preview("y" * 49 + "x\n", "text/plain", 20, "tail") == Preview(text="…yyyx")


def test_a_window_is_told_where_it_lies() -> None:
    assert preview(TEN, "text/plain", 36, total_lines=1000) == Preview(text="line 0\nline 1", after="… 998 more lines")
    assert preview(TEN, "text/plain", 36, "tail", first_line=991) == Preview(
        text="line 8\nline 9", first_line=999, before="… 998 lines before"
    )


@pytest.mark.parametrize("mimetype", ["application/json", "text/html", "image/svg+xml"])
def test_json_and_markup_are_not_numbered(mimetype: str) -> None:
    assert preview("x", mimetype, 10) == Preview(text="x", numbered=False)


def test_a_window_that_fits_is_shown_whole_with_the_remark() -> None:
    assert preview("a\nb\n", "text/plain", 100, total_lines=9) == Preview(text="a\nb", after="… 7 more lines")
    assert preview("a\nb\n", "text/plain", 100, "tail", first_line=8) == Preview(
        text="a\nb", first_line=8, before="… 7 lines before"
    )


def test_no_room_even_for_the_remark() -> None:
    assert preview(TEN, "text/plain", 8) == Preview(text="line 0")
    assert preview(TEN, "text/plain", 0) == preview(TEN, "text/plain", -5) == Preview()
    assert preview(TEN, "text/plain", 0, "tail") == Preview(first_line=11)


def test_a_binary_is_one_line() -> None:
    assert binary_preview("image/png", 42) == Preview(text="image/png, 42 bytes", numbered=False)
