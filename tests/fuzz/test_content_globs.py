"""Globs mean what a naive matcher says, and no pattern makes them slow (SPEC 2.4, 2.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.content.globs import has_glob, line_glob, literal_prefix, path_glob

PATTERNS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "**/", "?", "[ab]", "[!a]"]), max_size=7).map("".join)
PATHS = st.text(alphabet="ab/", max_size=8)


def naive(pattern: str, path: str, *, at_start: bool = True, slash: bool = True) -> bool:
    """The definition, by trying everything. ``slash``: ``/`` is special."""
    if not pattern:
        return not path
    if pattern.startswith("*"):
        rest = pattern.lstrip("*")
        across = len(pattern) - len(rest) > 1 or not slash
        if slash and across and at_start and rest.startswith("/"):
            starts = [0, *(at + 1 for at, char in enumerate(path) if char == "/")]
            return any(naive(rest[1:], path[at:]) for at in starts)
        ends = [at for at in range(len(path) + 1) if across or "/" not in path[:at]]
        return any(naive(rest, path[at:], at_start=False, slash=slash) for at in ends)
    length = 1 if pattern[0] != "[" else pattern.index("]") + 1
    if not path:
        return False
    one, char = pattern[:length], path[0]
    if one == "?":
        fits = char != "/" or not slash
    elif length > 1:
        members = one[1:-1].removeprefix("!")
        fits = (char in members) is not one.startswith("[!") and (char != "/" or not slash)
    else:
        fits = char == one
    return fits and naive(pattern[length:], path[1:], at_start=one == "/", slash=slash)


@given(PATTERNS, PATHS)
def test_a_path_glob_is_its_definition(pattern: str, path: str) -> None:
    assert path_glob(pattern)(path) is naive(pattern, path)
    if naive(pattern, path):
        assert path.startswith(literal_prefix(pattern))


@given(PATTERNS, PATHS)
@pytest.mark.spec("2.6-glob-lines")
def test_a_line_glob_is_its_definition(pattern: str, line: str) -> None:
    assert line_glob(pattern)(line) is naive(pattern, line, slash=False)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_a_pattern(pattern: str, text: str) -> None:
    assert path_glob(pattern)(text) in {True, False}
    assert line_glob(pattern)(text) in {True, False}
    if not has_glob(pattern):
        assert path_glob(pattern)(pattern)
        assert literal_prefix(pattern) == pattern


@pytest.mark.parametrize("piece", ["*a", "**a", "**/a", "*[ab]", "?*", "[", "[!", "*", "a*/"])
def test_no_pattern_is_slow(piece: str) -> None:
    # By backtracking any of these would outlast the test run.
    path = "a" * 400 + "/" + "a" * 400
    assert path_glob(piece * 100 + "b")(path + "c") is False
    assert line_glob(piece * 100 + "b")(path + "c") is False
    assert has_glob(piece * 10_000) is ("*" in piece or "]" in piece or "?" in piece)
