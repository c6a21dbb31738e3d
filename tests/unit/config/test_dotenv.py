"""The reader of ``.env`` files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.dotenv import parse_dotenv


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=1", "1"),
        ("K =  two words  ", "two words"),
        ("export K=x", "x"),
        ("K=", ""),
        ("K=''", ""),
        ("K=a#b # comment", "a#b"),
        ("K=#b", "#b"),
        ("K= # comment", ""),
        ("K='it # is' # comment", "it # is"),
        (r"K='a\n'", r"a\n"),
        (r'K="a\n\"b\" # $HOME \\"', 'a\n"b" # $HOME \\'),
        ('K=sk-"x"', 'sk-"x"'),
        ("\ufeffK=1", "1"),
    ],
)
def test_a_value(line: str, value: str) -> None:
    assert parse_dotenv(line) == ({"K": value}, [])


@pytest.mark.parametrize("line", ["K", "K: 1", "1K=1", "=1", 'K="open', "K='a' b", "K='a'#b", "export", "a-b=1"])
def test_a_strange_line_is_reported_by_its_number(line: str) -> None:
    assert parse_dotenv(f"# first\n\n{line}\nA=1\n") == ({"A": "1"}, [3])


def test_the_last_of_two_wins() -> None:
    assert parse_dotenv("A=1\nA=2") == ({"A": "2"}, [])


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    found, strange = parse_dotenv(text)
    assert len(found) + len(strange) <= len(text.splitlines())


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"))))
def test_a_quoted_value_survives(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_dotenv(f'K="{escaped}"') == ({"K": value}, [])
