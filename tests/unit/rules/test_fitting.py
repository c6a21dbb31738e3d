"""What of a run's index and log fits into a context, and what gives way first (SPEC 3.4).

Here a row has 10 tokens, with a body 30; an entry 10, with its preview what it is given; a line that stands for
what is left out has 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from plurnk.errors import TooLarge
from plurnk.rules.fitting import UNFOLDED, Fitted, Folds, IndexText, LogText, fit


def rows(*bodies: int, first: int = 1) -> list[LogText]:
    """Rows with bodies of so many tokens each."""
    return [
        LogText(
            id=number,
            path=f"log://1/1/{number}/READ",
            text=f"row {number}",
            tokens=10 + body,
            folded=f"row {number} folded" if body else None,
            folded_tokens=10 if body else 0,
        )
        for number, body in enumerate(bodies, first)
    ]


def entries(*previews: int) -> list[IndexText]:
    """Entries with previews of so many tokens each."""
    return [
        IndexText(f"entry {number}", 10 + preview, f"entry {number} bare" if preview else f"entry {number}", 10)
        for number, preview in enumerate(previews, 1)
    ]


def fitted(
    log: Sequence[LogText],
    limit: int | None,
    *,
    index: Sequence[IndexText] = (),
    folds: Folds = UNFOLDED,
    fixed_tokens: int = 0,
    recent_from: int = 1000,
) -> Fitted:
    return fit(
        log,
        index,
        folds,
        fixed_tokens=fixed_tokens,
        limit=limit,
        recent_from=recent_from,
        count_tokens=lambda _text: 5,
    )


def test_what_fits_is_shown_whole() -> None:
    assert fitted(rows(20, 0), 60, index=entries(5), fixed_tokens=5) == Fitted(
        index=("entry 1",),
        index_tokens=15,
        log=("row 1", "row 2"),
        log_tokens=40,
        folds=UNFOLDED,
        folded_rows=0,
        freed_tokens=0,
    )


def test_nothing_at_all_fits_into_nothing() -> None:
    assert fitted([], 0) == Fitted((), 0, (), 0, UNFOLDED, 0, 0)


@pytest.mark.spec("3.4-fit-folds-oldest")
def test_bodies_are_folded_oldest_first_in_one_step_until_70_percent_are_in_use() -> None:
    assert fitted(rows(20, 0, 20, 20, 20), 129) == Fitted(
        index=(),
        index_tokens=0,
        log=("row 1 folded", "row 2", "row 3 folded", "row 4", "row 5"),
        log_tokens=90,
        folds=Folds(bodies_to=3),
        folded_rows=2,
        freed_tokens=40,
    )


def test_what_was_folded_stays_so_with_room_enough_and_where_no_limit_is_known() -> None:
    log = rows(20, 20, 20, 0, 20)
    for limit in (None, 1000):
        again = fitted(log, limit, folds=Folds(bodies_to=3, rows_to=2))
        assert again.log == (
            '* {"folded":true,"path":"log://1/1/1/READ","rows":2,"through":"log://1/1/2/READ"}',
            "row 3 folded",
            "row 4",
            "row 5",
        )
        assert (again.log_tokens, again.folds, again.folded_rows) == (55, Folds(bodies_to=3, rows_to=2), 0)


def test_without_a_known_limit_all_is_shown() -> None:
    assert fitted(rows(10**9), None, index=entries(10**9)).log_tokens == 10**9 + 10


def test_rows_that_were_hidden_since_are_not_counted_as_left_out() -> None:
    log = rows(0, 0, 0, 0)
    assert fitted([log[1], log[3]], 100, folds=Folds(rows_to=3)).log == (
        '* {"folded":true,"path":"log://1/1/2/READ","rows":1,"through":"log://1/1/2/READ"}',
        "row 4",
    )
    assert fitted([log[3]], 100, folds=Folds(rows_to=3)).log == ("row 4",)


@pytest.mark.spec("3.4-fit-folds-oldest")
def test_rows_are_left_out_until_half_of_the_room_is_left_to_bodies() -> None:
    made = fitted(rows(20, *[0] * 9), 99)
    assert made.log == (
        '* {"folded":true,"path":"log://1/1/1/READ","rows":6,"through":"log://1/1/6/READ"}',
        *(f"row {number}" for number in range(7, 11)),
    )
    assert (made.log_tokens, made.folds) == (45, Folds(bodies_to=6, rows_to=6))
    assert (made.folded_rows, made.freed_tokens) == (6, 120 - 45), "the first is told once, though it was folded too"


def test_rows_are_left_out_until_30_percent_of_the_room_are_free_beside_previews() -> None:
    made = fitted(rows(*[0] * 12), 200, index=entries(80))
    assert (made.index, made.index_tokens) == (("entry 1",), 90)
    assert (len(made.log), made.log_tokens) == (5, 45)


def test_no_row_is_left_out_while_folding_bodies_makes_room_enough() -> None:
    made = fitted(rows(35, 0, 0, 0, 0, 6), 100)
    assert made.log == ("row 1 folded", *(f"row {number}" for number in range(2, 7)))


def test_one_line_stands_for_all_that_was_ever_left_out() -> None:
    made = fitted(rows(*[0] * 12), 99, folds=Folds(rows_to=2))
    assert made.log[0] == '* {"folded":true,"path":"log://1/1/1/READ","rows":8,"through":"log://1/1/8/READ"}'
    assert (len(made.log), made.folds.rows_to, made.folded_rows) == (5, 8, 6)


def test_bodies_that_were_not_seen_are_folded_last_and_only_as_far_as_must_be() -> None:
    log = rows(20, 20, 30, 60)
    assert fitted(log, 149, recent_from=3).log == ("row 1 folded", "row 2 folded", "row 3", "row 4")
    assert fitted(log, 129, recent_from=3).log == ("row 1 folded", "row 2 folded", "row 3 folded", "row 4")
    assert fitted(log, 99, recent_from=3).log == ("row 1 folded", "row 2 folded", "row 3 folded", "row 4 folded")


def test_a_large_body_that_was_not_seen_does_not_cost_the_rows_before_it() -> None:
    made = fitted(rows(*[20] * 5, 500), 120, recent_from=6)
    assert made.log == tuple(f"row {number} folded" for number in range(1, 7))
    assert made.folds == Folds(bodies_to=6)


def test_rows_that_were_seen_are_left_out_before_bodies_that_were_not_are_folded() -> None:
    made = fitted(rows(*[0] * 8, 20), 105, recent_from=9)
    assert made.log[1:] == (*(f"row {number}" for number in range(6, 9)), "row 9")
    assert made.folds == Folds(bodies_to=5, rows_to=5)


def test_previews_give_way_to_bodies_that_were_not_seen_for_one_packet() -> None:
    log, index = rows(0, 80), entries(5, 10, 10, 0)
    first = fitted(log, 180, index=index, recent_from=2, fixed_tokens=20)
    assert first.index == ("entry 1", "entry 2", "entry 3 bare", "entry 4"), "the largest, of equal ones the later"
    assert first.log == ("row 1", "row 2")
    assert first.folds == UNFOLDED
    assert first.folded_rows == 0
    second = fitted([*log, *rows(0, first=3)], 180, index=index, recent_from=3, fixed_tokens=20)
    assert second.index == ("entry 1", "entry 2", "entry 3", "entry 4")
    assert second.log == ("row 1", "row 2 folded", "row 3")


def test_rows_that_were_not_seen_are_left_out_when_nothing_else_is_left() -> None:
    log = rows(0, 20, 20, 20)
    assert fitted(log, 34, recent_from=2).log[1:] == ("row 3 folded", "row 4 folded")
    assert fitted(log, 15, recent_from=2).log[1:] == ("row 4 folded",)
    assert fitted(log, 14, recent_from=2).log == (
        '* {"folded":true,"path":"log://1/1/1/READ","rows":4,"through":"log://1/1/4/READ"}',
    )
    assert fitted(log, 4, recent_from=2).log == ()


def test_previews_give_way_to_rows_that_were_not_seen() -> None:
    made = fitted(rows(*[0] * 8), 100, index=entries(30), recent_from=1)
    assert (len(made.log), made.folds, made.index) == (8, UNFOLDED, ("entry 1 bare",))


def test_an_index_has_half_of_the_room_at_most() -> None:
    index = entries(10, 30, 0, 10)
    assert fitted([], 200, index=index).index == ("entry 1", "entry 2", "entry 3", "entry 4")
    assert fitted([], 170, index=index).index == ("entry 1", "entry 2 bare", "entry 3", "entry 4")
    assert fitted([], 110, index=index).index == ("entry 1", "entry 2 bare", "entry 3", "entry 4 bare")
    assert fitted([], 210, index=index, fixed_tokens=100).index == fitted([], 110, index=index).index
    assert fitted([], 81, index=index).index == ("entry 1 bare", "entry 2 bare", "entry 3", "entry 4 bare")


def test_the_first_entries_are_not_even_listed_when_there_are_too_many() -> None:
    index = entries(10, 30, 0, 10)
    made = fitted([], 79, index=index)
    assert made.index == ('* {"entries":1,"folded":true}', "entry 2 bare", "entry 3", "entry 4 bare")
    assert made.index_tokens == 35
    assert fitted([], 10, index=index).index == ('* {"entries":4,"folded":true}',)
    assert fitted([], 9, index=index).index == ()


def test_only_a_fixed_part_that_does_not_fit_is_too_large() -> None:
    assert fitted(rows(20), 100, index=entries(20), fixed_tokens=100) == Fitted((), 0, (), 0, Folds(1, 1), 1, 30)
    with pytest.raises(TooLarge, match=r"101 tokens.* 100$"):
        fitted(rows(20), 100, fixed_tokens=101)


def test_a_fold_makes_room_for_several_turns() -> None:
    log: list[LogText] = []
    folds = UNFOLDED
    shown: list[Fitted] = []
    for number in range(1, 301):
        log += rows(20, first=number)
        shown.append(fitted(log, 1100, folds=folds, fixed_tokens=100, recent_from=number))
        folds = shown[-1].folds
    broken = [later for before, later in pairwise(shown) if later.log[: len(before.log)] != before.log]
    assert broken == [made for made in shown if made.folded_rows]
    folds_at = [number for number, made in enumerate(shown) if made.folded_rows]
    assert len(folds_at) > 10
    assert all(after - before >= 9 for before, after in pairwise(folds_at))
    assert all(500 < made.log_tokens <= 1000 for made in shown[50:])


def test_a_long_log_that_is_mostly_left_out_is_not_counted_row_by_row() -> None:
    log = rows(*[0] * 20_000)
    counted: list[str] = []

    def count_tokens(text: str) -> int:
        counted.append(text)
        return 5

    made = fit(log, (), UNFOLDED, fixed_tokens=0, limit=1000, recent_from=20_000, count_tokens=count_tokens)
    assert len(made.log) == 50
    assert len(counted) < 10
