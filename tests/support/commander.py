"""Commands through a daemon: one client asks, another one accepts whatever is proposed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.support.daemons import PlainClient, plain_client


class Commander:
    """``asker`` is free for any request; what it asks to run is accepted by somebody else."""

    def __init__(self, asker: PlainClient, session_id: int, judging: trio.CancelScope) -> None:
        self.asker = asker
        self.session_id = session_id
        self._judging = judging

    def leave_judging_to_the_test(self) -> None:
        self._judging.cancel(reason="the test decides")

    async def exec(self, command: str, runtime: str = "sh", **more: Any) -> dict[str, Any]:
        """The result of an EXEC that was accepted."""
        return await self.asker.call("op.exec", command=command, runtime=runtime, **more)

    async def run(self, command: str, runtime: str = "sh", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run a command to its end: what ``stream/concluded`` said of it, and its entry's channels."""
        result = await self.exec(command, runtime, **more)
        assert result["status"] == 102, result
        concluded = await self.concluded(result["entry"])
        return concluded, await self.channels(result["entry"])

    async def concluded(self, target: str) -> dict[str, Any]:
        """What ``stream/concluded`` says, or said, of that entry."""
        while True:
            for message in self.asker.heard:
                if message["method"] == "stream/concluded" and message["params"]["target"] == target:
                    params: dict[str, Any] = message["params"]
                    return params
            await self.asker.receive()

    async def channels(self, target: str, **more: Any) -> dict[str, Any]:
        read = await self.asker.call("entry.read", target=target, **more)
        assert read["status"] == 200, read
        channels: dict[str, Any] = read["entry"]["channels"]
        return channels


@asynccontextmanager
async def commander(url: str, root: Path | None, *, session_id: int | None = None) -> AsyncIterator[Commander]:
    """In a new session with that project root, or in one that is there."""
    async with plain_client(url) as asker, plain_client(url) as judge, trio.open_nursery() as judging:
        if session_id is None:
            created = await asker.call("session.create", **({"projectRoot": str(root)} if root else {}))
            session_id = int(created["id"])
        else:
            await asker.call("session.attach", id=session_id, since=0)
        await judge.call("session.attach", id=session_id)
        scope = trio.CancelScope()
        judging.start_soon(_accept_all, judge, scope)
        yield Commander(asker, session_id, scope)
        scope.cancel(reason="nothing more is asked")


async def _accept_all(judge: PlainClient, scope: trio.CancelScope) -> None:
    with scope:
        while True:
            proposal = await judge.hear_until("loop/proposal")
            await judge.call("loop.resolve", logEntryId=proposal["logEntryId"], decision="accept")
