"""``plurnk run``: a prompt in, a waterfall to watch, an answer out."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import INTERRUPTED, OK, OTHER, TURN_LIMIT
from plurnk.cli.money import money
from plurnk.cli.rows import answer_of, printable
from plurnk.cli.waterfall import Waterfall, open_waterfall
from plurnk.cli.workspace import all_sessions, attach, create, named
from plurnk.client import Client, ClientError, Disconnected, Heard, RequestError, Resync
from plurnk.errors import Malformed
from plurnk.wire.answers import LoopRunResult, ProvidersListResult, SessionRunsResult
from plurnk.wire.notifications import LogEntry, LogEntryAdded, LoopTerminated, Notification, TelemetryEvent
from plurnk.wire.params import LoopFlags, LoopRunParams, SessionSetRootParams

_EARLIER_SHOWN: Final = 3
_DONE: Final = 200
_CANCELLED: Final = 499


def main(options: argparse.Namespace) -> int:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    if not prompt.strip():
        raise Malformed("the prompt is empty")
    root = None if options.headless else str(Path(options.root or ".").resolve())

    async def work(client: Client) -> int:
        started_at = time.monotonic()
        with open_waterfall(rows=not options.json) as shown:
            watch = _Watch(client, shown, as_json=options.json)
            with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(watch.heed, interrupts, tasks.cancel_scope)
                    await _enter(client, shown, options, root)
                    await watch.loop(_request(prompt, options))
                    tasks.cancel_scope.cancel(reason="the loop has ended")
        return watch.conclude(time.monotonic() - started_at)

    return with_daemon(options, work, failed=OTHER)


def _request(prompt: str, options: argparse.Namespace) -> LoopRunParams:
    """Not waited for: the end comes as a notification, and so survives a daemon that restarts."""
    flags = LoopFlags(yolo=options.yolo, mode="ask" if options.ask else "act")
    return LoopRunParams(
        prompt=prompt,
        max_turns=options.max_turns,
        alias=options.alias,
        flags=None if flags == LoopFlags() else flags,
        wait=False,
    )


async def _enter(client: Client, shown: Waterfall, options: argparse.Namespace, root: str | None) -> None:
    """Choose the session and tell which it is, what came before it, and who answers."""
    sessions = await all_sessions(client)
    session = None if options.session is None else named(options.session, sessions)
    if session is None:
        made = await create(client, options.session, root)
        name, root = made.name, made.project_root
    else:
        attached = await attach(client, session)
        name = attached.name
        if options.root or options.headless:
            await client.call("session.set_root", SessionSetRootParams(project_root=root))
        else:
            root = attached.project_root
    earlier = [other.name for other in sessions if other.name != name]
    shown.note(f"session {name}, {f'on {root}' if root else 'without a project directory'}; {_earlier(earlier)}")
    shown.note(await _who_answers(client, options.alias))


def _earlier(names: list[str]) -> str:
    """Say how many earlier sessions there are, and the newest of them."""
    if not names:
        return "the first one"
    more = ", …" if len(names) > _EARLIER_SHOWN else ""
    return f"{len(names)} earlier: {', '.join(names[:_EARLIER_SHOWN])}{more}"


async def _who_answers(client: Client, wanted: str | None) -> str:
    providers: ProvidersListResult = await client.call("providers.list")
    for alias in providers.aliases:
        if alias.alias == wanted if wanted else alias.active:
            if alias.provider == "demo":
                return (
                    "model: none. This is the demo that comes with plurnk; PLURNK_MODEL chooses a real one (see README)"
                )
            return f"model {alias.alias}: {alias.model} by {alias.provider}"
    return f"model {wanted or 'not configured'}"


class _Watch:
    """One loop, from the request to its end."""

    def __init__(self, client: Client, shown: Waterfall, *, as_json: bool) -> None:
        self._client = client
        self._shown = shown
        self._as_json = as_json
        self._interrupted = False
        self._loop_id: int | None = None
        self._turn = 0
        self._cost_before: int | None = None
        self._answer: str | None = None
        self._end: LoopTerminated | None = None

    async def loop(self, request: LoopRunParams) -> None:
        """Have it run, and show what comes until it ends.

        Raises:
            ClientError: the end can no longer be heard.
        """
        started: LoopRunResult = await self._client.call("loop.run", request)
        self._loop_id = started.loop_id
        if started.action == "injected_next_turn":
            self._shown.note("the session is at work; its model sees this with its next turn")
        async for heard in self._client.notifications():
            if self._as_json:
                print(_json_line(heard), flush=True)
            match heard:
                case LogEntryAdded(entry=entry) if entry.loop_id == self._loop_id:
                    self._shown.row(entry)
                    await self._tick(entry)
                    if (answer := answer_of(entry)) is not None:
                        self._answer = answer
                case TelemetryEvent(loop_id=self._loop_id, event=event) if not self._as_json:
                    self._shown.note(f"! {event.get('message') or event.get('kind')}")
                case LoopTerminated(loop_id=self._loop_id):
                    self._end = heard
                    return
                case Resync():
                    raise ClientError("the daemon no longer has all that happened meanwhile; see plurnk log")
                case _:
                    pass

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
            await self._client.call("loop.cancel", {"reason": "Ctrl-C"})
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
        how = "done" if status == _DONE else f"ended with {status}" + (f", {reason}" if reason else "")
        print(f"{how} after {elapsed_s:.1f} s, {money(self._end.usage.cost_pico)}", file=sys.stderr)
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
        self._shown.tick(self._turn, cost - self._cost_before)


def _json_line(heard: Heard) -> str:
    if isinstance(heard, Notification):
        value: object = {"method": heard.method, "params": heard}
    elif isinstance(heard, Resync):
        value = {"method": "client/resync", "params": heard}
    else:
        value = heard
    return msgspec.json.encode(value).decode()
