"""What an outline shows of its symbols (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.outline import Handler, Symbol, outline, outline_with_head

CODE = [Symbol(1, 0, "class A"), Symbol(2, 1, "a"), Symbol(3, 1, "b"), Symbol(9, 0, "class B"), Symbol(10, 1, "c")]


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (99, "1:\tclass A\n2:\t  a\n3:\t  b\n9:\tclass B\n10:\t  c"),
        (43, "1:\tclass A\n2:\t  a\n3:\t  b\n9:\tclass B\n10:\t  c"),
        (42, "1:\tclass A\n2:\t  a\n9:\tclass B\n… 2 more"),
        (31, "1:\tclass A\n9:\tclass B\n… 3 more"),
        (29, "1:\tclass A\n… 4 more"),
        (10, "1:\tclass A"),
        (5, "1:\tc…"),
        (0, ""),
    ],
)
def test_the_shallow_ones_come_first_and_all_in_the_order_of_the_source(budget_chars: int, expected: str) -> None:
    assert outline(CODE, budget_chars) == expected


def test_long_texts_are_cut_and_cut_shorter_when_not_all_fit() -> None:
    long = [Symbol(1, 0, "x" * 99), Symbol(2, 0, "y" * 99)]
    assert outline(long, 200) == f"1:\t{'x' * 63}…\n2:\t{'y' * 63}…"
    assert outline(long, 90) == f"1:\t{'x' * 35}…\n2:\t{'y' * 35}…"


def test_what_room_is_left_shows_lines_of_the_head() -> None:
    content = "one\n\n  two  \n# three\nfour\nfive and twenty more words of it\n"
    heading = [Symbol(4, 0, "# three")]
    assert outline_with_head(heading, content, 60) == "1:\tone\n3:\t  two\n4:\t# three\n5:\tfour\n… 2 more lines"
    assert outline_with_head(heading, content, 25) == "4:\t# three\n… 5 more lines"
    assert outline_with_head(heading, content, 24) == "4:\t# three"
    assert outline_with_head((), content, 60) == ""


def test_of_two_symbols_in_one_line_none_is_lost() -> None:
    two = [Symbol(1, 0, "interface I"), Symbol(1, 1, "m()")]
    assert outline_with_head(two, "interface I { m(); }\nx\n", 60) == "1:\tinterface I\n1:\t  m()\n2:\tx"


def test_a_handler_with_nothing_to_tell_shows_the_head() -> None:
    assert Handler("text/x-log", lambda _content, _budget: "").preview("a\nb\n", 5) == "1:\ta"
    assert Handler("text/x-log", lambda content, _budget: content.upper()).preview("a", 5) == "A"
