"""Any bytes from a client end in events, answers or the one named error; nothing else is ever raised."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from plurnk.server.websocket import (
    BadHandshake,
    Closed,
    FrameReader,
    Handshake,
    Message,
    Request,
    Vanished,
    close_frame,
)
from plurnk.server.websocket import Event as Received
from plurnk.wire import jsonrpc
from plurnk.wire.jsonrpc import Call, Fault
from plurnk.wire.methods import METHODS
from plurnk.wire.problems import RequestError

LIMIT = 300

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*METHODS, "no.such.method"])
REQUESTS = st.fixed_dictionaries(
    {},
    optional={"jsonrpc": st.sampled_from(["2.0", "1.0", 2]) | JSON, "id": JSON, "method": NAMES | JSON, "params": JSON},
)
TEXTS = st.one_of(
    st.binary(),
    JSON.map(lambda value: json.dumps(value).encode()),
    REQUESTS.map(lambda value: json.dumps(value).encode()),
    st.lists(REQUESTS | JSON, max_size=5).map(lambda value: json.dumps(value).encode()),
    st.text(alphabet='[]{}",:01eE+-.\\utrfn \n').map(str.encode),
)

CONTROL = st.binary(max_size=125)
SENT = st.one_of(
    st.builds(TextMessage, st.text(max_size=200), message_finished=st.booleans()),
    st.builds(BytesMessage, st.binary(max_size=200)),
    st.builds(Ping, CONTROL),
    st.builds(Pong, CONTROL),
    st.builds(CloseConnection, st.integers(3000, 4999), st.text(max_size=20)),
)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, *(place % (len(data) + 1) for place in cuts), len(data)})
    return [data[start:end] for start, end in pairwise(places)]


def read(pieces: list[bytes]) -> list[Received]:
    """Feed until the last event, as a peer does."""
    reader = FrameReader(LIMIT)
    events: list[Received] = []
    for piece in pieces:
        events += reader.feed(piece)
        if events and isinstance(events[-1], Closed):
            break
    for event in events[:-1]:
        assert not isinstance(event, Closed)
    for event in events:
        match event:
            case Message(text):
                assert len(text) <= LIMIT
                text.decode()
            case Closed(code, reason):
                assert 2 <= len(close_frame(code, reason)) <= 127
            case _:
                pass
    return events


def frames(sent: list[Event]) -> bytes:
    client, data, in_text = Connection(ConnectionType.CLIENT), b"", False
    for event in sent:
        if in_text and isinstance(event, BytesMessage):
            continue
        data += client.send(event)
        if isinstance(event, CloseConnection):
            break
        if isinstance(event, TextMessage):
            in_text = not event.message_finished
    return data


@given(st.binary(), st.lists(st.integers(0)))
def test_any_bytes_as_frames(data: bytes, cuts: list[int]) -> None:
    assert read(cut(data, cuts)) == read([data] if data else [])


@given(st.lists(SENT, max_size=8), st.lists(st.integers(0)))
def test_frames_in_pieces_are_the_frames(sent: list[Event], cuts: list[int]) -> None:
    data = frames(sent)
    assert read(cut(data, cuts)) == read([data] if data else [])


@given(st.lists(SENT, max_size=5), st.integers(0), st.integers(0, 255), st.lists(st.integers(0)))
def test_a_flipped_byte(sent: list[Event], place: int, value: int, cuts: list[int]) -> None:
    data = bytearray(frames(sent))
    if data:
        data[place % len(data)] = value
    read(cut(bytes(data), cuts))


@given(
    st.one_of(
        st.binary(),
        st.lists(
            st.sampled_from(
                [
                    b"GET / HTTP/1.1\r\n",
                    b"Host: a\r\n",
                    b"Upgrade: websocket\r\n",
                    b"Connection: Upgrade\r\n",
                    b"Sec-WebSocket-Version: 13\r\n",
                    b"Sec-WebSocket-Key: a\r\n",
                    b"X: \xff\r\n",
                    b"Origin: \xc3\xa4\r\n",
                    b"\r\n",
                ]
            )
        ).map(b"".join),
    ),
    st.lists(st.integers(0)),
)
def test_any_bytes_as_a_handshake(data: bytes, cuts: list[int]) -> None:
    handshake = Handshake(memory_stream_pair()[0])
    try:
        for piece in [*cut(data, cuts), b""]:
            if isinstance(request := handshake.feed(piece), Request):
                request.values(b"origin")
                request.words(b"x")
                return
    except Vanished:
        return
    except BadHandshake as error:
        status = error.status
    else:
        return
    assert 400 <= status < 500


@pytest.mark.spec("6.1-bad-frame-survives")
@given(TEXTS)
def test_any_text_as_requests(text: bytes) -> None:
    incoming = jsonrpc.decode(text)
    assert incoming.items
    answers: list[bytes] = []
    for item in incoming.items:
        match item:
            case Fault():
                answers.append(jsonrpc.encode_error(item.id, item.problem))
            case Call():
                answers.append(_params(item))
    written = jsonrpc.encode_batch(answers) if incoming.batch else answers[0]
    assert b"\n" not in written
    assert b"connection" not in b"".join(
        msgspec.json.encode(answer.error.message)
        for answer in map(jsonrpc.decode_from_daemon, answers)
        if isinstance(answer, jsonrpc.Answer) and answer.error is not None
    )


def _params(call: Call) -> bytes:
    """Read the params as the method's own type, and as that of every other method."""
    for method in METHODS.values():
        with suppress(RequestError):
            method.decode(call.params)
    return jsonrpc.encode_result(jsonrpc.NULL if call.id is None else call.id, None)
