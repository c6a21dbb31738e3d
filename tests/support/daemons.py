"""Real daemons: one in this process, one in a process of its own that can be killed; and a plain client of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from plurnk.config import Settings, load_settings
from plurnk.server.daemon import run
from tests.support.forked import Forks


def environment(home: Path, **more: str) -> dict[str, str]:
    """A world of its own for a daemon: nothing of the machine's settings, any free port."""
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PLURNK_PORT": "0",
        "PLURNK_SOCKET": "",
        "OLLAMA_HOST": "127.0.0.1:1",  # Refuses: a server that runs on this machine is not to be found.
        **more,
    }


def settings_in(home: Path, **more: str) -> Settings:
    return load_settings(environment(home, **more), {}, cwd=home)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """A daemon in this process; yields its URL. Leaving the block stops it in good order."""
    stop, hurry = trio.Event(), trio.Event()
    urls, ready = trio.open_memory_channel[str](1)
    async with trio.open_nursery() as daemon:
        daemon.start_soon(partial(run, settings, ready=urls.send_nowait, stop=stop, hurry=hurry))
        with trio.fail_after(30):
            url = await ready.receive()
        try:
            yield url
        finally:
            stop.set()
            hurry.set()


def _spawned(program: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", *program], env=dict(environ), stdout=pipe, stderr=pipe, text=True)


class DaemonProcess:
    """``plurnk serve``, or such a module, in a process of its own; killed, if need be, when the block is left.

    ``forks``: who starts it, where many are started.
    """

    def __init__(
        self, environ: Mapping[str, str], program: Sequence[str] = ("plurnk", "serve"), *, forks: Forks | None = None
    ) -> None:
        self._process = forks.start(program, environ) if forks else _spawned(program, environ)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("ws://"), self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()

    def see_killed(self) -> None:
        """Wait for its end, and see that it was a kill: by us, or by itself."""
        self._process.communicate(timeout=20)
        assert self._process.returncode == -signal.SIGKILL

    def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit code and what it said on stderr."""
        self._process.terminate()
        _out, err = self._process.communicate(timeout=20)
        assert self._process.returncode is not None
        return self._process.returncode, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()  # for one that is gone, nothing but its pipes are closed


class Refusal(Exception):
    """An error reply."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data: dict[str, Any] = error["data"]


class PlainClient:
    """One request at a time, every notification kept: an independent reading of SPEC 6."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self._next_id = 0
        self._listened = 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request.

        Raises:
            Refusal: the answer is an error.
        """
        self._next_id += 1
        request = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        await self.socket.send_message(json.dumps(request))
        while True:
            message = await self.receive()
            if message.get("id") == self._next_id:
                if "error" in message:
                    raise Refusal(message["error"])
                result: dict[str, Any] = message["result"]
                return result

    async def receive(self) -> dict[str, Any]:
        """The next message; a notification is kept, too."""
        message: dict[str, Any] = json.loads(await self.socket.get_message())
        if "method" in message:
            self.heard.append(message)
        return message

    async def hear_until(self, method: str) -> dict[str, Any]:
        """The params of the next notification of ``method``, which may have come before the reply to a call."""
        while True:
            while self._listened < len(self.heard):
                message = self.heard[self._listened]
                self._listened += 1
                if message["method"] == method:
                    params: dict[str, Any] = message["params"]
                    return params
            await self.receive()

    async def told(self, method: str, **having: Any) -> dict[str, Any]:
        """The params of the first notification of ``method`` that has these params, if need be of one yet to come."""
        place = 0
        while True:
            for message in self.heard[place:]:
                if message["method"] == method and having.items() <= message["params"].items():
                    params: dict[str, Any] = message["params"]
                    return params
            place = len(self.heard)
            await self.receive()

    def durable(self) -> list[tuple[int, str]]:
        """What was heard that has an eventId: the id and the method, in order."""
        return [(m["params"]["eventId"], m["method"]) for m in self.heard if "eventId" in m["params"]]


@asynccontextmanager
async def plain_client(url: str, **headers: str) -> AsyncIterator[PlainClient]:
    """A client at ``url``, ``ws://host:port``."""
    address = url.removeprefix("ws://")
    host, _, port = address.rpartition(":")
    try:
        # Our own stream: trio-websocket does not close one that was reset.
        async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as tasks:
            socket = await wrap_client_stream(
                tasks,
                stream,
                headers.pop("host", address),
                "/",
                extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                max_message_size=64 * 1024 * 1024,
            )
            yield PlainClient(socket)
            with trio.move_on_after(1):
                await socket.aclose()
            tasks.cancel_scope.cancel(reason="the client has left")
    except BaseExceptionGroup as group:
        # A test's own error is more use alone.
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None  # noqa: ASYNC123
        raise


GONE = (ConnectionClosed, OSError)
"""What a client gets whose daemon was killed."""
