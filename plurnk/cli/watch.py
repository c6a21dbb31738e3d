"""One loop as a command watches it, from the request to its end."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import trio

from plurnk.cli.chosen import how_to_restart
from plurnk.cli.deciding import Decider
from plurnk.cli.exits import INTERRUPTED, OK, OTHER, TURN_LIMIT
from plurnk.cli.money import spent
from plurnk.cli.rows import answer_of, how_to_answer, printable, target_of
from plurnk.cli.tails import Tails
from plurnk.cli.waterfall import Waterfall
from plurnk.client import Client, ClientError, Disconnected, Heard, RequestError, Resync
from plurnk.config import Settings
from plurnk.wire.answers import LoopRunResult, SessionRunsResult
from plurnk.wire.notifications import (
    LogEntry,
    LogEntryAdded,
    LogEntryUpdated,
    LoopProposal,
    LoopTerminated,
    Notification,
    StreamConcluded,
    StreamEvent,
    TelemetryEvent,
    TurnDelta,
)
from plurnk.wire.params import LoopRunParams

_DONE: Final = 200
_CANCELLED: Final = 499
_SAID_BY_ROWS: Final = {"action_failure"}
_STRUCK_OUT: Final = "strike_threshold"
_OUR_FAULT: Final = "internal_error"
_PROVIDER_ERROR: Final = "provider_error"
_KEY_REFUSED: Final = re.compile(r"\bthe provider answered 40[13]\b")


class Watch:
    """One loop: its rows, what it proposes, and the streams that it starts."""

    def __init__(self, client: Client, shown: Waterfall, settings: Settings, *, yolo: bool, as_json: bool) -> None:
        self._client = client
        self._shown = shown
        self._settings = settings
        self._yolo = yolo
        self._as_json = as_json
        self._session = ""
        self._run_id: int | None = None
        self._tails = Tails(client, shown)
        self._interrupted = False
        self._loop_id: int | None = None
        self._turn = 0
        self._cost_before: int | None = None
        self._live: list[str] = []
        self._concluded: set[str] = set()
        self._answer: str | None = None
        self._told_why = False
        self._end: LoopTerminated | None = None

    async def loop(self, request: LoopRunParams, session: str, run_id: int, tasks: trio.Nursery) -> None:
        """Have it run in that run, and show what comes until it ends. ``tasks`` holds what goes on beside.

        Raises:
            ClientError: the end can no longer be heard.
        """
        self._session, self._run_id = session, run_id
        decider = Decider(self._client, self._shown, tasks, yolo=self._yolo)
        started: LoopRunResult = await self._client.call("loop.run", request)
        self._loop_id = started.loop_id
        if started.action == "injected_next_turn":
            self._shown.note("the session is at work; its model sees this with its next turn")
            for proposal in await self._client.proposals():
                if proposal.loop_id == self._loop_id:
                    decider.take(proposal)
        if self._shown.live:
            tasks.start_soon(self._tails.keep_showing)
        async for heard in self._client.notifications():
            if self._as_json:
                print(_json_line(heard), flush=True)
            await decider.hear(heard)
            if isinstance(heard, LoopProposal) and heard.loop_id == self._loop_id:
                decider.take(heard)
            await self._hear(heard)
            if self._end is not None:
                return

    async def _hear(self, heard: Heard) -> None:
        match heard:
            case LogEntryAdded(entry=entry) if entry.loop_id == self._loop_id:
                self._row(entry)
                await self._tick(entry)
            case LogEntryUpdated(entry=entry) if entry.loop_id == self._loop_id:
                self._row(entry)
            case StreamEvent(target=target) if target in self._live:
                self._tails.hear(heard)
                if heard.awaiting_input is True:
                    self._shown.note(how_to_answer(target, self._session))
            case StreamConcluded(run_id=self._run_id):
                self._conclude(heard)
            case TelemetryEvent(loop_id=self._loop_id, event=event):
                if not self._as_json and event.get("kind") not in _SAID_BY_ROWS:
                    self._shown.note(f"! {event.get('message') or event.get('kind')}")
                self._told_why = self._told_why or event.get("kind") == _PROVIDER_ERROR
            case TurnDelta(loop_id=self._loop_id):
                self._shown.delta(heard)
            case LoopTerminated(loop_id=self._loop_id):
                self._end = heard
                if heard.error and not self._as_json and not self._told_why:
                    self._shown.note(f"! {heard.error}")
                if _KEY_REFUSED.search(heard.error or ""):
                    restart = how_to_restart(self._settings)
                    self._shown.note(f"  the key is the one that was set when the daemon started; {restart}")
            case Resync():
                raise ClientError("the daemon no longer has all that happened meanwhile; see plurnk log")
            case _:
                pass

    def _row(self, entry: LogEntry) -> None:
        if entry.op == "EXEC" and entry.origin == "system":
            # It tells the model how a stream ended, which was told here when it did, unless it was before.
            if target_of(entry) not in self._concluded:
                self._shown.row(entry)
            return
        self._shown.row(entry)
        if (answer := answer_of(entry)) is not None:
            self._answer = answer
        started = entry.rx.get("entry")
        if isinstance(started, str) and started not in self._live and started not in self._concluded:
            self._live.append(started)

    def _conclude(self, ended: StreamConcluded) -> None:
        if ended.target in self._live:
            self._live.remove(ended.target)
        self._concluded.add(ended.target)
        self._tails.forget(ended.target)
        self._shown.conclusion(ended)

    async def heed(self, interrupts: AsyncIterator[int], leave: trio.CancelScope) -> None:
        """At the first Ctrl-C cancel the loop; leave at the second, or when there is no loop yet."""
        async with trio.open_nursery() as cancelling:
            async for _ in interrupts:
                if self._interrupted or self._loop_id is None:
                    leave.cancel(reason="Ctrl-C")
                else:
                    self._interrupted = True
                    self._shown.note("cancelling the loop; Ctrl-C again leaves without waiting")
                    cancelling.start_soon(self._cancel)

    async def _cancel(self) -> None:
        try:
            await self._client.call("loop.cancel", {"reason": "Ctrl-C", "loopId": self._loop_id})
        except (ClientError, RequestError) as error:
            self._shown.note(f"it could not be cancelled: {error}")

    def conclude(self, elapsed_s: float) -> int:
        """Print the answer and how it ended, and return the exit code."""
        if self._end is None:
            return INTERRUPTED
        if self._answer is not None and not self._as_json:
            answer = printable(self._answer) if sys.stdout.isatty() else self._answer
            print(answer, end="" if answer.endswith("\n") else "\n")
        status, reason = self._end.final_status, self._end.reason
        if reason == _OUR_FAULT:
            log = self._settings.state_dir / "daemon.log"
            print(f"! this is a fault of plurnk's; {log} says more", file=sys.stderr)
        if self._live:
            print(f"{', '.join(self._live)} {'goes' if len(self._live) == 1 else 'go'} on; plurnk ps", file=sys.stderr)
        if reason == _STRUCK_OUT:
            session = shlex.quote(self._session)
            print(f"plurnk packet --session {session} shows what the model was sent, and said", file=sys.stderr)
        how = "done" if status == _DONE else f"ended with {status}" + (f", {reason}" if reason else "")
        print(", ".join(filter(None, (f"{how} after {elapsed_s:.1f} s", spent(self._end.usage)))), file=sys.stderr)
        if status == _DONE:
            return OK
        if self._interrupted and status == _CANCELLED:
            return INTERRUPTED
        return TURN_LIMIT if self._end.hit_max_turns else OTHER

    async def _tick(self, entry: LogEntry) -> None:
        """At a new turn tell what the run has cost; the books are kept by turns."""
        if not self._shown.live or entry.turn_seq == self._turn:
            return
        self._turn = entry.turn_seq
        try:
            runs: SessionRunsResult = await self._client.call("session.runs")
        except Disconnected:
            return  # no reason to stop watching
        cost = sum(run.cost_pico for run in runs.runs if run.id == entry.run_id)
        self._cost_before = cost if self._cost_before is None else self._cost_before
        self._shown.cost(cost - self._cost_before)


def _json_line(heard: Heard) -> str:
    if isinstance(heard, Notification):
        value: object = {"method": heard.method, "params": heard}
    elif isinstance(heard, Resync):
        value = {"method": "client/resync", "params": heard}
    else:
        value = heard
    return msgspec.json.encode(value).decode()
