"""The table of proposals: what SPEC 5.3 prints is what the code moves by."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from plurnk.errors import Conflict
from plurnk.rules.proposals import TABLE, Event, State, move
from tests.support.source import ROOT


def _printed() -> dict[str, tuple[str, str, str]]:
    """The rows of the table in SPEC.md, by event."""
    section = (ROOT / "SPEC.md").read_text("utf-8").partition("### 5.3 ")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (\w+) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return {event: (state, status, outcome) for event, state, status, outcome in rows if event != "event"}


@pytest.mark.spec("5.3-table")
def test_the_table_is_the_one_that_is_promised() -> None:
    printed = _printed()
    for event in Event:
        moved = move("proposed", event)
        (row,) = [row for name, row in printed.items() if name.startswith(event.value)]
        state, status, outcome = row
        assert state == moved.state
        assert moved.status is None or status == str(moved.status)
        assert outcome.strip("`") == (moved.outcome or "–")
    assert len(printed) == len(Event)


@pytest.mark.spec("5.3-table")
@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", get_args(State))
def test_every_event_moves_or_conflicts(state: State, event: Event) -> None:
    if event in TABLE[state]:
        assert move(state, event).state in {"resolved", "failed", "cancelled"}
    else:
        with pytest.raises(Conflict):
            move(state, event)


@pytest.mark.spec("5.3-table")
def test_what_is_decided_stays_decided() -> None:
    assert set(TABLE) == set(get_args(State))
    assert {state for state in TABLE if not TABLE[state]} == {"resolved", "failed", "cancelled"}
    assert set(TABLE["proposed"]) == set(Event)
