"""The pause before a provider is asked again (SPEC 3.8)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.rules.backoff import FIRST_S, LONGEST_S, pause_s

attempts = st.integers(1, 10**6)
luck = st.floats(0, 1)


def test_the_bound_doubles_up_to_the_longest() -> None:
    assert [pause_s(failed, luck=1) for failed in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert pause_s(3, luck=0.25) == 0.5
    assert pause_s(3, luck=0) == 0


def test_what_the_provider_asks_for_is_the_least() -> None:
    assert pause_s(1, luck=0, retry_after_s=7) == 7
    assert pause_s(2, luck=0.5, retry_after_s=7) == 7.5
    assert pause_s(1, luck=1, retry_after_s=3600) == 3600.5


@pytest.mark.parametrize("nonsense", [math.nan, -1.0, 0.0, None])
def test_what_makes_no_sense_is_not_asked_for(nonsense: float | None) -> None:
    assert pause_s(1, luck=1, retry_after_s=nonsense) == FIRST_S


@given(attempts, luck, st.none() | st.floats())
def test_it_is_a_time_that_can_be_compared(failed: int, lucky: float, asked_s: float | None) -> None:
    waits_s = pause_s(failed, luck=lucky, retry_after_s=asked_s)
    asked_s = asked_s if asked_s is not None and asked_s > 0 else 0
    assert asked_s <= waits_s <= asked_s + LONGEST_S


@given(attempts, luck, luck)
def test_it_grows_with_the_attempts_and_with_luck(failed: int, one: float, other: float) -> None:
    assert pause_s(failed, luck=one) <= pause_s(failed + 1, luck=one)
    assert pause_s(failed, luck=min(one, other)) <= pause_s(failed, luck=max(one, other))
