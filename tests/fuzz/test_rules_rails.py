"""The rails are a function of the turns and of nothing else (SPEC 3.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.rules.rails import Judgment, Mark, Rails, judge

MARKS = st.builds(Mark, st.sampled_from(["", "a", "b", "c"]), st.sampled_from([None, None, None, "no statement"]))
PATTERNS = st.lists(MARKS, min_size=1, max_size=5).flatmap(
    lambda pattern: st.integers(1, 5).map(lambda times: pattern * times)
)
HISTORIES = st.lists(PATTERNS, max_size=4).map(lambda parts: [mark for part in parts for mark in part])
RAILS = st.builds(
    Rails, max_strikes=st.integers(0, 5), min_cycles=st.integers(2, 4), max_cycle_period=st.integers(1, 5)
)


def naive(history: list[Mark], rails: Rails) -> Judgment:
    """The same, as one would say it: turn after turn, from the first one on."""
    streak, reason, found = 0, None, None
    for number in range(1, len(history) + 1):
        prints = [mark.fingerprint for mark in history[:number]]
        repeated = [
            k
            for k in range(1, rails.max_cycle_period + 1)
            if number >= k * rails.min_cycles and prints[-k * rails.min_cycles :] == prints[-k:] * rails.min_cycles
            if "" not in prints[-k:]
        ]
        found = min(repeated, default=None)
        reason = history[number - 1].fault
        if reason is None and found is not None:
            turns = "turn" if found == 1 else f"{found} turns"
            reason = f"the same {turns} {rails.min_cycles} times in a row"
        streak = streak + 1 if reason is not None else 0
    streak = min(streak, rails.max_strikes)
    return Judgment(streak, reason if rails.max_strikes else None, found, 0 < rails.max_strikes == streak)


@pytest.mark.spec("3.6-strike-streak", "3.6-cycle-detect")
@given(HISTORIES, RAILS)
def test_the_rails_do_as_they_are_described(history: list[Mark], rails: Rails) -> None:
    assert judge(history, rails) == naive(history, rails)


@pytest.mark.spec("3.6-strike-streak")
@given(HISTORIES, RAILS)
def test_only_the_last_turns_count(history: list[Mark], rails: Rails) -> None:
    assert judge(history[-rails.span_turns :], rails) == judge(history, rails)


@pytest.mark.spec("3.6-strike-streak")
@given(HISTORIES, RAILS)
def test_a_clean_turn_resets(history: list[Mark], rails: Rails) -> None:
    assert judge([*history, Mark("new")], rails) == Judgment()
    assert judge([*history, Mark("")], rails) == Judgment()
