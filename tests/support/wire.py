"""Memory streams between clients and a fake daemon, which can be cut."""

from __future__ import annotations

import trio
import trio.testing

from plurnk.client.link import Address
from tests.support.fake_daemon import FakeDaemon


class Wire:
    """Lets clients dial ``daemon``, as long as it is up."""

    def __init__(self, daemon: FakeDaemon, tasks: trio.Nursery) -> None:
        self.daemon = daemon
        self.up = True
        self.dialled = 0
        self._tasks = tasks

    async def dial(self) -> trio.abc.Stream:
        self.dialled += 1
        if not self.up:
            raise ConnectionRefusedError("down")
        mine, theirs = trio.testing.memory_stream_pair()
        self._tasks.start_soon(self.daemon.serve_stream, theirs)
        return mine

    @property
    def address(self) -> Address:
        return Address(self.dial, "localhost", "the daemon")
