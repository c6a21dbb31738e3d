"""A fake daemon that has a session, a model and a loop, for the command line to watch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from plurnk.wire.answers import ProposalView
from tests.support.fake_daemon import FakeDaemon, Json, Peer
from tests.support.home import Home
from tests.support.log_entries import log_entry
from tests.support.proposal_views import of_command

LOOP = 5
ROW = 7
USAGE = {"prompt": 10, "completion": 5, "cached": 0, "reasoning": 0, "costPico": 20_000_000_000}


class LoopDaemon(FakeDaemon):
    """Knows sessions and one model; ``script`` is what a loop tells once it was asked for."""

    def __init__(self, script: Callable[[LoopDaemon], None]) -> None:
        super().__init__()
        self.script = script
        self.project_root: str | None = None
        self.handlers |= {
            "session.list": lambda _peer, _params: {"sessions": [self.session]},
            "session.runs": lambda _peer, _params: {"runs": []},
            "providers.list": lambda _peer, _params: {
                "aliases": [{"alias": "big", "provider": "openai", "model": "gpt-x", "active": True}]
            },
            "loop.run": self._run,
            "loop.cancel": self._cancel,
        }

    @property
    def session(self) -> Json:
        return {
            "id": 1,
            "name": "older",
            "project_root": self.project_root,
            "persona": None,
            "created_at": "2026-01-01T00:00:00Z",
            "cost_pico": 0,
            "archived": False,
        }

    def _run(self, peer: Peer, _params: Json) -> Json:
        before = len(self.events)
        self.script(self)
        # Sent behind the answer as well: what comes first must not matter.
        peer.afterwards += self.events[before:]
        return {
            "loopId": LOOP,
            "turnIds": [],
            "finalStatus": 100,
            "hitMaxTurns": False,
            "reason": None,
            "usage": USAGE,
            "action": "enqueued_new_loop",
        }

    def _cancel(self, _peer: Peer, _params: Json) -> Json:
        self.ends(499, "cancelled")
        return {"cancelled": True, "runId": 1, "reason": "Ctrl-C", "loopId": LOOP}

    def row(self, *, method: str = "log/entry", **fields: Any) -> None:
        entry = json.loads(msgspec.json.encode(log_entry(loop_id=LOOP, **fields)))
        self.publish(method, {"entry": entry})

    def says(self, code: int, text: str) -> None:
        self.row(op="SEND", signal=code, tx={"body": {"raw": text, "json": None}})

    def ends(self, status: int, reason: str | None = None, *, hit_max_turns: bool = False) -> None:
        params = {"loopId": LOOP, "runId": 1, "finalStatus": status, "hitMaxTurns": hit_max_turns}
        self.publish("loop/terminated", {**params, "reason": reason, "usage": USAGE})

    # Commands

    def proposes(self, command: str, *, row: int = ROW, loop: int = LOOP, **flags: bool) -> None:
        """Tell of an EXEC that waits to be accepted."""
        self.tells_of(of_command(command, log_entry_id=row, loop_id=loop, flags={"yolo": False, **flags}))

    def tells_of(self, proposal: ProposalView) -> None:
        """Tell of what waits to be accepted, as its row and as a proposal."""
        row: dict[str, Any] = {"id": proposal.log_entry_id, "op": proposal.op, "status_rx": 202, "state": "proposed"}
        self.row(**row, pathname=proposal.target.pathname, tx={"body": proposal.body})
        told = {"sessionId": 1, **msgspec.to_builtins(proposal)}
        del told["at"]
        self.publish("loop/proposal", told)

    def decided(self, status: int, *, outcome: str | None = None, state: str = "resolved") -> None:
        """Tell what became of it; 102: it runs as ``exec://sh-1``."""
        rx = {"entry": "exec://sh-1", "subscriptionId": 3} if status == 102 else {"error": "it was rejected"}
        fields = {"status_rx": status, "rx": rx, "state": state, "outcome": outcome}
        self.row(method="log/updated", id=ROW, op="EXEC", tx={"body": "make"}, **fields)

    def grows(self, length: int, *, channel: str = "stdout", state: str = "active", **other: Any) -> None:
        params = {"entryId": 9, "target": "exec://sh-1", "channel": channel, "state": state, **other}
        self.tell({"method": "stream/event", "params": {**params, "contentLength": length}})

    def concludes(self, status: int = 200, exit_code: int | None = 0) -> None:
        self.publish(
            "stream/concluded",
            {
                "sessionId": 1,
                "runId": 1,
                "entryId": 9,
                "target": "exec://sh-1",
                "subscriptionId": 3,
                "closeStatus": status,
                "scheme": "exec",
                "summary": f"exec://sh-1 ended with exit code {exit_code} after 0.1 s; 3 bytes on stdout, 0 on stderr",
                **({} if exit_code is None else {"exitCode": exit_code}),
                "stdoutBytes": 3,
                "stderrBytes": 0,
                "durationMs": 100,
                "wakeAction": "no-op-active-loop",
            },
        )


@asynccontextmanager
async def served(home: Home, daemon: FakeDaemon) -> AsyncIterator[None]:
    """Have ``daemon`` answer on the socket of ``home``."""
    home.socket.parent.mkdir(parents=True)
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(home.socket))
    listening.listen()
    async with daemon.listening([trio.SocketListener(listening)]):
        yield
