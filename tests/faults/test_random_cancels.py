"""Cancelled at random moments, in every way there is, a daemon leaks nothing: no process, file, task or open row."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import pytest
import trio
import trio.testing

from tests.support.daemons import PlainClient, plain_client, running, settings_in
from tests.support.processes import children, with_marker

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")

COMMANDS = 300
LOOPS = 200
AT_ONCE = 10
LIMIT_S = 240.0
SETTLED_WITHIN_S = 15.0
GRACE_MS = "60"
LONGEST_WAIT_S = 0.05
"""A command runs some 15 ms after it was accepted, and the quick ones end some 5 ms later."""

KINDS = (
    "sleep 600; : {marker}",
    "trap '' TERM; while :; do sleep 0.01; done; : {marker}",
    "while :; do echo a line of some length; done; : {marker}",
    "(setsid sleep 600 &); (setsid sh -c 'trap \"\" TERM; sleep 600; : {marker}' &); sleep 600; : {marker}",
    "exec 1>&- 2>&- 0<&-; sleep 600; : {marker}",
    "kill -STOP $$; : {marker}",
    "cat; : {marker}",
    "echo quick; : {marker}",
    "exit 3; : {marker}",
)


@dataclass
class Chaos:
    """One daemon under attack."""

    url: str
    session_id: int
    marker: str
    rng: random.Random
    answers: Counter[str] = field(default_factory=Counter[str])

    def command(self) -> str:
        return self.rng.choice(KINDS).format(marker=self.marker)

    async def moment(self) -> None:
        await trio.sleep(self.rng.random() * LONGEST_WAIT_S)

    def client(self) -> Any:
        return plain_client(self.url)

    async def attached(self, client: PlainClient, run: int | None = None) -> None:
        await client.call("session.attach", id=self.session_id, **({} if run is None else {"runId": run}))


# -- ways to end a client's command


async def by_id(client: PlainClient, started: dict[str, Any]) -> int:
    return int((await client.call("subscription.cancel", id=started["subscriptionId"]))["status"])


async def by_target(client: PlainClient, started: dict[str, Any]) -> int:
    return int((await client.call("subscription.cancel", target=started["entry"]))["status"])


async def by_send(client: PlainClient, started: dict[str, Any]) -> int:
    return int((await client.call("op.send", status=499, recipient=started["entry"]))["status"])


async def by_hide(client: PlainClient, started: dict[str, Any]) -> int:
    done = await client.call("op.parse", text=f"<<HIDE[499]({started['entry']})::HIDE")
    return int(done["results"][0]["status"])


async def by_delete(client: PlainClient, started: dict[str, Any]) -> int:
    return int((await client.call("op.send", status=410, recipient=started["entry"]))["status"])


async def by_move(client: PlainClient, started: dict[str, Any]) -> int:
    return int((await client.call("op.move", source=started["entry"]))["status"])


WAYS = (by_id, by_target, by_send, by_hide, by_delete, by_move)
ANSWERS = {200, 304, 404, 409}
"""Gone by itself or by the other's hand (404), ended already (409), or ended and hidden already (304)."""


async def end_a_command(chaos: Chaos) -> None:
    """Start one; then two clients end it, each in a way and at a moment of its own."""
    async with chaos.client() as one, chaos.client() as two:
        for client in (one, two):
            await chaos.attached(client)
        started = await one.call("op.exec", command=chaos.command())
        if started["status"] != 102:
            chaos.answers[f"refused {started['status']}"] += 1
            return

        async def end(client: PlainClient, way: Callable[[PlainClient, dict[str, Any]], Awaitable[int]]) -> None:
            await chaos.moment()
            status = await way(client, started)
            assert status in ANSWERS, (way.__name__, status)
            chaos.answers[f"{way.__name__} {status}"] += 1

        async with trio.open_nursery() as ending:
            for client in (one, two):
                ending.start_soon(end, client, chaos.rng.choice(WAYS))


async def vanish(chaos: Chaos) -> None:
    """Ask for a command, and be gone at a moment at which it is proposed, accepted, started or running."""
    with trio.move_on_after(chaos.rng.random() * LONGEST_WAIT_S):
        async with chaos.client() as client:
            await chaos.attached(client)
            await client.call("op.exec", command=chaos.command())
            await trio.sleep_forever()
    chaos.answers["vanished"] += 1


async def judge(chaos: Chaos, client: PlainClient) -> None:
    """Accept most of what is proposed; whoever asked may be gone by then."""
    seen = 0
    while True:
        while seen == len(client.heard):
            await client.receive()
        message, seen = client.heard[seen], seen + 1
        if message["method"] == "loop/proposal":
            decision = "reject" if chaos.rng.random() < 0.05 else "accept"
            await client.call("loop.resolve", logEntryId=message["params"]["logEntryId"], decision=decision)


# -- loops


async def end_loops(chaos: Chaos, run: int, number: int) -> None:
    """Have a model run commands, and cancel its loop at a random moment, twice at once now and then."""
    async with chaos.client() as one, chaos.client() as two:
        for client in (one, two):
            await chaos.attached(client, run)
        for _ in range(number):
            flags = {"yolo": chaos.rng.random() < 0.8}
            loop = await one.call("loop.run", prompt="go", wait=False, flags=flags, queue=True)
            await chaos.moment()
            async with trio.open_nursery() as ending:
                for client in (one, two) if chaos.rng.random() < 0.3 else (one,):
                    ending.start_soon(partial(client.call, "loop.cancel", all=True))
            chaos.answers[f"loop {loop['action']}"] += 1


def script(chaos: Chaos, path: Path) -> None:
    """Two commands a turn, then wait for them."""
    turns = [
        f"<<EXEC:{chaos.command()}:EXEC <<EXEC[bash]:{chaos.command()}:EXEC <<SEND[202]::SEND"
        for _ in range(LOOPS * 20)
    ]
    path.write_text(json.dumps(turns), "utf-8")


# -- what is left


def tasks() -> Counter[str]:
    """The tasks of this process by name."""
    found: Counter[str] = Counter()
    root = trio.lowlevel.current_root_task()
    left = [] if root is None else [root]
    while left:
        task = left.pop()
        found[task.name] += 1
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@dataclass(frozen=True)
class Held:
    """What the process has at a moment."""

    files: Counter[str]
    children: int
    tasks: Counter[str]

    def difference(self, other: Held) -> tuple[Any, ...]:
        files = (self.files - other.files, other.files - self.files)
        return (*files, self.children, other.children, self.tasks - other.tasks, other.tasks - self.tasks)


def held() -> Held:
    return Held(files(), len(children()), tasks())


def files() -> Counter[str]:
    """The open files of this process by kind."""
    found: Counter[str] = Counter()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found[os.readlink(fd).partition(":[")[0]] += 1  # noqa: PTH115 – no path
    return found


async def settles(before: Held, marker: str) -> None:
    """See that all comes back to what it was; who left without a word is noticed a little later."""
    deadline = trio.current_time() + SETTLED_WITHIN_S
    while held() != before or with_marker(marker):
        now = held()
        assert trio.current_time() < deadline, (before.difference(now), with_marker(marker))
        await trio.sleep(0.02)


def check_rows(path: Path) -> Counter[int]:
    """Each row is closed, each close is told once, and in order; how the streams were closed, by status.

    Counted by what was told: the row of a stream whose entry was deleted is gone.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:

        def rows(sql: str) -> list[Any]:
            return list(db.execute(sql))

        assert rows("SELECT id, handle FROM subscriptions WHERE closed_at IS NULL") == []
        assert rows("SELECT id FROM entry_channels WHERE state IN ('active')") == []
        assert rows("SELECT id FROM loops WHERE status IN (100, 102)") == []
        assert rows("SELECT id FROM turns WHERE ended_at IS NULL") == []
        assert rows("SELECT id FROM log_entries WHERE state = 'proposed'") == []
        told = [json.loads(p) for (p,) in rows("SELECT params FROM events WHERE method = 'stream/concluded'")]
        ends = {each["subscriptionId"]: each["closeStatus"] for each in told}
        assert len(ends) == len(told)
        assert set(rows("SELECT id, close_status FROM subscriptions")) <= set(ends.items())
        ended = [json.loads(p)["loopId"] for (p,) in rows("SELECT params FROM events WHERE method = 'loop/terminated'")]
        assert sorted(ended) == [row_id for (row_id,) in rows("SELECT id FROM loops ORDER BY id")]
        numbers = rows("SELECT seq FROM events ORDER BY session_id, seq")
        assert [seq for (seq,) in numbers] == list(range(1, len(numbers) + 1))
        return Counter(ends.values())
    finally:
        db.close()


@pytest.mark.spec(
    "4.5-tree-is-gone",
    "4.5-cancel-races",
    "4.1-one-scope-per-subscription",
    "4.1-close-idempotent",
    "3.1-terminal-always-written",
    "3.1-cancel-is-complete",
)
async def test_after_500_cancels_at_random_moments_nothing_is_left(tmp_path: Path) -> None:
    rng = random.Random(20)
    (tmp_path / "project").mkdir()
    mock = {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "mock/m", "PLURNK_MOCK_SCRIPT": str(tmp_path / "script.json")}
    settings = settings_in(tmp_path, PLURNK_EXEC_KILL_GRACE_MS=GRACE_MS, **mock)
    async with running(settings) as url:
        with trio.fail_after(LIMIT_S):
            async with plain_client(url) as client:
                created = await client.call("session.create", projectRoot=str(tmp_path / "project"))
            chaos = Chaos(url, created["id"], f"marker-{uuid4().hex}", rng)
            script(chaos, tmp_path / "script.json")
            await attack(chaos, commands=AT_ONCE, loops=2)  # what is made at first use is there
            await trio.testing.wait_all_tasks_blocked(0.2)  # the last client has left
            before = held()
            await attack(chaos, commands=COMMANDS, loops=LOOPS)
            await settles(before, chaos.marker)
    closed = check_rows(settings.db_path)
    # Most were cancelled while they ran, and not before or after that.
    assert closed[499] >= COMMANDS // 2, (closed, chaos.answers)


async def attack(chaos: Chaos, *, commands: int, loops: int) -> None:
    """So many commands, some by clients that vanish, AT_ONCE at a time, while a model has its loops cancelled.

    What nobody has ended, for who asked for it has vanished, is ended at last.
    """
    async with chaos.client() as judging, trio.open_nursery() as judges:
        await chaos.attached(judging)
        judges.start_soon(judge, chaos, judging)
        jobs = [partial(vanish if number % 5 == 0 else end_a_command, chaos) for number in range(commands)]

        async def work() -> None:
            while jobs:
                await jobs.pop()()

        async with trio.open_nursery() as working:
            for _ in range(AT_ONCE):
                working.start_soon(work)
            working.start_soon(end_loops, chaos, 1, loops)
        judges.cancel_scope.cancel(reason="all is asked")
    await quiet(chaos)


async def quiet(chaos: Chaos) -> None:
    """End what nobody has ended, until every client's task but one has ended and nothing is live."""
    async with chaos.client() as last:
        await chaos.attached(last)
        while True:
            is_alone = sum("_run_handler" in name for name in tasks().elements()) == 1
            streams = (await last.call("subscription.list"))["subscriptions"]
            for stream in streams:
                await last.call("subscription.cancel", id=stream["id"])
            if is_alone and not streams:
                break
            await trio.sleep(0.01)
