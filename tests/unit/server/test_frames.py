"""Frames of both directions, and the handshake, as bytes."""

from __future__ import annotations

import pytest
from trio.testing import memory_stream_pair
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from plurnk.server.websocket import (
    BadHandshake,
    Closed,
    FrameReader,
    Handshake,
    Message,
    Request,
    Vanished,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from plurnk.server.websocket import Ping as PingEvent

LIMIT = 1_000_000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_text_frames_are_read_by_others(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame(b"x" * size) + ping_frame() + pong_frame(b"p") + close_frame(1001, "é" * 100))
    *texts, ping, pong, closed = client.events()
    assert b"".join(text.data.encode() for text in texts if isinstance(text, TextMessage)) == b"x" * size
    assert (ping, pong) == (Ping(), Pong(b"p"))
    assert closed == CloseConnection(1001, "é" * 61)


@pytest.mark.parametrize("code", [1005, 1006])
def test_codes_that_stand_for_nothing_are_not_sent(code: int) -> None:
    assert close_frame(code, "reason") == b"\x88\x00"


def client_bytes(length: int) -> bytes:
    client = Connection(ConnectionType.CLIENT)
    return b"".join(
        client.send(event)
        for event in (
            TextMessage("one"),
            Ping(b"?"),
            TextMessage("tw", message_finished=False),
            Pong(b"!"),
            TextMessage("ö€", message_finished=True),
            TextMessage(""),
            TextMessage("x" * length),
            CloseConnection(4000, "bye"),
        )
    )


SAID = [
    Message(b"one"),
    PingEvent(b"?"),
    Message("twö€".encode()),
    Message(b""),
]


@pytest.mark.parametrize(("size", "length"), [(1, 300), (7, 300), (64, 70_000), (5000, 70_000), (10**6, 70_000)])
def test_frames_in_pieces_of_any_size(size: int, length: int) -> None:
    data = client_bytes(length)
    reader = FrameReader(LIMIT)
    events = [event for start in range(0, len(data), size) for event in reader.feed(data[start : start + size])]
    assert events == [*SAID, Message(b"x" * length), Closed(4000, "bye")]


def test_nothing_is_read_after_the_end() -> None:
    client = Connection(ConnectionType.CLIENT)
    data = client.send(TextMessage("x" * 11)) + client.send(TextMessage("y"))
    assert FrameReader(10).feed(data) == [Closed(1009, "a message has at most 10 bytes")]


def test_the_limit_counts_bytes_not_characters() -> None:
    assert FrameReader(6).feed(Connection(ConnectionType.CLIENT).send(TextMessage("€€"))) == [Message("€€".encode())]
    (closed,) = FrameReader(5).feed(Connection(ConnectionType.CLIENT).send(TextMessage("€€")))
    assert isinstance(closed, Closed)


def test_the_stream_may_just_end() -> None:
    assert FrameReader(LIMIT).feed(b"") == [Closed(1006, "the stream ended")]


HEAD = (
    b"GET /?q=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-A: 1\r\nX-A: 2, 3\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_handshake_in_pieces(size: int) -> None:
    handshake = Handshake(memory_stream_pair()[0])
    found = [handshake.feed(HEAD[start : start + size]) for start in range(0, len(HEAD), size)]
    assert found[:-1] == [None] * (len(found) - 1)
    request = found[-1]
    assert isinstance(request, Request)
    assert request.path == "/?q=1"
    assert request.values(b"x-a") == ["1", "2, 3"]
    assert request.words(b"x-a") == ["1", "2", "3"]
    assert request.values(b"origin") == []


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET", b"POST", 426),
        (b"Upgrade: WebSocket", b"Upgrade: h2c", 426),
        (b"keep-alive, Upgrade", b"keep-alive", 426),
        (b"Version: 13", b"Version: 8", 426),
        (b"Sec-WebSocket-Key", b"Sec-WebSocket-Kex", 426),
        (b"HTTP/1.1", b"HTTP/1.0", 426),
        (b"HTTP/1.1", b"HTTP/2", 400),
        (b"Host: localhost\r\n", b"", 400),
        (b"Host: localhost", b"Host: localhost\r\nHost: other", 400),
        (b"X-A: 1", b"X-A: \x00", 400),
        (b"GET", b"\x16\x03\x01", 400),
    ],
)
def test_what_is_no_handshake(old: bytes, new: bytes, status: int) -> None:
    assert old in HEAD
    with pytest.raises(BadHandshake) as raised:
        Handshake(memory_stream_pair()[0]).feed(HEAD.replace(old, new, 1))
    assert raised.value.status == status


def test_a_head_has_a_limit() -> None:
    handshake = Handshake(memory_stream_pair()[0])
    for _ in range(16):
        assert handshake.feed(b"x" * 1000) is None
    with pytest.raises(BadHandshake) as raised:
        handshake.feed(b"x" * 1000)
    assert raised.value.status == 431


@pytest.mark.parametrize("length", [0, 10])
def test_a_caller_that_hangs_up(length: int) -> None:
    handshake = Handshake(memory_stream_pair()[0])
    if length:
        assert handshake.feed(HEAD[:length]) is None
    with pytest.raises((Vanished, BadHandshake)):
        handshake.feed(b"")
