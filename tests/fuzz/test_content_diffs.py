"""A diff turns the old text into the new one (SPEC 2.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.content import diffs

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=25).map("".join) | st.text("ab\n", max_size=9)


def patched(old: str, diff: str) -> str:
    """``old`` with ``diff`` applied, every context and removed line checked."""
    if not diff:
        return old
    source = re.findall(r"[^\n]*\n|[^\n]+", old)
    result: list[str] = []
    at = 0
    for sign, line in signed_lines(diff):
        if sign == "@":
            start, count = re.fullmatch(r"-(\d+)(,0)?.*", line).groups()  # type: ignore[union-attr]
            upto = int(start) - (0 if count else 1)
            result += source[at:upto]
            at = upto
            continue
        if sign in " -":
            assert source[at] == line
            at += 1
        if sign in " +":
            result.append(line)
    return "".join(result + source[at:])


def signed_lines(diff: str) -> Iterator[tuple[str, str]]:
    lines = diff.split("\n")[2:-1]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("@@ "):
            yield "@", line.removeprefix("@@ ")
        elif not line.startswith("\\"):
            yield line[0], line[1:] + ("" if following.startswith("\\") else "\n")


@given(TEXTS, TEXTS, st.sampled_from([10, 100_000]))
def test_a_whole_diff_applies(old: str, new: str, max_steps: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diffs, "MAX_STEPS", max_steps)
        diff = diffs.unified(old, new, "x", max_lines=None)
        assert diffs.unified(old, new, "x", max_lines=None) == diff
    assert patched(old, diff) == new


@given(TEXTS, TEXTS, st.integers(1, 10))
def test_a_cut_diff_has_at_most_so_many_lines(old: str, new: str, max_lines: int) -> None:
    assert diffs.unified(old, new, "x", max_lines=max_lines).count("\n") <= max_lines
