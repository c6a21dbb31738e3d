"""The server's side of a WebSocket on any trio stream (RFC 6455): the handshake by h11, frames by wsproto.

Two halves, in the order in which a client meets them. ``Handshake`` reads the HTTP request and leaves
it to the caller to ``accept`` or ``refuse`` it. ``WebSocket`` receives whole text messages and sends
bytes that ``text_frame`` and its siblings made, so that one ``send`` may carry many frames.

No compression: it costs two to six times the processor time, and our clients sit on the same machine.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from http import HTTPStatus
from typing import Final, TypeAlias

import h11
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as PingEvent

# h11's own default; browsers' heads stay below 8 KiB, and ours are not even browsers.
MAX_HEAD_BYTES: Final = 16 * 1024
RECEIVE_BYTES: Final = 64 * 1024

_ACCEPT_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class CloseCode(IntEnum):
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013


# What stands for "none was sent" and must not be sent (RFC 6455, 7.4.1).
_UNSENDABLE: Final = frozenset({CloseCode.NO_STATUS, CloseCode.ABNORMAL})


class Vanished(Exception):
    """The peer is gone; there is nobody to answer."""


class BadHandshake(Exception):
    """The request is no WebSocket handshake. ``refuse`` answers it with ``status``."""

    def __init__(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request to become a WebSocket; header names are lower case."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[str]:
        """Return each value sent for ``name``, one for each header line."""
        return [value.decode("latin-1").strip() for header, value in self.headers if header == name]

    def words(self, name: bytes) -> list[str]:
        """Return the members of a comma-separated header."""
        return [word for value in self.values(name) for part in value.split(",") if (word := part.strip())]


class Handshake:
    """One HTTP request on ``stream`` that may become a WebSocket. The caller bounds its time and closes the stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._key = b""

    async def receive(self) -> Request:
        """Read the request's head.

        Raises:
            BadHandshake: it asks for something else, or is no HTTP.
            Vanished: the stream ended first.
        """
        try:
            while (request := self.feed(await self._stream.receive_some(MAX_HEAD_BYTES))) is None:
                pass
        except trio.BrokenResourceError as error:
            raise Vanished from error
        return request

    def feed(self, data: bytes | bytearray) -> Request | None:
        """Take the next bytes, none at the end of the stream; return the request when it is complete.

        Raises:
            BadHandshake, Vanished: as ``receive``.
        """
        try:
            self._http.receive_data(bytes(data))
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadHandshake(error.error_status_hint, f"bad request: {error}") from error
        if isinstance(event, h11.ConnectionClosed):
            raise Vanished
        if not isinstance(event, h11.Request):
            return None
        request = Request(event.target.decode("latin-1"), tuple(event.headers))
        self._check(event, request)
        return request

    def _check(self, event: h11.Request, request: Request) -> None:
        wants = {word.lower() for word in request.words(b"upgrade")}
        upgrades = {word.lower() for word in request.words(b"connection")}
        is_handshake = event.method == b"GET" and event.http_version == b"1.1"
        if not is_handshake or "websocket" not in wants or "upgrade" not in upgrades:
            raise BadHandshake(426, "plurnk speaks WebSocket here, nothing else", [("Upgrade", "websocket")])
        keys = request.values(b"sec-websocket-key")
        if request.values(b"sec-websocket-version") != ["13"] or len(keys) != 1:
            raise BadHandshake(426, "only version 13 of WebSocket is known here", [("Sec-WebSocket-Version", "13")])
        self._key = keys[0].encode("latin-1")

    async def accept(self, *, max_message_bytes: int, protocol: str | None = None) -> WebSocket:
        """Answer yes, with the subprotocol ``protocol``.

        Raises:
            Vanished: nobody is there any more.
        """
        digest = hashlib.sha1(self._key + _ACCEPT_GUID, usedforsecurity=False).digest()
        headers = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", base64.b64encode(digest)),
        ]
        if protocol is not None:
            headers.append((b"Sec-WebSocket-Protocol", protocol.encode()))
        response = h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols")
        await _send(self._stream, self._http.send(response) or b"")
        return WebSocket(self._stream, max_message_bytes=max_message_bytes, received=self._http.trailing_data[0])

    async def refuse(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer no, and wait for the peer to hang up, so that what it still sends cannot erase the answer."""
        # By hand: h11 would have to be told of each way in which the request may have been broken.
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(text.encode()) + 1}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers),
        ]
        try:
            await _send(self._stream, "\r\n".join([*lines, "", f"{text}\n"]).encode())
            await _linger(self._stream)
        except Vanished:
            return


async def _send(stream: trio.abc.Stream, data: bytes | memoryview) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise Vanished from error


async def _linger(stream: trio.abc.Stream) -> None:
    """Say that we have ended, and read to the peer's end: closing with unread input would reset the peer,
    and it could lose what we said last.
    """
    try:
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some(RECEIVE_BYTES):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise Vanished from error


# Frames out. A server's frames are not masked, so the same bytes do for every client.


class _Opcode(IntEnum):
    TEXT = 0x1
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


def _frame(opcode: _Opcode, payload: bytes) -> bytes:
    length = len(payload)
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def text_frame(message: bytes) -> bytes:
    """Frame ``message``, which is UTF-8."""
    return _frame(_Opcode.TEXT, message)


def ping_frame() -> bytes:
    return _frame(_Opcode.PING, b"")


def pong_frame(payload: bytes) -> bytes:
    return _frame(_Opcode.PONG, payload)


def close_frame(code: int, reason: str) -> bytes:
    """Frame a close; ``reason`` is cut to the 123 bytes that a control frame has for it."""
    if code in _UNSENDABLE:
        return _frame(_Opcode.CLOSE, b"")
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return _frame(_Opcode.CLOSE, code.to_bytes(2, "big") + text)


# Frames in.


@dataclass(frozen=True, slots=True)
class Message:
    """A whole text message, valid UTF-8."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event: the peer said goodbye, broke a rule, or is gone (1006). ``code`` is the answer to give."""

    code: int
    reason: str = ""


Event: TypeAlias = Message | Ping | Closed


class FrameReader:
    """Bytes in, events out; after ``Closed`` no more may be fed. Holds at most one message and one chunk."""

    def __init__(self, max_message_bytes: int) -> None:
        self._frames = Connection(ConnectionType.SERVER)
        self._max_message_bytes = max_message_bytes
        self._text = bytearray()

    def feed(self, data: bytes | bytearray) -> list[Event]:
        """Take the next bytes, none at the end of the stream."""
        if not data:
            return [Closed(CloseCode.ABNORMAL, "the stream ended")]
        self._frames.receive_data(bytes(data))
        events: list[Event] = []
        for frame in self._frames.events():
            match frame:
                case TextMessage(data=text):
                    self._text += text.encode()
                    if len(self._text) > self._max_message_bytes:
                        self._text.clear()
                        events.append(
                            Closed(CloseCode.TOO_BIG, f"a message has at most {self._max_message_bytes} bytes")
                        )
                    elif frame.message_finished:
                        events.append(Message(bytes(self._text)))
                        self._text.clear()
                case BytesMessage():
                    events.append(Closed(CloseCode.UNSUPPORTED_DATA, "text frames only"))
                case PingEvent(payload=payload):
                    events.append(Ping(bytes(payload)))
                case CloseConnection(code=code, reason=reason):
                    by_peer = self._frames.state is ConnectionState.REMOTE_CLOSING
                    events.append(Closed(code, (reason or "") if by_peer else "broken frame"))
                case _:
                    pass  # a pong: liveness is TCP's business (§6.1-no-pong-deadline)
            if events and isinstance(events[-1], Closed):
                break
        return events


class WebSocket:
    """One task may receive while another sends. Whoever opened the stream closes it."""

    def __init__(self, stream: trio.abc.Stream, *, max_message_bytes: int, received: bytes = b"") -> None:
        self._stream = stream
        self._reader = FrameReader(max_message_bytes)
        self._events: deque[Event] = deque(self._reader.feed(received) if received else ())
        self._between_sends = True

    async def receive(self) -> Event:
        """Return the next event. It never raises for what the peer does: a peer that is gone is ``Closed``."""
        if self._events:
            await trio.lowlevel.checkpoint()
        while not self._events:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            self._events.extend(self._reader.feed(data))
        return self._events.popleft()

    async def send(self, frames: bytes | memoryview) -> None:
        """Send a piece of what ``text_frame`` and the like made.

        Raises:
            Vanished: nobody is there any more.

        Cancelled: an unknown part was sent; only ``close`` may follow.
        """
        self._between_sends = False
        await _send(self._stream, frames)
        self._between_sends = True

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, if it can still be understood, and wait until the peer has hung up. The caller bounds it."""
        if code == CloseCode.ABNORMAL or not self._between_sends:
            return
        try:
            await self.send(close_frame(code, reason))
            await _linger(self._stream)
        except Vanished:
            return
