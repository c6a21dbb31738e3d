"""The cursor: what is held, and the line and column of every place."""

from __future__ import annotations

import re

from plurnk.language import Position
from plurnk.language.scanner import Scanner
from plurnk.language.wording import clip, quote


def test_what_is_unread_waits_before_the_next_chunk() -> None:
    scan = Scanner()
    scan.feed("abc")
    scan.skip(2)
    scan.feed("de")
    assert (scan.window, scan.at, scan.unread) == ("cde", 0, 3)
    assert scan.search(re.compile("d")) is not None
    assert scan.match(re.compile("d")) is None
    assert scan.find("e", 1) == 2


def test_what_is_held_is_given_once() -> None:
    scan = Scanner()
    assert scan.take() == ""
    for chunk in ("a\r", "\nb", ""):
        scan.feed(chunk)
        scan.hold(len(scan.window))
    assert scan.take() == "a\r\nb"
    assert scan.take() == ""


def test_positions_are_of_code_points_and_lines_end_at_lf() -> None:
    scan = Scanner()
    places: list[Position] = []
    for chunk in ("é𝄞", "\r", "\n", "\n\ra\u2028b", "c\nd"):
        scan.feed(chunk)
        scan.skip(len(scan.window))
        places.append(scan.position())
    assert [(place.line, place.column) for place in places] == [(1, 2), (1, 3), (2, 0), (3, 4), (4, 1)]


def test_errors_show_things_short_and_on_one_line() -> None:
    assert quote("a") == "'a'"
    assert quote("'\n\r\t\0\ud800\u2028") == r"''\n\r\tU+0000U+D800U+2028'"
    assert clip("x" * 32) == "x" * 32
    assert clip("x" * 33) == "x" * 32 + "…"
