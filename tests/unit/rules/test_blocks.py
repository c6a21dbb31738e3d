"""The text of index entries and log rows (SPEC 3.4)."""

from __future__ import annotations

import pytest

from plurnk.rules.blocks import render_folded, render_index_entry, render_log_row
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow


@pytest.mark.spec("3.4-wire-omits-default-channel", "3.4-numbered-lines", "3.4-canonical-json")
def test_an_index_entry_has_a_meta_line_and_a_block_for_each_channel_that_is_not_empty() -> None:
    entry = IndexEntry(
        path="exec://sh-1",
        tags=("b", "a"),
        channels=(
            IndexChannel(
                name="stdout",
                mimetype="text/plain",
                tokens=7,
                state="active",
                preview="… 8 lines before\n9:\tnine\n10:\t",
            ),
            IndexChannel(name="stderr", mimetype="text/plain", tokens=0, preview="", is_default=False),
            IndexChannel(
                name="report",
                mimetype="application/json",
                tokens=3,
                state="closed",
                is_default=False,
                preview='{"a":\n1\n… 2 more lines',
            ),
        ),
    )
    assert render_index_entry(entry) == (
        '* {"channels":{"report":{"mimetype":"application/json","state":"closed","tokens":3},'
        '"stderr":{"mimetype":"text/plain","tokens":0},'
        '"stdout":{"mimetype":"text/plain","state":"active","tokens":7}},'
        '"path":"exec://sh-1","tags":["a","b"]}\n'
        "<<exec://sh-1:\n"
        "… 8 lines before\n"
        "9:\tnine\n"
        "10:\t\n"
        ":exec://sh-1\n"
        "<<exec://sh-1#report:\n"
        '{"a":\n'
        "1\n"
        "… 2 more lines\n"
        ":exec://sh-1#report"
    )


def test_an_index_entry_without_its_previews_is_its_meta_line() -> None:
    channel = IndexChannel(name="body", mimetype="text/x-python", tokens=1, preview="1:\tpass")
    entry = IndexEntry(path="src/a.py", channels=(channel,), awaiting_input=True)
    assert render_index_entry(entry, previews=False) == render_index_entry(entry).split("\n")[0]


def test_a_file_is_shown_by_its_bare_path() -> None:
    channel = IndexChannel(name="body", mimetype="text/x-python", tokens=1, preview="1:\tpass")
    assert render_index_entry(IndexEntry(path="src/a.py", channels=(channel,))) == (
        '* {"channels":{"body":{"mimetype":"text/x-python","tokens":1}},"path":"src/a.py"}\n'
        "<<src/a.py:\n"
        "1:\tpass\n"
        ":src/a.py"
    )


@pytest.mark.spec("3.4-log-row-shape", "3.4-numbered-lines")
def test_a_file_that_is_gone_is_listed_as_missing() -> None:
    gone = IndexChannel(name="body", mimetype="text/x-python", tokens=0, preview="", missing=True)
    assert render_index_entry(IndexEntry(path="a.py", channels=(gone,))) == (
        '* {"channels":{"body":{"mimetype":"text/x-python","missing":true,"tokens":0}},"path":"a.py"}'
    )


def test_a_read_is_shown_with_its_lines_numbered_as_in_the_source() -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=2,
        sequence=3,
        op="READ",
        origin="model",
        status=206,
        target="known://notes",
        content="b\n\tc: :known://notes\n",
        start_line=2,
        next_line=4,
        mimetype="text/markdown",
    )
    assert render_log_row(row) == (
        '* {"nextLine":4,"op":"READ","origin":"model","path":"log://1/2/3/READ","status":206,"target":"known://notes"}\n'
        "<<known://notes:\n"
        "2:\tb\n"
        "3:\t\tc: :known://notes\n"
        ":known://notes"
    )


@pytest.mark.spec("3.4-log-row-shape", "3.4-numbered-lines")
@pytest.mark.parametrize(
    ("mimetype", "start_line"),
    [("application/json", 1), ("text/html", 1), ("application/xml", 7), ("text/plain", None)],
)
def test_what_is_not_line_addressed_is_shown_as_it_is(mimetype: str, start_line: int | None) -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=1,
        op="READ",
        origin="client",
        status=200,
        target="known://x",
        matcher="$..a",
        matches=1,
        content="[\n]\n",
        mimetype=mimetype,
        start_line=start_line,
    )
    assert render_log_row(row) == (
        '* {"matcher":"$..a","matches":1,"op":"READ","origin":"client","path":"log://1/1/1/READ","status":200,'
        '"target":"known://x"}\n'
        "<<known://x:\n[\n]\n:known://x"
    )


@pytest.mark.spec("3.4-log-row-shape")
def test_an_edit_shows_its_diff() -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=1,
        op="EDIT",
        origin="model",
        status=200,
        target="known://x",
        diff="--- a/known://x\n+++ b/known://x\n@@ -1 +1 @@\n-a\n+:known://x\n",
    )
    assert render_log_row(row) == (
        '* {"op":"EDIT","origin":"model","path":"log://1/1/1/EDIT","status":200,"target":"known://x"}\n'
        "<<known://x:\n--- a/known://x\n+++ b/known://x\n@@ -1 +1 @@\n-a\n+:known://x\n:known://x"
    )


@pytest.mark.spec("3.4-log-row-shape")
def test_a_copy_says_where_it_went() -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=1,
        op="COPY",
        origin="model",
        status=200,
        target="known://x",
        destination="exec://a#b",
    )
    assert render_log_row(row) == (
        '* {"destination":"exec://a#b","op":"COPY","origin":"model","path":"log://1/1/1/COPY","status":200,'
        '"target":"known://x"}'
    )


@pytest.mark.spec("3.4-log-row-shape", "3.4-canonical-json")
@pytest.mark.parametrize(("content", "diff"), [("text", None), (None, "-a\n+b\n"), ("", "-a\n+b\n")])
def test_a_folded_row_is_its_meta_line_and_says_so(content: str | None, diff: str | None) -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=1,
        op="READ",
        origin="model",
        status=206,
        target="known://x",
        matcher="/a/",
        next_line=7,
        content=content,
        diff=diff,
    )
    assert render_folded(row) == (
        '* {"folded":true,"matcher":"/a/","nextLine":7,"op":"READ","origin":"model","path":"log://1/1/1/READ",'
        '"status":206,"target":"known://x"}'
    )


@pytest.mark.parametrize(("content", "diff"), [(None, None), ("", None), (None, ""), ("", "")])
def test_a_row_without_a_body_has_nothing_to_fold(content: str | None, diff: str | None) -> None:
    row = LogRow(loop_seq=1, turn_seq=1, sequence=1, op="READ", origin="model", status=204, content=content, diff=diff)
    assert render_folded(row) is None
    assert "\n" not in render_log_row(row)


@pytest.mark.spec("3.4-log-row-shape")
def test_a_refusal_says_why() -> None:
    row = LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=2,
        op="SEND",
        origin="model",
        status=400,
        error="SEND needs a status",
        outcome="rejected",
    )
    assert render_log_row(row) == (
        '* {"error":"SEND needs a status","op":"SEND","origin":"model","outcome":"rejected",'
        '"path":"log://1/1/2/SEND","status":400}'
    )


def _row(target: str | None, content: str) -> LogRow:
    return LogRow(
        loop_seq=1,
        turn_seq=1,
        sequence=1,
        op="READ",
        origin="model",
        status=200,
        target=target,
        content=content,
        mimetype="text/html",
    )


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("<p>", "known://x"),
        (":known://x", "known://x~"),
        ("a\n:known://xyz", "known://x~"),
        (":known://x~~\n:known://x", "known://x~~~"),
        (" :known://x\n:known://", "known://x"),
    ],
)
def test_no_line_of_a_block_looks_like_its_end(content: str, label: str) -> None:
    lines = render_log_row(_row("known://x", content)).split("\n")
    assert lines[1:] == [f"<<{label}:", *content.split("\n"), f":{label}"]


def test_a_label_is_one_line_and_a_row_without_target_is_labelled_by_its_own_path() -> None:
    assert render_log_row(_row("a\nb\r", "x")).split("\n")[1:] == ["<<a%0Ab%0D:", "x", ":a%0Ab%0D"]
    assert render_log_row(_row(None, "x")).split("\n")[1] == "<<log://1/1/1/READ:"
