"""Rows of the log and entries of the index as a packet may show them: whole or cut short, with what each costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from plurnk.rules.blocks import log_path, render_folded, render_index_entry, render_log_row
from plurnk.rules.fitting import CountTokens, IndexText, LogText
from plurnk.rules.snapshot import IndexEntry, LogRow

BODY_CHARS: Final = 1000
"""The beginning of a body, which is longer than the news that it is folded."""


def log_text(row_id: int, row: LogRow, count_tokens: CountTokens) -> LogText:
    """The row, whole and with its body folded away, if that makes it any shorter."""
    text, folded = render_log_row(row), render_folded(row)
    tokens = count_tokens(f"{text}\n")
    folded_tokens = 0 if folded is None else count_tokens(f"{folded}\n")
    if folded_tokens >= tokens:
        folded, folded_tokens = None, 0
    return LogText(row_id, log_path(row), text, tokens, folded, folded_tokens)


def folded_text(row_id: int, row: LogRow, count_tokens: CountTokens) -> LogText:
    """The row without its body, unless that makes it no shorter. What is not shown is not rendered either."""
    begun = replace(row, content=row.content and row.content[:BODY_CHARS], diff=row.diff and row.diff[:BODY_CHARS])
    shown = log_text(row_id, begun, count_tokens)
    return log_text(row_id, row, count_tokens) if shown.folded is None else without_body(shown)


def without_body(shown: LogText) -> LogText:
    """A row whose body is folded for good."""
    if shown.folded is None:
        return shown
    return LogText(shown.id, shown.path, shown.folded, shown.folded_tokens, None, 0)


def index_text(entry: IndexEntry, count_tokens: CountTokens) -> IndexText:
    """The entry, with its previews and without."""
    text = render_index_entry(entry)
    bare = render_index_entry(entry, previews=False)
    return IndexText(text, count_tokens(f"{text}\n"), bare, count_tokens(f"{bare}\n"))
