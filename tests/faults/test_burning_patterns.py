"""Patterns that never end, and a daemon that is told to stop or killed meanwhile: no process is left of either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.daemons import GONE, DaemonProcess, environment, plain_client
from tests.support.desk import until
from tests.support.processes import children, is_ended
from tests.support.source import ROOT

LONG_AFTER_S = 60.0
CATASTROPHE = "/(a+)+!/"
CONTENT = "a" * 10_000

POOL = f"""
import trio
from plurnk.content.matching import Subject
from plurnk.language.ast import RegexMatcher
from plurnk.workers.pool import open_workers
from plurnk.workers.tasks import MatchEach

async def main():
    async def ask(content, event):
        matcher = RegexMatcher(raw="/(a+)+!/", pattern="(a+)+!", flags="")
        subject = Subject(data=content, mimetype="text/plain")
        await pool.ask(MatchEach(matcher=matcher, subjects=(subject,), limit_s=1))
        event.set()

    async with open_workers(2) as pool, trio.open_nursery() as tasks:
        never, idle = trio.Event(), trio.Event()
        tasks.start_soon(ask, {CONTENT.encode()!r}, never)
        tasks.start_soon(ask, b"aa!", idle)
        await idle.wait()
        print("ready", end="", flush=True)

trio.run(main)
"""


@pytest.mark.spec("7.2-drain")
async def test_a_daemon_that_is_told_to_stop_while_patterns_burn_stops_and_leaves_nothing(tmp_path: Path) -> None:
    """More clients than there are workers; each of their matchers may take ten minutes."""
    ends: list[str] = []

    async def burn(url: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with plain_client(url) as client:
            await client.call("session.attach", id=1)
            task_status.started()
            with pytest.raises(GONE):
                await client.call("op.read", target="known://a", matcher=CATASTROPHE)
            ends.append("told to go")

    daemon = await trio.to_thread.run_sync(DaemonProcess, environment(tmp_path, PLURNK_MATCH_TIMEOUT_MS="600000"))
    with daemon, trio.fail_after(LONG_AFTER_S):
        async with trio.open_nursery() as clients:
            async with plain_client(daemon.url) as client:
                assert (await client.call("session.create"))["id"] == 1
                await client.call("op.edit", target="known://a", content=CONTENT)
            for _ in range(6):
                await clients.start(burn, daemon.url)
            await until(lambda: len(children(daemon.pid)) == 5)  # four workers, and the keeper of commands
            processes = children(daemon.pid)
            code, said = await trio.to_thread.run_sync(daemon.stop)
        assert (code, "error" in said) == (0, False), said
        assert [is_ended(process) for process in processes] == [True] * 5
    assert ends == ["told to go"] * 6


async def test_workers_whose_daemon_was_killed_end_by_themselves() -> None:
    """One burns: a timer of the kernel's ends it. The other is idle: it sees the end of its pipe."""
    process = await trio.lowlevel.open_process([sys.executable, "-c", POOL], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        assert await process.stdout.receive_some() == b"ready"
        workers = children(process.pid)
        process.kill()
        await process.wait()
    assert len(workers) == 2
    with trio.fail_after(LONG_AFTER_S):
        await until(lambda: all(map(is_ended, workers)))
