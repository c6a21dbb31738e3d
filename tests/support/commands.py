"""Commands without processes: what a stream of theirs does is up to the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from plurnk.errors import Conflict, Malformed, Unsupported
from plurnk.plugins.api import CommandGrant, CommandOrder, Conclusion, Feed, ReadyCommand, Work


@dataclass(eq=False)
class FakeCommands:
    """Runtimes that say the command back on stdout. ``cat`` goes on and says what it is sent, until that is closed.

    ``ran`` has what was accepted, in order: command and grant.
    """

    runtimes: tuple[str, ...] = ("sh", "python")
    ran: list[tuple[str, CommandGrant]] = field(default_factory=list[tuple[str, CommandGrant]])
    prepared: list[CommandOrder] = field(default_factory=list[CommandOrder])
    takes_bytes: int = 1_000_000

    async def prepare(self, order: CommandOrder) -> ReadyCommand:
        await trio.lowlevel.checkpoint()
        self.prepared.append(order)
        if not order.command.strip():
            raise Malformed("EXEC needs a command in its body")
        if order.runtime not in self.runtimes:
            listed = f"there are {', '.join(self.runtimes)}" if self.runtimes else "there are none"
            raise Unsupported(f"runtime '{order.runtime}' is not installed; {listed}")
        return FakeCommand(self, order)


@dataclass(frozen=True)
class FakeCommand:
    commands: FakeCommands
    order: CommandOrder

    @property
    def attrs(self) -> Mapping[str, Any]:
        return {
            "runtime": self.order.runtime,
            "cwd": self.order.cwd or ".",
            "command": self.order.command,
            "sandbox": {"profile": "workspace", "network": False, "writable": ["/project"]},
            "timeoutMs": 0,
        }

    def work(self, command: str, grant: CommandGrant) -> Work:
        async def run(feed: Feed) -> Conclusion:
            self.commands.ran.append((command, grant))
            if command == "cat":
                return await _cat(feed, self.commands.takes_bytes)
            if command == "sleep":
                await trio.sleep_forever()
            await feed.append("stdout", command.encode())
            return Conclusion(status=200, exit_code=0)

        return run


class _Cup:
    def __init__(self, feed: Feed, takes_bytes: int) -> None:
        self._feed = feed
        self._takes_bytes = takes_bytes
        self.closed = trio.Event()

    async def send(self, data: bytes) -> int:
        if self.closed.is_set():
            raise Conflict("its stdin is closed")
        taken = data[: self._takes_bytes]
        await self._feed.append("stdin", taken)
        await self._feed.append("stdout", taken)
        return len(taken)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self.closed.set()


async def _cat(feed: Feed, takes_bytes: int) -> Conclusion:
    cup = _Cup(feed, takes_bytes)
    feed.take_from(cup)
    await cup.closed.wait()
    return Conclusion(status=200, exit_code=0)
