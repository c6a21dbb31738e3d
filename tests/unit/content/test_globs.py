"""Globs over paths (SPEC 2.4) and lines (SPEC 2.6)."""

from __future__ import annotations

import pytest

from plurnk.content.globs import has_glob, line_glob, literal_prefix, path_glob
from plurnk.errors import Malformed

PATHS: list[tuple[str, str, bool]] = [
    ("a/b", "a/b", True),
    ("a/b", "a/bc", False),
    ("*", "abc", True),
    ("*", "", True),
    ("*", "a/b", False),
    ("a/*", "a/b", True),
    ("a/*", "a/b/c", False),
    ("a/*/c", "a/b/c", True),
    ("a/*/c", "a/c", False),
    ("a*c*e", "abcde", True),
    ("a*c*e", "ab/cde", False),
    ("**", "a/b/c", True),
    ("**", "", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a**c", "a/b/c", True),
    ("**/c", "c", True),
    ("**/c", "a/b/c", True),
    ("**/c", "a/bc", False),
    ("a/**/c", "a/c", True),
    ("a/**/c", "a/b/b/c", True),
    ("a/**/c", "a/bc", False),
    ("a/**/**/c", "a/c", True),
    ("a/**/**/c", "a/b/c", True),
    ("a/**/*", "a/b", True),
    ("a/**/*", "a/b/c", True),
    ("**/**", "a", True),
    ("a**/c", "axx/y/c", True),
    ("a**/c", "ac", False),
    ("***/c", "a/b/c", True),
    ("?", "a", True),
    ("?", "/", False),
    ("a?c", "abc", True),
    ("a?c", "ac", False),
    ("[ab]", "b", True),
    ("[!ab]", "b", False),
    ("[!ab]", "c", True),
    ("[!ab]", "/", False),
    ("[a/]", "/", False),
    ("[a-c]x", "bx", True),
    ("[a-c]x", "dx", False),
    ("[c-a]x", "bx", False),
    ("[!c-a]x", "bx", True),
    ("[a-]", "-", True),
    ("[]]", "]", True),
    ("[!]]", "]", False),
    ("[", "[", True),
    ("[[", "[[", True),
    ("[]", "[]", True),
    ("x[!]", "x[!]", True),
    ("[*]", "*", True),
    ("[*]", "a", False),
    ("[^a]", "^", True),
    ("a\\*", "a\\b", True),
    ("a.c", "abc", False),
    ("*é?", "caféx", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), PATHS)
def test_paths(pattern: str, path: str, expected: bool) -> None:
    assert path_glob(pattern)(path) is expected


@pytest.mark.parametrize(
    ("pattern", "glob", "prefix"),
    [
        ("a/b", False, "a/b"),
        ("", False, ""),
        ("a[", False, "a["),
        ("a/*", True, "a/"),
        ("a/b?c", True, "a/b"),
        ("**/c", True, ""),
        ("a/**/c", True, "a/"),
        ("a[bc]", True, "a"),
    ],
)
def test_what_comes_before_the_first_glob_character_is_fixed(pattern: str, glob: bool, prefix: str) -> None:
    assert (has_glob(pattern), literal_prefix(pattern)) == (glob, prefix)


@pytest.mark.spec("2.6-glob-lines")
@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        ("TODO", "TODO", True),
        ("TODO", "a TODO", False),
        ("*TODO*", "a TODO/b", True),
        ("*", "", True),
        ("*", "a/b", True),
        ("?", "/", True),
        ("a*b*c", "a/x/b/c", True),
        ("a*b*c", "a/c/b", False),
        ("ab*bc", "abc", False),
        ("*ab*ab*", "ab", False),
        ("*ab*ab*", "abab", True),
        ("**/x", "y/x", True),
        ("**/x", "x", False),
        ("[0-9]*", "7 dwarfs", True),
        ("[0-9]*", "x7", False),
        ("*[!a-z]?*", "abc", False),
        ("*[!a-z]?*", "abC/d", True),
        ("[&-~][--/][|][~]*", "a.|~", True),
        ("*[z-a]*", "z", False),
        ("?*?", "a", False),
        ("?*?", "ab", True),
        ("a+(b)*", "a+(b)c", True),
    ],
)
def test_whole_lines(pattern: str, line: str, expected: bool) -> None:
    assert line_glob(pattern)(line) is expected


def test_a_glob_that_is_longer_than_any_path_is_refused() -> None:
    """Its memory goes with the square of its length."""
    with pytest.raises(Malformed, match="a glob over paths has at most 10000 characters; got 10001"):
        path_glob("*" + "?" * 10_000)
    longest = path_glob("*/" + "?" * 9_998)
    assert longest("a/" + "b" * 9_998)
    assert path_glob("a" * 20_000)("a" * 20_000)
