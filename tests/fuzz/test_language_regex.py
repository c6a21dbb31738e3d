"""The check of a regex agrees with the compiler, and the Python spelling matches the same (SPEC 1.4)."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.errors import Malformed
from plurnk.language import to_python_regex
from plurnk.language.regex import check_regex

PIECES = r"""
a b c ab [ ] [^ [] [a-c] [[] - && ~~ || ^ $ . * + ? {1,2} {2} *? ( ) (?: (?= (?<= (?<! (?> (?P<n> (?P=n) | \ \d \w \b
\\ \] \- \[ \x41 \u0041 \101 \1 \7 \8 \q \n (?i) (?i: (?-i:
"""
PATTERNS = st.lists(st.sampled_from(PIECES.split()), max_size=8).map("".join)


def compiled(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(pattern)
        except re.error:
            return None


@pytest.mark.spec("1.4-matcher-dialects", "1.4-regex-portable")
@given(PATTERNS, st.text("abcAB[]-&~|^\\1", max_size=6))
def test_the_check_and_the_spelling_agree_with_the_compiler(pattern: str, text: str) -> None:
    reference = compiled(pattern)
    try:
        check_regex(pattern)
    except Malformed:
        assert reference is None
        return
    assert reference is not None
    spelled = re.compile(to_python_regex(pattern))
    assert [found.span() for found in spelled.finditer(text)] == [found.span() for found in reference.finditer(text)]


@given(st.text(max_size=20))
def test_any_text_compiles_or_is_refused(pattern: str) -> None:
    try:
        check_regex(pattern)
    except Malformed:
        return
    re.compile(to_python_regex(pattern))
