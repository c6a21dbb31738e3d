"""Notifications as text."""

from __future__ import annotations

import json

import msgspec
import pytest

from plurnk.wire import events
from plurnk.wire.notifications import SessionCreated, StreamEvent, TurnDelta


def test_a_notification_with_and_without_its_event_id() -> None:
    notification = SessionCreated(id=3, name="s", project_root=None, persona=None)
    params = {"id": 3, "name": "s", "projectRoot": None, "persona": None}
    text = events.encode_notification(notification)
    assert json.loads(text) == {"jsonrpc": "2.0", "method": "session/created", "params": params}
    text = events.encode_notification(notification, 12)
    assert json.loads(text) == {"jsonrpc": "2.0", "method": "session/created", "params": {**params, "eventId": 12}}
    assert b" " not in text
    assert b"\n" not in text


def test_stored_params_are_told_as_they_are() -> None:
    assert json.loads(events.encode_event("x/y", b"{}", 1))["params"] == {"eventId": 1}
    assert json.loads(events.encode_event("x/y", b'{"a":"\\u20ac"}', 2))["params"] == {"a": "€", "eventId": 2}


def test_lagged() -> None:
    assert json.loads(events.encode_lagged(7)) == {
        "jsonrpc": "2.0",
        "method": "session/lagged",
        "params": {"resumeFrom": 7},
    }


def test_deltas_of_one_text_become_one() -> None:
    deltas = [TurnDelta(loop_id=1, turn_id=2, kind="content", text=text) for text in ('a"', "\n€", "😀")]
    assert len({events.delta_key(delta) for delta in deltas}) == 1
    joined = events.join_deltas([events.encode_notification(delta) for delta in deltas])
    assert joined == events.encode_notification(TurnDelta(loop_id=1, turn_id=2, kind="content", text='a"\n€😀'))


def test_deltas_of_different_texts_are_kept_apart() -> None:
    keys = {
        events.delta_key(TurnDelta(loop_id=1, turn_id=turn_id, kind=kind, text="", attempt=attempt))
        for turn_id in (1, 2)
        for kind in ("content", "reasoning")
        for attempt in (1, 2)
    }
    assert len(keys) == 8


def stream_event(length: int, *, awaiting: bool | None = None, channel: str = "stdout") -> StreamEvent:
    return StreamEvent(
        entry_id=4,
        target="exec://sh-1",
        channel=channel,
        state="active",
        content_length=length,
        awaiting_input=msgspec.UNSET if awaiting is None else awaiting,
    )


@pytest.mark.parametrize(
    ("waits", "joined"),
    [
        ((None, None, None), None),
        ((True, None, None), True),
        ((True, False, None), False),
        ((None, True, False), False),
        ((False, None, True), True),
    ],
)
def test_of_a_streams_events_the_newest_holds_but_no_wait_for_input_is_lost(
    waits: tuple[bool | None, ...], joined: bool | None
) -> None:
    news = [stream_event(length, awaiting=awaiting) for length, awaiting in enumerate(waits)]
    text = events.join_stream_events([events.encode_notification(event) for event in news])
    assert text == events.encode_notification(stream_event(2, awaiting=joined))


def test_each_channel_has_its_own_events() -> None:
    assert events.stream_key(stream_event(1)) == events.stream_key(stream_event(2, awaiting=True))
    assert events.stream_key(stream_event(1)) != events.stream_key(stream_event(1, channel="stderr"))
