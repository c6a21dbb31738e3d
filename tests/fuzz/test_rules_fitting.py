"""A packet fits whenever its fixed part does, and what is folded for it stays folded (SPEC 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plurnk.errors import TooLarge
from plurnk.rules.fitting import GOAL_PERCENT, LISTED_PERCENT, Fitted, Folds, IndexText, LogText, fit

TOKENS = st.integers(0, 40)


@dataclass(frozen=True)
class Case:
    log: tuple[LogText, ...]
    index: tuple[IndexText, ...]
    folds: Folds
    fixed_tokens: int
    limit: int | None
    recent_from: int
    chars_per_token: int

    @property
    def room(self) -> int | None:
        return None if self.limit is None else self.limit - self.fixed_tokens

    def count(self, text: str) -> int:
        return len(text) // self.chars_per_token

    def fitted(self) -> Fitted:
        return fit(
            self.log,
            self.index,
            self.folds,
            fixed_tokens=self.fixed_tokens,
            limit=self.limit,
            recent_from=self.recent_from,
            count_tokens=self.count,
        )

    def tokens_of(self, texts: tuple[str, ...]) -> int:
        known = {row.text: row.tokens for row in self.log}
        known |= {row.folded: row.folded_tokens for row in self.log if row.folded is not None}
        known |= {entry.bare: entry.bare_tokens for entry in self.index}
        known |= {entry.text: entry.tokens for entry in self.index}
        return sum(known[text] if text in known else self.count(f"{text}\n") for text in texts)


def bare_tokens(case: Case, made: Fitted) -> int:
    """Of the index without its previews. (Where entries are left out, no preview is left.)"""
    return min(made.index_tokens, sum(entry.bare_tokens for entry in case.index))


@st.composite
def log_texts(draw: st.DrawFn) -> tuple[LogText, ...]:
    sizes = draw(st.lists(st.tuples(st.integers(1, 3), TOKENS, TOKENS), max_size=12))
    log: list[LogText] = []
    row_id = 0
    for gap, meta, body in sizes:
        row_id += gap
        log.append(
            LogText(
                id=row_id,
                path=f"log://1/1/{row_id}/READ",
                text=f"row {row_id}",
                tokens=meta + body,
                folded=f"folded {row_id}" if body else None,
                folded_tokens=meta if body else 0,
            )
        )
    return tuple(log)


@st.composite
def index_texts(draw: st.DrawFn) -> tuple[IndexText, ...]:
    sizes = draw(st.lists(st.tuples(TOKENS, TOKENS), max_size=6))
    return tuple(
        IndexText(f"entry {number}", bare + preview, f"bare {number}" if preview else f"entry {number}", bare)
        for number, (bare, preview) in enumerate(sizes)
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Limits are drawn about what is needed, so that each way of making room is taken often."""
    log, index = draw(log_texts()), draw(index_texts())
    last_id = log[-1].id if log else 0
    fixed_tokens = draw(TOKENS)
    needed = fixed_tokens + sum(row.tokens for row in log) + sum(entry.tokens for entry in index)
    return Case(
        log=log,
        index=index,
        folds=Folds(bodies_to=draw(st.integers(0, last_id + 1)), rows_to=draw(st.integers(0, last_id + 1)))
        if draw(st.booleans())
        else Folds(),
        fixed_tokens=fixed_tokens,
        limit=draw(st.integers(0, needed + 5)),
        recent_from=draw(st.integers(1, last_id + 2)),
        chars_per_token=draw(st.sampled_from([1, 4, 20, 1000])),
    )


FITTING = cases().filter(lambda case: case.limit is None or case.fixed_tokens <= case.limit)


@given(cases())
def test_it_fits_unless_the_fixed_part_alone_does_not(case: Case) -> None:
    assert case.limit is not None
    if case.fixed_tokens > case.limit:
        with pytest.raises(TooLarge):
            case.fitted()
    else:
        made = case.fitted()
        assert case.fixed_tokens + made.index_tokens + made.log_tokens <= case.limit


@given(FITTING)
def test_tokens_are_those_of_the_texts(case: Case) -> None:
    made = case.fitted()
    assert made.index_tokens == case.tokens_of(made.index)
    assert made.log_tokens == case.tokens_of(made.log)


@pytest.mark.spec("3.4-fit-folds-oldest")
@given(FITTING)
def test_the_log_is_shown_in_order_left_out_folded_and_whole(case: Case) -> None:
    made = case.fitted()
    shown = [row for row in case.log if row.id > made.folds.rows_to]
    texts = [row.folded if row.folded is not None and row.id <= made.folds.bodies_to else row.text for row in shown]
    line = made.log[: len(made.log) - len(shown)]
    assert list(made.log[len(line) :]) == texts
    assert len(line) <= (len(shown) < len(case.log))
    assert all(f'"rows":{len(case.log) - len(shown)}' in text for text in line)


@given(FITTING)
def test_nothing_that_was_folded_comes_back_and_every_fold_is_told(case: Case) -> None:
    made, before = case.fitted(), case.folds
    assert made.folds.bodies_to >= before.bodies_to
    assert made.folds.rows_to >= before.rows_to
    assert (made.folds == before) == (made.folded_rows == 0)
    left_out = {row.id for row in case.log if before.rows_to < row.id <= made.folds.rows_to}
    had_body = {row.id for row in case.log if row.folded is not None}
    folded = had_body & {row.id for row in case.log if before.bodies_to < row.id <= made.folds.bodies_to}
    gone_before = {row.id for row in case.log if row.id <= before.rows_to}
    assert made.folded_rows == len(left_out | folded - gone_before)
    unlimited = replace(case, limit=None).fitted()
    assert made.freed_tokens == (max(unlimited.log_tokens - made.log_tokens, 0) if made.folded_rows else 0)


@given(FITTING)
def test_done_again_it_is_the_same_and_folds_nothing(case: Case) -> None:
    made = case.fitted()
    assert replace(case, folds=made.folds).fitted() == replace(made, folded_rows=0, freed_tokens=0)


@pytest.mark.spec("3.4-log-prefix-stable")
@given(FITTING, TOKENS, st.none() | st.integers(0, 40))
def test_while_nothing_is_folded_the_log_grows_at_its_end(case: Case, tokens: int, more_room: int | None) -> None:
    row_id = max((row.id for row in case.log), default=0)
    row_id = max(row_id, case.folds.rows_to, case.folds.bodies_to) + 1
    made = case.fitted()
    assert case.limit is not None
    later = replace(
        case,
        log=(*case.log, LogText(row_id, "log://1/2/1/SEND", "new", tokens, None, 0)),
        folds=made.folds,
        limit=None if more_room is None else case.limit + more_room,
    ).fitted()
    assume(not later.folded_rows)
    assert later.log[: len(made.log)] == made.log


@pytest.mark.spec("3.4-fit-folds-oldest")
@given(FITTING)
def test_a_fold_goes_down_to_the_goal_or_takes_all_that_was_seen(case: Case) -> None:
    made = case.fitted()
    assert case.room is not None
    goal = case.room * GOAL_PERCENT // 100
    seen = [row for row in case.log if row.id < case.recent_from and row.id > made.folds.rows_to]
    if made.folds.bodies_to > case.folds.bodies_to and made.index_tokens + made.log_tokens > goal:
        assert not [row for row in seen if row.folded is not None and row.id > made.folds.bodies_to]
    if made.folds.rows_to > case.folds.rows_to:
        least = replace(case, folds=Folds(bodies_to=10**6, rows_to=made.folds.rows_to), limit=None).fitted()
        assert not seen or made.index_tokens + least.log_tokens <= goal
        assert not seen or bare_tokens(case, made) + least.log_tokens <= case.room * LISTED_PERCENT // 100


@given(FITTING)
def test_what_was_not_seen_is_folded_only_as_far_as_must_be(case: Case) -> None:
    made = case.fitted()
    assert case.limit is not None
    bodies_to, rows_to = made.folds.bodies_to, made.folds.rows_to
    beside = case.fixed_tokens + bare_tokens(case, made)
    if bodies_to > case.folds.bodies_to and bodies_to >= case.recent_from > rows_to:
        one_less = replace(case, folds=Folds(bodies_to - 1, rows_to), limit=None).fitted()
        assert beside + one_less.log_tokens > case.limit
    if rows_to > case.folds.rows_to and rows_to >= case.recent_from:
        before = max((row.id for row in case.log if row.id < rows_to), default=0)
        one_less = replace(case, folds=Folds(10**6, max(before, case.folds.rows_to)), limit=None).fitted()
        assert beside + one_less.log_tokens > case.limit


@given(FITTING)
def test_an_index_has_half_of_the_room_and_loses_entries_only_when_no_preview_is_left(case: Case) -> None:
    made = case.fitted()
    assert case.room is not None
    assert made.index_tokens <= case.room // 2
    line = made.index[:1] if made.index and '"entries"' in made.index[0] else ()
    listed = made.index[len(line) :]
    left_out = len(case.index) - len(listed)
    for entry, text in zip(case.index[left_out:], listed, strict=True):
        assert text in ((entry.bare,) if left_out else (entry.text, entry.bare))
    assert all(f'"entries":{left_out}' in text for text in line)
    shown_whole = [
        e.tokens - e.bare_tokens for e, text in zip(case.index[left_out:], listed, strict=True) if text == e.text
    ]
    dropped = [
        e.tokens - e.bare_tokens for e, text in zip(case.index[left_out:], listed, strict=True) if text != e.text
    ]
    assert max(shown_whole, default=0) <= min(dropped, default=40)
