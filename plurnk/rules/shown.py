"""Rows of the log and entries of the index as a packet may show them: whole or cut short, with what each costs."""

from __future__ import annotations

from plurnk.rules.blocks import log_path, render_folded, render_index_entry, render_log_row
from plurnk.rules.fitting import CountTokens, IndexText, LogText
from plurnk.rules.snapshot import IndexEntry, LogRow


def log_text(row_id: int, row: LogRow, count_tokens: CountTokens) -> LogText:
    """The row, whole and with its body folded away, if that makes it any shorter."""
    text, folded = render_log_row(row), render_folded(row)
    tokens = count_tokens(f"{text}\n")
    folded_tokens = 0 if folded is None else count_tokens(f"{folded}\n")
    if folded_tokens >= tokens:
        folded, folded_tokens = None, 0
    return LogText(row_id, log_path(row), text, tokens, folded, folded_tokens)


def index_text(entry: IndexEntry, count_tokens: CountTokens) -> IndexText:
    """The entry, with its previews and without."""
    text = render_index_entry(entry)
    bare = render_index_entry(entry, previews=False)
    return IndexText(text, count_tokens(f"{text}\n"), bare, count_tokens(f"{bare}\n"))
