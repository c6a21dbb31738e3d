"""The order of notifications, whatever the link does to them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from plurnk.client import inbox
from plurnk.client.inbox import Inbox, Resync
from plurnk.wire.jsonrpc import Event
from plurnk.wire.notifications import SessionCreated, TelemetryEvent


def telemetry(number: int | None) -> Event:
    params = {"loopId": 1, "event": {"kind": "test", "message": str(number)}}
    if number is not None:
        params["eventId"] = number
    return Event("telemetry/event", json.dumps(params).encode())  # type: ignore[arg-type]  # bytes are raw JSON


def created(session: int, number: int) -> Event:
    params = {"id": session, "name": "s", "projectRoot": None, "persona": None, "eventId": number}
    return Event("session/created", json.dumps(params).encode())  # type: ignore[arg-type]  # bytes are raw JSON


def numbers(box: Inbox) -> list[int]:
    return [int(heard.event["message"]) for heard in box.waiting if isinstance(heard, TelemetryEvent)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=30))
def test_whatever_is_lost_or_repeated_all_arrive_once_in_order(fates: list[tuple[bool, int]]) -> None:
    """Each fate is one event: whether it comes through, and how far back a repetition reaches."""
    box = Inbox()
    box.attached(1, 0, exact=True)
    for number, (lost, back) in enumerate(fates, 1):
        for repeated in range(max(number - back, 1), number if lost else number + 1):
            box.hear(telemetry(repeated))
        if box.behind:
            since = box.seen
            box.attached(1, since, exact=True)
            for replayed in range(since + 1, number + 1):
                box.hear(telemetry(replayed))
    assert numbers(box) == list(range(1, box.seen + 1))
    assert box.seen == len(fates) or fates[-1][0], "a hole before a last event that came through"


def test_a_hole_is_noticed_and_named() -> None:
    box = Inbox()
    box.attached(1, 0)
    box.hear(telemetry(5))
    box.hear(telemetry(7))
    assert (numbers(box), box.behind, box.seen) == ([5], True, 5)


def test_a_full_inbox_takes_no_more_and_knows_where_to_go_on() -> None:
    box = Inbox()
    box.attached(1, 0)
    for number in range(1, inbox.LIMIT + 3):
        box.hear(telemetry(number))
    box.hear(telemetry(None))
    assert (len(box.waiting), box.behind, box.seen) == (inbox.LIMIT, True, inbox.LIMIT)


def test_a_full_inbox_forgets_nothing_even_as_the_first() -> None:
    box = Inbox()
    box.waiting.extend([Resync(0)] * inbox.LIMIT)
    box.attached(1, 41)
    box.hear(telemetry(42))
    assert (box.behind, box.seen) == (True, 41)


def test_the_daemon_says_that_we_lag() -> None:
    box = Inbox()
    box.attached(1, 0)
    box.hear(telemetry(3))
    box.hear(Event("session/lagged", b'{"resumeFrom":3}'))  # type: ignore[arg-type]  # bytes are raw JSON
    assert (box.behind, box.seen, len(box.waiting)) == (True, 3, 1)


def test_what_is_gone_is_told() -> None:
    box = Inbox()
    box.attached(1, 0)
    box.hear(telemetry(3))
    box.attached(1, 90, resync=50)
    box.hear(telemetry(50))
    assert [type(heard) for heard in box.waiting] == [TelemetryEvent, Resync, TelemetryEvent]
    assert box.waiting[1] == Resync(50)


def test_the_numbers_of_other_sessions_are_their_own() -> None:
    box = Inbox()
    box.attached(1, 7)
    box.hear(telemetry(8))
    box.hear(created(2, 1))
    box.hear(created(1, 9))
    assert [type(heard) for heard in box.waiting] == [TelemetryEvent, SessionCreated, SessionCreated]
    assert (box.behind, box.seen) == (False, 9)


def test_an_unknown_notification_is_passed_on_raw() -> None:
    box = Inbox()
    event = Event("future/thing", b'{"eventId":1}')  # type: ignore[arg-type]  # bytes are raw JSON
    box.hear(event)
    assert list(box.waiting) == [event]
    assert box.seen == 1
