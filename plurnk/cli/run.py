"""``plurnk run``: a prompt in, a waterfall to watch, an answer out."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Final

import trio

from plurnk.cli.chosen import otherwise, who_answers
from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import OTHER
from plurnk.cli.settings import load
from plurnk.cli.watch import Watch
from plurnk.cli.waterfall import Waterfall, open_waterfall
from plurnk.cli.workspace import all_sessions, attach, create, named
from plurnk.client import Client
from plurnk.config import Settings
from plurnk.errors import Malformed
from plurnk.wire.answers import ProvidersListResult
from plurnk.wire.params import LoopFlags, LoopRunParams, SessionAttachParams, SessionSetRootParams

_EARLIER_SHOWN: Final = 3


def main(options: argparse.Namespace) -> int:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    if not prompt.strip():
        raise Malformed("the prompt is empty")
    settings = load(options)
    root = None if options.headless else str(Path(options.root or ".").resolve())

    async def work(client: Client) -> int:
        started_at = time.monotonic()
        with open_waterfall(rows=not options.json) as shown:
            watch = Watch(client, shown, settings, yolo=options.yolo, as_json=options.json)
            with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(watch.heed, interrupts, tasks.cancel_scope)
                    session, run_id = await _enter(client, shown, options, root, settings)
                    await watch.loop(_request(prompt, options), session, run_id, tasks)
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


async def _enter(
    client: Client, shown: Waterfall, options: argparse.Namespace, root: str | None, settings: Settings
) -> tuple[str, int]:
    """Choose the session and tell which it is, what came before it, and who answers.

    Returns its name, and its run's id.
    """
    sessions = await all_sessions(client)
    session = None if options.session is None else named(options.session, sessions)
    if session is None:
        made = await create(client, options.session, root)
        name, root, run_id = made.name, made.project_root, made.run_id
        if shown.live:
            await client.call("session.attach", SessionAttachParams(id=made.id, deltas=True))
    else:
        attached = await attach(client, session, deltas=shown.live)
        name, run_id = attached.name, attached.run_id
        if options.root or options.headless:
            await client.call("session.set_root", SessionSetRootParams(project_root=root))
        else:
            root = attached.project_root
    earlier = [other.name for other in sessions if other.name != name]
    shown.note(f"session {name}, {f'on {root}' if root else 'without a project directory'}; {_earlier(earlier)}")
    providers: ProvidersListResult = await client.call("providers.list")
    shown.note(who_answers(providers, options.alias))
    if other := otherwise(settings, providers, options.alias):
        shown.note(f"! {other}")
    return name, run_id


def _earlier(names: list[str]) -> str:
    """Say how many earlier sessions there are, and the newest of them."""
    if not names:
        return "the first one"
    more = ", …" if len(names) > _EARLIER_SHOWN else ""
    return f"{len(names)} earlier: {', '.join(names[:_EARLIER_SHOWN])}{more}"
