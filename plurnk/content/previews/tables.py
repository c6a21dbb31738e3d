"""CSV and TSV: the header, the first rows, and how many there are (SPEC 2.8)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from plurnk.content.previews.outline import Handler, fitting, more
from plurnk.content.previews.plain import clip, numbered_line

# With less room than this for the header and for a row, lines as they are say more.
_MIN_ROOM_CHARS: Final = 10


def rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, int]]:
    """The numbers of the first and the last line of every row that is not blank.

    Raises:
        csv.Error: this is not CSV.
    """
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    last = 0
    for row in reader:
        first, last = last + 1, reader.line_num
        if row:
            yield first, last


def _preview(content: str, budget_chars: int, delimiters: str) -> str:
    lines = content.removesuffix("\n").split("\n")
    try:
        spans = list(rows(lines, max(delimiters, key=lines[0].count)))
    except csv.Error:
        return ""
    total = len(spans) - 1
    room = budget_chars - len(_remark(total, total)) - 2
    if total < 1 or room < 2 * _MIN_ROOM_CHARS:
        return ""
    header = _row(lines, spans[0], room)
    if len(header) > room - _MIN_ROOM_CHARS:
        header = clip(header, max(room // 2, room - len(_row(lines, spans[1], room))))
    room -= len(header)
    count = fitting((_row(lines, span, room + 1) for span in spans[1:]), room)
    shown = [_row(lines, span, room) for span in spans[1 : max(count, 1) + 1]]
    remark = [_remark(total - len(shown), total)] if len(shown) < total else []
    return "\n".join([header, *shown, *remark])


def _row(lines: Sequence[str], span: tuple[int, int], width: int) -> str:
    """The row in one line of at most ``width`` characters, even if it has several."""
    first, last = span
    return clip(numbered_line(first, " ".join(line.rstrip("\r") for line in lines[first - 1 : last])), width)


def _remark(rows_left_out: int, total: int) -> str:
    return f"{more(rows_left_out, 'row')} of {total}"


csv_table: Final = Handler("text/csv", partial(_preview, delimiters=",;\t|"))
tsv_table: Final = Handler("text/tab-separated-values", partial(_preview, delimiters="\t"))
