"""Previews of CSV and TSV (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.tables import csv_table, tsv_table

TABLE = 'id,name,note\n1,Ann,"two\nlines"\n' + "".join(f"{n},Bob,x\n" for n in range(2, 50))


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (90, '1:\tid,name,note\n2:\t1,Ann,"two lines"\n4:\t2,Bob,x\n5:\t3,Bob,x\n6:\t4,Bob,x\n… 45 more rows of 49'),
        (70, '1:\tid,name,note\n2:\t1,Ann,"two lines"\n4:\t2,Bob,x\n… 47 more rows of 49'),
        (45, '1:\tid,name…\n2:\t1,Ann,"t…\n… 48 more rows of 49'),
        (30, '1:\tid,name,note\n2:\t1,Ann,"two'),
    ],
)
def test_the_header_the_first_rows_and_their_number(budget_chars: int, expected: str) -> None:
    assert csv_table.preview(TABLE, budget_chars) == expected


def test_a_wide_header_leaves_room_for_a_row() -> None:
    assert csv_table.preview(",".join(f"column{n}" for n in range(40)) + "\n" + "1," * 39 + "1\n2\n", 80) == (
        "1:\tcolumn0,column1,column2,co…\n2:\t1,1,1,1,1,1,1,1,1,1,1,1,1,…\n… 1 more row of 2"
    )


def test_other_delimiters() -> None:
    assert tsv_table.preview('a\tb,c\n1\t"x\ny"\n\n3\t4\n', 46) == '1:\ta\tb,c\n2:\t1\t"x y"\n5:\t3\t4'
    assert csv_table.preview('a;b\r\n1;"x\r\ny"\r\n3;4\r\n', 42) == '1:\ta;b\n2:\t1;"x y"\n… 1 more row of 2'


@pytest.mark.parametrize("content", ["only a header, and a long one\n", f'a,b\n"{"x" * 140_000}",c\n'])
def test_no_rows_or_no_table_shows_the_head(content: str) -> None:
    assert csv_table.preview(content, 24).startswith(f"1:\t{content[:3]}")
