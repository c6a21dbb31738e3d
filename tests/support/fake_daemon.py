"""A daemon made of a table: it answers as it is told, numbers and replays its events, and hangs up on demand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

Json: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[["Peer", Json], Json | Awaitable[Json]]


class Refusal(Exception):
    """Raise it in a handler to answer with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Peer:
    """One client. All that it is sent waits in order, without bound: a test sends little."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.attached: int | None = None
        self.afterwards: list[Json] = []  # to follow the answer under way
        self.outbox, self.to_send = trio.open_memory_channel[Json](10_000)

    def send(self, message: Json) -> None:
        self.outbox.send_nowait({"jsonrpc": "2.0", **message})


class FakeDaemon:
    """Knows one session, number 1; what the tests need beyond that they put into ``handlers``."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Json]] = []
        self.events: list[Json] = []
        self.peers: list[Peer] = []
        self.refuse_with: int | None = None
        self.handlers: dict[str, Handler] = {
            "ping": lambda _peer, _params: {},
            "session.create": self._create,
            "session.attach": self._attach,
        }

    def publish(self, method: str, params: Json) -> None:
        """Tell a durable event to everyone who is attached, and keep it."""
        event = {"method": method, "params": {**params, "eventId": len(self.events) + 1}}
        self.events.append(event)
        self.tell(event)

    def tell(self, event: Json) -> None:
        for peer in self.peers:
            if peer.attached:
                peer.send(event)

    async def hang_up(self) -> None:
        """Vanish as a crash does, without a close frame."""
        for peer in self.peers:
            await trio.aclose_forcefully(peer.stream)
        self.peers.clear()

    @asynccontextmanager
    async def listening(self, listeners: Sequence[trio.SocketListener]) -> AsyncIterator[None]:
        async with trio.open_nursery() as tasks:
            await tasks.start(trio.serve_listeners, self.serve_stream, listeners)
            yield
            tasks.cancel_scope.cancel()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        async with stream, trio.open_nursery() as tasks:
            request = await wrap_server_stream(tasks, cast("trio.SocketStream", stream))
            if self.refuse_with is not None:
                await request.reject(self.refuse_with, body=b"not you")
            else:
                peer = Peer(stream)
                self.peers.append(peer)
                socket = await request.accept()
                tasks.start_soon(self._write, peer, socket)
                await self._read(peer, socket, tasks)
            tasks.cancel_scope.cancel()

    async def _read(self, peer: Peer, socket: WebSocketConnection, tasks: trio.Nursery) -> None:
        try:
            while True:
                request = json.loads(await socket.get_message())
                self.requests.append((request["method"], request["params"]))
                tasks.start_soon(self._answer, peer, request)
        except ConnectionClosed:
            return

    async def _write(self, peer: Peer, socket: WebSocketConnection) -> None:
        try:
            async for message in peer.to_send:
                await socket.send_message(json.dumps(message))
        except ConnectionClosed:
            return

    async def _answer(self, peer: Peer, request: Json) -> None:
        handler = self.handlers.get(request["method"], _no_such_method)
        try:
            result = handler(peer, request["params"])
            if not isinstance(result, dict):
                result = await result
        except Refusal as error:
            peer.send({"id": request["id"], "error": {"code": error.code, "message": str(error), "data": {}}})
        else:
            peer.send({"id": request["id"], "result": result})
            for event in peer.afterwards:
                peer.send(event)
            peer.afterwards.clear()

    def _create(self, peer: Peer, params: Json) -> Json:
        peer.attached = 1
        return {
            "id": 1,
            "name": params.get("name") or "session-1",
            "projectRoot": params.get("projectRoot"),
            "persona": None,
            "runId": 1,
            "runName": "main",
        }

    def _attach(self, peer: Peer, params: Json) -> Json:
        if params["id"] != 1:
            raise Refusal(-32001, f"no session {params['id']}")
        peer.attached = 1
        if params.get("since") is not None:
            peer.afterwards += self.events[params["since"] :]
        return {
            "id": 1,
            "name": "session-1",
            "runId": 1,
            "runName": "main",
            "projectRoot": None,
            "lastEventId": len(self.events),
        }


def _no_such_method(_peer: Peer, _params: Json) -> Json:
    raise Refusal(-32601, "no such method")
