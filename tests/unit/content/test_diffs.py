"""Unified diffs (SPEC 2.4, 5.2)."""

from __future__ import annotations

import itertools

import pytest

from plurnk.content import diffs
from plurnk.content.diffs import readable, unified


def _numbered(first: int, last: int) -> str:
    return "".join(f"{n}\n" for n in range(first, last + 1))


def test_equal_texts_have_no_diff() -> None:
    assert unified("a\n", "a\n", "x") == ""


def test_a_change_is_shown_with_three_lines_around_it() -> None:
    old, new = _numbered(1, 20), _numbered(1, 9) + "ten\n" + _numbered(11, 20)
    assert unified(old, new, "known://notes") == (
        "--- a/known://notes\n+++ b/known://notes\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )


def test_changes_share_a_hunk_when_their_context_touches() -> None:
    lines = [f"{n}\n" for n in range(1, 30)]
    new = "".join(line for line in lines if line not in {"2\n", "9\n", "20\n"})
    assert [line for line in unified("".join(lines), new, "x").splitlines() if line.startswith("@@")] == [
        "@@ -1,12 +1,10 @@",
        "@@ -17,7 +15,6 @@",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, "a\nb\n", "--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n+a\n+b\n"),
        ("a\n", None, "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"),
        (None, "", "--- /dev/null\n+++ b/x\n"),
        ("", "a", "--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"),
        (
            "a\nb",
            "a\nb\n",
            "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n",
        ),
        (
            "a\nb",
            "c\nb",
            "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n",
        ),
        ("a\rb\n", "a\rc\n", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\rb\n+a\rc\n"),
    ],
)
def test_whole_diffs(old: str | None, new: str | None, expected: str) -> None:
    assert unified(old, new, "x", max_lines=None) == expected


@pytest.mark.spec("2.4-edit-201-200-304")
def test_a_long_diff_is_cut_and_says_so() -> None:
    whole = unified(None, _numbered(1, 100), "x", max_lines=None).splitlines()
    cut = unified(None, _numbered(1, 100), "x").splitlines()
    assert cut[:39] == whole[:39]
    assert cut[39:] == [f"... {len(whole) - 39} more lines of diff"]


def test_a_long_line_is_cut_unless_the_diff_must_apply() -> None:
    assert unified("", "x" * 1000, "p").splitlines()[3] == "+" + "x" * 399 + "... 601 more"
    assert unified("", "x" * 1000, "p", max_lines=None).splitlines()[3] == "+" + "x" * 1000


def test_a_search_that_is_too_dear_becomes_one_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    old = "same\n" + "".join(f"old {n}\nboth {n}\n" for n in range(10)) + "end\n"
    new = "same\n" + "".join(f"new {n}\nboth {n}\n" for n in range(10)) + "end\n"
    monkeypatch.setattr(diffs, "MAX_STEPS", 20)
    lines = unified(old, new, "x", max_lines=None).splitlines()
    assert [sign for sign, _ in itertools.groupby(line[0] for line in lines[2:])] == ["@", " ", "-", "+", " "]
    assert lines[2] == "@@ -1,22 +1,22 @@"


def test_texts_without_a_common_line_are_compared_in_bounded_steps() -> None:
    # Unbounded, the search would take some 10¹⁰ steps.
    diff = unified("".join(f"old {n}\n" for n in range(50_000)), _numbered(1, 50_000), "x")
    assert diff.splitlines()[2] == "@@ -1,50000 +1,50000 @@"


def test_bytes_that_are_not_utf8_are_compared_as_bytes_and_shown_as_numbers() -> None:
    old, new = b"caf\xe9\n\xff\n", "caf\ufffd\n".encode() + b"\xff\n"
    assert readable(old, new, "x") == "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-caf\\xe9\n+caf\ufffd\n \\xff\n"
    assert readable(b"\\xe9\n", b"\xe9\n", "x").endswith("-\\xe9\n+\\xe9\n")
    assert readable(old, old, "x") == ""
