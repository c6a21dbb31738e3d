"""A diff and a whole text both make of a file what they say (SPEC 5.2)."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plurnk.content import diffs
from plurnk.content.file_diffs import file_diff
from plurnk.content.patches import replaced
from plurnk.errors import Malformed

WORDS = st.sampled_from(["", "a", "b", "c", "-- a", "++ b", "@@ -1 +1 @@", "\\ x", " ", "d\re"])
ENDS = {"lf": st.just("\n"), "crlf": st.just("\r\n"), "mixed": st.sampled_from(["\n", "\r\n"])}


def texts(*kinds: str) -> st.SearchStrategy[str]:
    """Texts whose lines end so, the last one perhaps not at all."""

    def of(kind: str) -> st.SearchStrategy[str]:
        lines = st.lists(st.tuples(WORDS, ENDS[kind]).map("".join), max_size=25).map("".join)
        return st.tuples(lines, st.sampled_from(["", "", "a", "z"])).map("".join)

    return st.one_of([of(kind) for kind in kinds])


ANY = texts("lf", "crlf", "mixed") | st.text("ab-+ \\@\r\n", max_size=30)


def headerless(diff: str) -> str:
    return diff.split("\n", 2)[2]


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@given(base=ANY, new=ANY, has_headers=st.booleans(), has_final_newline=st.booleans())
def test_a_diff_makes_of_the_base_what_it_was_made_from(
    base: str, new: str, has_headers: bool, has_final_newline: bool
) -> None:
    diff = diffs.unified(base, new, "x", max_lines=None)
    assume(diff)
    sent = diff if has_headers else headerless(diff)
    assert replaced(base, sent if has_final_newline else sent.removesuffix("\n"), path="x") == new


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@given(ending=st.sampled_from(["lf", "crlf"]), data=st.data(), is_crlf=st.booleans(), has_headers=st.booleans())
def test_the_line_ends_are_the_files_whatever_those_of_the_diff_have_become(
    ending: str, data: st.DataObject, is_crlf: bool, has_headers: bool
) -> None:
    base, new = data.draw(texts(ending)), data.draw(texts(ending))
    assume("\n" in base)  # A file without a line that ends has none to keep.
    diff = diffs.unified(base, new, "x", max_lines=None)
    assume(diff)
    sent = diff if has_headers else headerless(diff)
    sent = sent.replace("\r\n", "\n")
    assert replaced(base, sent.replace("\n", "\r\n") if is_crlf else sent, path="x") == new


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@given(base=ANY, new=ANY)
def test_wrong_counts_change_nothing(base: str, new: str) -> None:
    diff = diffs.unified(base, new, "x", max_lines=None)
    assume(diff)
    hunks = re.sub(r"(?m)^@@ -(\d+),[1-9]\d* \+\d+(?:,\d+)? @@$", r"@@ -\1,7 +1,5 @@", headerless(diff))
    assert replaced(base, hunks, path="x") == new


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@given(base=ANY, new=ANY)
def test_a_whole_text_is_the_new_text(base: str, new: str) -> None:
    assume(not re.match(r"\s*(diff --git |@@ -|--- )", new))
    assert replaced(base, new, path="x") == new


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@given(base=ANY, other=ANY, new=ANY)
def test_a_diff_of_another_file_is_refused_or_brings_nothing_but_its_lines(base: str, other: str, new: str) -> None:
    diff = diffs.unified(other, new, "x", max_lines=None)
    assume(diff)
    try:
        made = replaced(base, diff, path="x")
    except Malformed:
        return
    assert lines_of(made) <= lines_of(base) | lines_of(new)


def lines_of(text: str) -> set[str]:
    return {line.removesuffix("\r") for line in text.split("\n")}


@given(base=ANY, body=st.text("@-+ 1,ab\\\r\n", max_size=60).map(lambda text: f"@@ -1 +1 @@\n{text}"))
def test_any_hunk_fits_or_is_refused(base: str, body: str) -> None:
    try:
        made = replaced(base, body, path="x")
    except Malformed as error:
        assert re.search(r"hunk \d+ of the diff", error.detail)  # noqa: PT017 – a fit is right, too
    else:
        assert made == base or made != body  # It is never taken for the whole text.


@given(old=st.none() | ANY, new=st.none() | ANY, path=st.sampled_from(["x", "d/x.patch"]))
def test_what_a_proposal_shows_applies(old: str | None, new: str | None, path: str) -> None:
    before, after = (None if text is None else text.encode() for text in (old, new))
    diff = file_diff(path, before, after, kind="edit")
    assert (diff == "") == (old == new)
    assert not diff or replaced(old or "", diff, path=path) == (new or "")


@given(old=st.none() | ANY, new=ANY, kind=st.sampled_from(["move", "copy"]))
def test_what_a_proposal_to_move_or_copy_shows_applies(old: str | None, new: str, kind: str) -> None:
    before = None if old is None else old.encode()
    diff = file_diff("x.diff", before, new.encode(), kind=kind, source="y.diff")  # type: ignore[arg-type]  # drawn from two
    assert replaced(new if old is None else old, diff, path="x.diff") == new
