"""The async client: calls, notifications without a gap or a double, and a link that mends itself."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from plurnk.client.calls import Calls
from plurnk.client.errors import ClientError, Disconnected, Refused, Unreachable
from plurnk.client.following import Ears, Following
from plurnk.client.inbox import Heard, Inbox
from plurnk.client.link import Address, address_of, open_stream, refusal, shake_hands
from plurnk.wire.answers import (
    SessionAttachResult,
    SessionCreateResult,
)
from plurnk.wire.jsonrpc import Answer, Event, decode_from_daemon, encode_request
from plurnk.wire.methods import METHODS
from plurnk.wire.params import (
    Params,
    SessionAttachParams,
)
from plurnk.wire.problems import RequestError

# A daemon that restarts is back within a second; one that recovers a large database may take a few.
RECONNECT_FOR_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class _Waiter:
    """A request under way. Until there is an answer its outcome is that none came."""

    def __init__(self, method: str, params: Params | Mapping[str, Any]) -> None:
        self.method = method
        self.params = params
        self.sent = False
        self.done = trio.Event()
        self.outcome: object = Disconnected(f"the daemon went away before it answered {method}")


class Notifications:
    """An endless iterator; leaving it early costs nothing."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Heard:
        return await self._client.next_notification()


class Client(Calls):
    """Made by ``open_client``. Any task may call; one task at a time reads the notifications."""

    def __init__(self, address: Address, token: str | None) -> None:
        self._address = address
        self._token = token
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiter] = {}
        # No buffer: a request is taken when the link is there to send it, and not before.
        self._requests, self._to_send = trio.open_memory_channel[tuple[int, bytes]](0)
        self._lost: str | None = None
        self._attached: SessionAttachParams | None = None
        self._inbox = Inbox()
        self._news = trio.Event()
        self._ears = Ears()

    @classmethod
    @asynccontextmanager
    async def open(cls, where: str | Path | Address, *, token: str | None = None) -> AsyncIterator[Client]:
        """Connect to the daemon at ``where``: ``ws://host:port``, ``wss://host:port``, or a Unix socket's path.

        Raises:
            Unreachable: no daemon answers there, or it does not let this client in.
        """
        client = cls(address_of(where), token)
        try:
            async with trio.open_nursery() as tasks:
                await tasks.start(client._keep)
                yield client
                tasks.cancel_scope.cancel(reason="the client is closed")
        except BaseExceptionGroup as group:
            # The block's own error, or the first link's: the keeper raises no other.
            if len(group.exceptions) != 1:
                raise
            raise group.exceptions[0] from group.exceptions[0].__cause__  # noqa: ASYNC123 – the group adds nothing
        finally:
            client._lose("the client is closed")

    async def call(self, method: str, params: Params | Mapping[str, Any] | None = None) -> Any:
        """Ask, and return the method's result type (``plurnk.wire.methods.METHODS``).

        Waits while the link is being mended. What ``session.create`` or ``session.attach`` chose is attached to
        again whenever the link is new.

        Raises:
            RequestError: the daemon refused; ``problem`` says why.
            Disconnected: the link broke after the request was sent.
            Unreachable: there is no daemon any more.
            ClientError: the answer is none that this version understands.

        Cancelled: the daemon may have carried it out, or may still do so.
        """
        call_id, waiter, frame = self._request(method, params or {})
        try:
            await self._requests.send((call_id, frame))
            return await _outcome(waiter)
        except trio.BrokenResourceError:
            raise Unreachable(self._lost or "the client is closed") from None
        finally:
            del self._waiting[call_id]

    def notifications(self) -> Notifications:
        """Return what the daemon tells: of the durable notifications each exactly once and in order."""
        return Notifications(self)

    async def next_notification(self) -> Heard:
        """Wait for the next one.

        Raises:
            Unreachable: the link is lost for good, and all that had come was returned before.
            RequestError: what was missed cannot be had, as the session is gone.

        Cancelled: nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        while not self._inbox.waiting:
            if self._lost is not None:
                raise Unreachable(self._lost)
            if self._inbox.behind:
                await self._catch_up()
            else:
                self._news = trio.Event()
                await self._news.wait()
        return self._inbox.waiting.popleft()

    def follow(self, target: str, channel: str, *, start: int = 0) -> Following:
        """Return the text of a channel as it grows, until it is closed; any number of tasks may follow."""
        return Following(self, self._ears, target, channel, start)

    @property
    def is_behind(self) -> bool:
        """Notifications were missed, and are asked for again when ``notifications`` is read."""
        return self._inbox.behind

    # The task that owns the link

    async def _keep(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a link up until it cannot be mended for ``RECONNECT_FOR_S``.

        Raises:
            Unreachable: the first link did not come up.
        """
        was_up = False
        give_up_at, pause_s = 0.0, _FIRST_PAUSE_S

        def up() -> None:
            nonlocal was_up
            if not was_up:
                task_status.started()
            was_up = True

        while True:
            try:
                await self._one_link(up)
                give_up_at, pause_s = trio.current_time() + RECONNECT_FOR_S, _FIRST_PAUSE_S
            except Unreachable as error:
                if not was_up:
                    raise
                if isinstance(error, Refused) or trio.current_time() + pause_s > give_up_at:
                    self._lose(str(error))
                    return
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _one_link(self, up: Callable[[], None]) -> None:
        """Connect, and serve the link until it breaks.

        Raises:
            Unreachable: it did not come up.
            Refused: nor will it, or not to where it was.
        """
        try:
            async with await open_stream(self._address) as stream, trio.open_nursery() as tasks:
                socket = await shake_hands(tasks, stream, self._address, self._token)
                tasks.start_soon(self._write, socket, up)
                await self._read(socket)
                tasks.cancel_scope.cancel(reason="the link broke")
        except BaseExceptionGroup as group:
            error = _why(group, self._address)
            if error is None:
                raise
            raise error from None
        finally:
            for waiter in self._waiting.values():
                if waiter.sent:
                    waiter.done.set()

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self._to_send.close()
        self._news.set()
        self._ears.wake_all()

    # Out

    def _request(self, method: str, params: Params | Mapping[str, Any]) -> tuple[int, _Waiter, bytes]:
        call_id = next(self._ids)
        waiter = self._waiting[call_id] = _Waiter(method, params)
        return call_id, waiter, encode_request(call_id, method, params if isinstance(params, Params) else dict(params))

    async def _write(self, socket: WebSocketConnection, up: Callable[[], None]) -> None:
        """The only task that sends: a send that is cancelled half-way would break the link for all."""
        try:
            if self._attached is not None:
                await self._attach_again(socket, self._attached)
            up()
            self._ears.wake_all()
            async for call_id, frame in self._to_send:
                if waiter := self._waiting.get(call_id):
                    waiter.sent = True
                    await socket.send_message(frame.decode())
        except (ConnectionClosed, Disconnected):
            return  # the reader notices, too, and ends the link

    async def _attach_again(self, socket: WebSocketConnection, attached: SessionAttachParams) -> None:
        """Take the session up where the last link left it, before anything else is asked on this one."""
        params = msgspec.structs.replace(attached, since=self._inbox.seen)
        call_id, waiter, frame = self._request("session.attach", params)
        try:
            waiter.sent = True
            await socket.send_message(frame.decode())
            await _outcome(waiter)
        except RequestError as error:
            raise Refused(f"the session cannot be taken up again: {error}") from error
        finally:
            del self._waiting[call_id]

    async def _catch_up(self) -> None:
        """Have the events sent again that were missed."""
        if self._attached is None:  # a session made in passing cannot be named
            self._inbox.behind = False
            return
        try:
            await self.call("session.attach", msgspec.structs.replace(self._attached, since=self._inbox.seen))
        except Disconnected:
            return  # the next link attaches by itself

    # In; without a checkpoint, so that what an answer changes holds for the very next frame

    async def _read(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                self._receive(await socket.get_message())
        except ConnectionClosed:
            return

    def _receive(self, frame: str | bytes) -> None:
        try:
            match decode_from_daemon(frame):
                case Answer(id=int(call_id)) as answer if waiter := self._waiting.get(call_id):
                    waiter.outcome = _read_answer(waiter.method, answer)
                    self._note_session(waiter)
                    waiter.done.set()
                case Event() as event:
                    self._ears.hear(self._inbox.hear(event))
                case _:
                    pass  # the answer to a call that was cancelled
        except msgspec.DecodeError as error:
            raise Unreachable(f"{self._address.shown} does not speak as a daemon of this version: {error}") from error
        self._news.set()

    def _note_session(self, waiter: _Waiter) -> None:
        match waiter.outcome:
            case SessionCreateResult() as made:
                self._attached = SessionAttachParams(id=made.id, run_id=made.run_id)
                self._inbox.attached(made.id, 0)
            case SessionAttachResult() as taken:
                asked = msgspec.convert(waiter.params, SessionAttachParams, from_attributes=True)
                self._attached = SessionAttachParams(id=taken.id, run_id=taken.run_id, deltas=asked.deltas)
                oldest = taken.oldest if taken.resync else None
                after = taken.last_event_id if asked.since is None else asked.since
                self._inbox.attached(taken.id, after, exact=asked.since is not None, resync=oldest)
            case _:
                pass


def _read_answer(name: str, answer: Answer) -> object:
    """Return the result, or the exception to raise instead."""
    if answer.error is not None:
        return RequestError(answer.error)
    method = METHODS.get(name)
    try:
        return msgspec.json.decode(answer.result or b"null", type=method.result if method else Any)
    except msgspec.DecodeError as error:
        return ClientError(f"the daemon's answer to {name} is of another version: {error}")


async def _outcome(waiter: _Waiter) -> object:
    await waiter.done.wait()
    if isinstance(waiter.outcome, Exception):
        raise waiter.outcome
    return waiter.outcome


def _why(group: BaseExceptionGroup[BaseException], address: Address) -> Unreachable | None:
    """Return why no link came up; None when ``group`` holds anything else, a cancellation for one."""
    known, rest = group.split((Unreachable, ConnectionRejected))
    if known is None or rest is not None:
        return None
    leaf: BaseException = known
    while isinstance(leaf, BaseExceptionGroup):
        leaf = cast("BaseException", leaf.exceptions[0])
    return refusal(leaf, address) if isinstance(leaf, ConnectionRejected) else cast("Unreachable", leaf)


open_client = Client.open
