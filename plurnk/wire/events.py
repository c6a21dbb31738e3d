"""Notifications as text (SPEC 6.4, 6.5): written once, however many clients they go to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from plurnk.wire.notifications import Notification, SessionLagged, StreamEvent, TurnDelta

_ENCODER: Final = msgspec.json.Encoder()


class _DeltaMessage(msgspec.Struct):
    params: TurnDelta


class _StreamMessage(msgspec.Struct):
    params: StreamEvent


_DELTA: Final = msgspec.json.Decoder(_DeltaMessage)
_STREAM: Final = msgspec.json.Decoder(_StreamMessage)


def encode_event(method: str, params: bytes, event_id: int | None) -> bytes:
    """Wrap ``params``, a JSON object as it stands in the events table; ``eventId`` goes beside its own fields."""
    if event_id is not None:
        comma = b"" if params == b"{}" else b","
        params = b'%b%b"eventId":%d}' % (params[:-1], comma, event_id)
    return b'{"jsonrpc":"2.0","method":"%b","params":%b}' % (method.encode(), params)


def encode_notification(notification: Notification, event_id: int | None = None) -> bytes:
    return encode_event(notification.method, _ENCODER.encode(notification), event_id)


def encode_lagged(resume_from: int) -> bytes:
    return encode_notification(SessionLagged(resume_from=resume_from))


def delta_key(delta: TurnDelta) -> tuple[str, int, int, str]:
    """Deltas with the same key may be joined while they wait: one attempt of a turn, one kind, in their order."""
    return (delta.method, delta.turn_id, delta.attempt, delta.kind)


def join_deltas(messages: Sequence[bytes]) -> bytes:
    """Make one ``turn/delta`` message of several with the same ``delta_key``."""
    deltas = [_DELTA.decode(message).params for message in messages]
    text = "".join(delta.text for delta in deltas)
    return encode_notification(msgspec.structs.replace(deltas[0], text=text))


def stream_key(event: StreamEvent) -> tuple[str, int, str]:
    """Of events with the same key the newest says what holds: one entry, one channel."""
    return (event.method, event.entry_id, event.channel)


def join_stream_events(messages: Sequence[bytes]) -> bytes:
    """Make one ``stream/event`` message of several with the same ``stream_key``: the newest, but with the last
    that was said of ``awaitingInput``, as that is said once a wait.
    """
    events = [_STREAM.decode(message).params for message in messages]
    waits = [event.awaiting_input for event in events if event.awaiting_input is not msgspec.UNSET]
    if not waits or events[-1].awaiting_input is not msgspec.UNSET:
        return messages[-1]
    return encode_notification(msgspec.structs.replace(events[-1], awaiting_input=waits[-1]))
