"""Accepts in bad circumstances: no room, no right, no root any more; a session, or the daemon, ends (SPEC 5.2)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from plurnk.config import Settings
from plurnk.schemes import disk
from plurnk.server.daemon import run
from plurnk.store.query import query
from tests.support.accepts import everything, look
from tests.support.daemons import PlainClient, plain_client, running, settings_in
from tests.support.people import ORDINARY_UID
from tests.support.projects import project

OLD = "old\n"
EDIT = "<<EDIT(a.txt):new\n:EDIT"
MOVE = "<<MOVE(a.txt):b/c.txt:MOVE"
AFTER = {EDIT: {"a.txt": b"new\n"}, MOVE: {"b": None, "b/c.txt": b"old\n"}}
DONE = "<<SEND[200]:done:SEND"


@pytest.mark.spec("5.2-atomic-write", "2.4-move-atomic")
@pytest.mark.parametrize("statement", [EDIT, MOVE])
@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)])
async def test_a_disk_that_takes_no_more_leaves_the_old_file_and_a_way_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, number: int, status: int
) -> None:
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if ".plurnk-" in os.readlink(f"/proc/self/fd/{fd}"):  # noqa: PTH115 – no path
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    async with project(tmp_path, {"a.txt": OLD}) as desk:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            result = await desk.one(statement)
        assert (result.status, desk.answers[-1].outcome) == (status, "apply_failed")
        assert everything(desk.root) == {"a.txt": b"old\n"}
        assert (await desk.one(statement)).status in (200, 201)
        assert everything(desk.root) == AFTER[statement]


@pytest.fixture
def of_somebody() -> Iterator[Path]:
    """A directory of an ordinary user's, who we are meanwhile."""
    directory = Path(tempfile.mkdtemp(dir="/var/tmp"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(directory, ORDINARY_UID, ORDINARY_UID)
        os.setresuid(-1, ORDINARY_UID, 0)
    try:
        yield directory
    finally:
        if is_root:
            os.setresuid(-1, 0, 0)
        shutil.rmtree(directory)


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize("statement", [EDIT, MOVE, "<<MOVE(a.txt)::MOVE"])
async def test_a_directory_that_became_read_only_is_a_403(of_somebody: Path, statement: str) -> None:
    async with project(of_somebody, {"a.txt": OLD}) as desk:
        results = await desk.do(statement, meanwhile=lambda: desk.root.chmod(0o555))
        assert [result.status for result in results] == [403]
        assert everything(desk.root) == {"a.txt": b"old\n"}
        desk.root.chmod(0o755)
        assert (await desk.one(statement)).status in (200, 201)


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize("statement", [EDIT, MOVE, "<<MOVE(a.txt)::MOVE"])
@pytest.mark.parametrize("there", [None, {}, {"a.txt": "other\n"}, {"a.txt/b.txt": OLD}])
async def test_a_root_that_was_taken_away_or_replaced_is_left_as_it_is(
    tmp_path: Path, statement: str, there: dict[str, str] | None
) -> None:
    def replace() -> None:
        desk.root.rename(tmp_path / "elsewhere")
        for name, content in (there or {}).items():
            (desk.root / name).parent.mkdir(parents=True)
            (desk.root / name).write_text(content)
        if there is not None:
            desk.root.mkdir(exist_ok=True)

    async with project(tmp_path, {"a.txt": OLD}) as desk:
        results = await desk.do(statement, meanwhile=replace)
        assert [(result.status, answer.outcome) for result, answer in zip(results, desk.answers, strict=True)] == [
            (409, "write_conflict")
        ]
        assert everything(tmp_path / "elsewhere") == {"a.txt": b"old\n"}
        left = {name: content for name, content in everything(desk.root).items() if content is not None}
        assert left == {name: content.encode() for name, content in (there or {}).items()}


# -- while it is being applied


@dataclass
class Gate:
    """Holds the thread that has made an accepted change, before that is recorded."""

    made: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    async def until_made(self) -> None:
        await trio.to_thread.run_sync(self.made.wait)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    apply, held = disk._apply, Gate()

    def slow(*args: Any) -> None:
        apply(*args)
        held.made.set()
        assert held.goes_on.wait(30)

    monkeypatch.setattr(disk, "_apply", slow)
    return held


def daemon_settings(home: Path, script: Sequence[str], **more: str) -> Settings:
    (home / "script.json").write_text(json.dumps(script))
    model = {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "mock/m", "PLURNK_MOCK_SCRIPT": str(home / "script.json")}
    return settings_in(home, **model, **more)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return look(settings.db_path, lambda db: query(db, sql))


@pytest.mark.spec("5.2-atomic-write", "7.2-no-orphans")
@pytest.mark.parametrize("asks", ["model", "client"])
async def test_a_session_that_is_deleted_while_it_is_applied_leaves_one_file_or_the_other(
    tmp_path: Path, gate: Gate, asks: str
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.txt").write_text(OLD)
    settings = daemon_settings(tmp_path, [EDIT])
    async with running(settings) as url, plain_client(url) as asker, plain_client(url) as judge:
        with trio.fail_after(30):
            session_id = (await asker.call("session.create", projectRoot=str(root)))["id"]
            await judge.call("session.attach", id=session_id)
            async with trio.open_nursery() as tasks:
                if asks == "model":
                    tasks.start_soon(partial(asker.call, "loop.run", prompt="go"))
                else:
                    tasks.start_soon(partial(asker.call, "op.parse", text=EDIT))
                row_id = (await judge.hear_until("loop/proposal"))["logEntryId"]
                tasks.start_soon(partial(judge.call, "loop.resolve", logEntryId=row_id, decision="accept"))
                await gate.until_made()
                async with plain_client(url) as other, trio.open_nursery() as deleting:
                    deleting.start_soon(partial(other.call, "session.delete", id=session_id))
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    # What is to be undone after a kill is known as long as there is something.
                    assert len(rows(settings, "SELECT 1 FROM proposals WHERE steps IS NOT NULL")) == 1
                    gate.goes_on.set()
            assert everything(root) in ({"a.txt": b"old\n"}, {"a.txt": b"new\n"})
            assert (await asker.call("session.list"))["sessions"] == []


# -- while the daemon stops


@asynccontextmanager
async def stoppable(settings: Settings) -> AsyncIterator[tuple[str, trio.Event, trio.Event]]:
    """A daemon in this process: its URL, what stops it and what hurries it. It has stopped when the block is left."""
    stop, hurry = trio.Event(), trio.Event()
    urls, ready = trio.open_memory_channel[str](1)
    async with trio.open_nursery() as daemon:
        daemon.start_soon(partial(run, settings, ready=urls.send_nowait, stop=stop, hurry=hurry))
        yield await ready.receive(), stop, hurry


async def proposed(client: PlainClient, root: Path) -> dict[str, Any]:
    """A loop in a session of its own proposes the next of the script."""
    await client.call("session.create", projectRoot=str(root))
    await client.call("loop.run", prompt="go", wait=False)
    return await client.told("loop/proposal")


@pytest.mark.spec("5.3-durable", "5.2-atomic-write", "7.2-drain", "7.2-resume")
@pytest.mark.parametrize("resume", ["1", "0"])
@pytest.mark.parametrize("hurried", [False, True])
async def test_a_daemon_that_stops_ends_what_is_applied_and_leaves_what_is_open(
    tmp_path: Path, gate: Gate, hurried: bool, resume: str
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for name in "abc":
        (root / f"{name}.txt").write_text(OLD)
    settings = daemon_settings(tmp_path, [f"<<EDIT({name}.txt):new\n:EDIT" for name in "abc"], PLURNK_RESUME=resume)
    with trio.fail_after(30):
        async with (
            stoppable(settings) as (url, stop, hurry),
            plain_client(url) as one,
            plain_client(url) as two,
            plain_client(url) as three,
            trio.open_nursery() as accepting,
        ):
            told = [await proposed(client, root) for client in (one, two, three)]
            ask = partial(three.call, "loop.resolve", logEntryId=told[2]["logEntryId"], decision="accept")
            accepting.start_soon(ask)
            await gate.until_made()
            stop.set()
            if hurried:
                hurry.set()
            await trio.testing.wait_all_tasks_blocked(0.05)
            gate.goes_on.set()
        sql = "SELECT state, outcome FROM log_entries WHERE op = 'EDIT' AND origin = 'model' ORDER BY id"
        states = rows(settings, sql)
        assert states[:2] == [("proposed", None)] * 2
        assert states[2] in ({("resolved", None), ("cancelled", "loop_cancelled")} if hurried else {("resolved", None)})
        made = b"new\n" if states[2][0] == "resolved" else b"old\n"
        assert everything(root) == {"a.txt": b"old\n", "b.txt": b"old\n", "c.txt": made}
        assert rows(settings, "SELECT 1 FROM proposals WHERE steps IS NOT NULL") == []

        daemon_settings(tmp_path, [DONE, DONE])
        async with running(settings) as url, plain_client(url) as client:
            for one_told in told[:2]:
                await client.call("session.attach", id=one_told["sessionId"])
                answer = await client.call("loop.resolve", logEntryId=one_told["logEntryId"], decision="accept")
                if resume == "0":
                    assert (answer["status"], answer["outcome"]) == (409, "loop_cancelled")
                else:
                    assert answer["status"] == 200
                    assert (await client.told("loop/terminated", loopId=one_told["loopId"]))["finalStatus"] == 200
        there = b"old\n" if resume == "0" else b"new\n"
        assert everything(root) == {"a.txt": there, "b.txt": there, "c.txt": made}
