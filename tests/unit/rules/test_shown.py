"""Rows and entries with what each costs, whole and cut short (SPEC 3.4)."""

from __future__ import annotations

from dataclasses import replace

from plurnk.rules.blocks import render_folded, render_index_entry, render_log_row
from plurnk.rules.fitting import IndexText, LogText
from plurnk.rules.shown import index_text, log_text
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow


def row(content: str | None) -> LogRow:
    return LogRow(loop_seq=1, turn_seq=2, sequence=3, op="READ", origin="model", status=200, content=content)


def test_a_row_counts_its_newline_whole_and_folded() -> None:
    long = row("line\n" * 20)
    text, folded = render_log_row(long), render_folded(long)
    assert folded is not None
    assert log_text(7, long, len) == LogText(7, "log://1/2/3/READ", text, len(text) + 1, folded, len(folded) + 1)


def test_a_body_that_is_shorter_than_the_news_that_it_is_folded_is_never_folded() -> None:
    for short in (row(None), replace(row("x"), target="a")):
        text = render_log_row(short)
        assert log_text(7, short, len) == LogText(7, "log://1/2/3/READ", text, len(text) + 1, None, 0)


def test_an_entry_counts_its_newline_with_previews_and_without() -> None:
    channel = IndexChannel(name="body", mimetype="text/x-python", tokens=1, preview="1:\tpass")
    entry = IndexEntry(path="a.py", channels=(channel,))
    text, bare = render_index_entry(entry), render_index_entry(entry, previews=False)
    assert index_text(entry, len) == IndexText(text, len(text) + 1, bare, len(bare) + 1)
