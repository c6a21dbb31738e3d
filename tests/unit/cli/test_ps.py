"""The table of what runs, and what names a stream."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from plurnk.cli.kill import matching
from plurnk.cli.ps import state, table
from plurnk.cli.streams import Stream
from plurnk.wire.answers import SessionRow
from tests.support.subscription_views import subscription_view

NOW = datetime(2026, 1, 1, 0, 2, 3, tzinfo=UTC)


def stream(session: str = "notes", **fields: Any) -> Stream:
    row = SessionRow(id=1, name=session, project_root=None, persona=None, created_at="", cost_pico=0, archived=False)
    return Stream(session=row, view=subscription_view(**fields))


def test_the_table() -> None:
    streams = [
        stream(stdout_bytes=1_300_000),
        stream("other", target="exec://python-12", handle="print(1)\nprint(2)", awaiting_input=True, stderr_bytes=7),
    ]
    assert table(streams, NOW, width=None).splitlines() == [
        "TARGET            STATE              TIME   STDOUT  STDERR  SESSION  COMMAND",
        "exec://sh-1       running       2 min 3 s  1.2 MiB       0  notes    make",
        "exec://python-12  awaits input  2 min 3 s        0       7  other    print(1)…",
    ]


def test_nothing_runs() -> None:
    assert table([], NOW, width=None).splitlines() == ["TARGET  STATE  TIME  STDOUT  STDERR  SESSION  COMMAND"]


def test_a_terminal_gets_no_longer_lines_than_it_can_show_and_no_orders() -> None:
    head, line = table([stream(handle="echo \x1b[2J" + "x" * 200)], NOW, width=70).splitlines()
    assert len(head) <= 70
    assert len(line) == 70
    assert line.endswith("…")
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "running"),
        ({"awaiting_input": True}, "awaits input"),
        ({"close_status": 200, "exit_code": 0}, "exit 0"),
        ({"close_status": 500, "exit_code": 2}, "exit 2"),
        ({"close_status": 500, "exit_code": 139, "signal": "SIGSEGV"}, "SIGSEGV"),
        ({"close_status": 499, "exit_code": 143, "signal": "SIGTERM"}, "cancelled"),
        ({"close_status": 413}, "failed 413"),
        ({"close_status": 200}, "ended"),
    ],
)
def test_how_it_is(fields: dict[str, Any], shown: str) -> None:
    assert state(subscription_view(**fields)) == shown


def test_one_that_is_over_took_as_long_as_it_did() -> None:
    over = stream(close_status=200, exit_code=0, closed_at="2026-01-01T00:00:01.500Z")
    assert "  1.5 s  " in table([over], NOW, width=None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("exec://sh-1", [3, 5]), ("sh-1", [3, 5]), ("exec://sh-1#stderr", [3, 5]), ("4", [4]), ("9", [])],
)
def test_what_names_a_stream(wanted: str, found: list[int]) -> None:
    streams = [stream(id=3), stream(id=4, target="exec://sh-2"), stream("other", id=5)]
    assert [each.view.id for each in matching(streams, wanted)] == found
