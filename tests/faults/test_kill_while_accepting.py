"""SIGKILL while an accepted change is made: file and row agree after the next start, and nothing is left (SPEC 5.2)."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import trio

from plurnk.store.query import query
from tests.support.accepts import OPERATIONS, Found, Operation, found, look
from tests.support.daemons import GONE, DaemonProcess, PlainClient, environment, plain_client
from tests.support.forked import Forks
from tests.support.source import ROOT

DONE = "<<SEND[200]:done:SEND"

STRIDE = 7
"""A kill at every so many moments."""

LEAST_KILLS = 4
"""Of each operation."""

HALF_WAY = 25
"""A moment at which a move of a file has begun, and is not recorded."""

RANDOM_KILLS = 6
LONGEST_ACCEPT_S = 0.03


@dataclass
class Session:
    """One whose daemon is killed again and again. ``states``: those in which a start has found what was accepted."""

    home: Path
    environ: Mapping[str, str]
    forks: Forks
    id: int | None = None
    kills: int = 0
    states: set[str] = field(default_factory=set[str])

    @property
    def root(self) -> Path:
        return self.home / "project"

    @property
    def database(self) -> Path:
        return self.home / "state" / "plurnk" / "plurnk.db"

    def found(self, row_id: int) -> Found:
        return look(self.database, lambda db: found(db, row_id, self.root))

    def is_live(self, row_id: int) -> bool:
        """Whether the loop that has the row goes on."""
        sql = "SELECT status FROM loops WHERE id = (SELECT loop_id FROM log_entries WHERE id = ?)"
        return look(self.database, lambda db: query(db, sql, (row_id,))) == [(102,)]

    def is_asked_again(self, row_id: int) -> bool:
        """Whether the model of that loop is: not when its last turn has ended it, and only that was not recorded."""
        sql = "SELECT 200 IN (SELECT status FROM turns WHERE loop_id = e.loop_id) FROM log_entries e WHERE id = ?"
        return self.is_live(row_id) and look(self.database, lambda db: query(db, sql, (row_id,))) == [(0,)]

    @asynccontextmanager
    async def client(self, daemon: DaemonProcess) -> AsyncIterator[PlainClient]:
        async with plain_client(daemon.url) as client:
            if self.id is None:
                self.id = (await client.call("session.create", projectRoot=str(self.root)))["id"]
            else:
                await client.call("session.attach", id=self.id)
            yield client

    async def propose(self, client: PlainClient, operation: Operation) -> int:
        """Make the world, and have a model propose; the row."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        operation.before.make(self.root)
        await client.call("op.move", source="known://n")
        if operation.before.note is not None:
            await client.call("op.edit", target="known://n", content=operation.before.note)
        loop = await client.call("loop.run", prompt="go", wait=False)
        return int((await client.told("loop/proposal", loopId=loop["loopId"]))["logEntryId"])


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as opened:
        yield opened


@pytest.fixture
def session(tmp_path: Path, forks: Forks) -> Session:
    model = {
        "PLURNK_MODEL": "m",
        "PLURNK_MODEL_m": "mock/m",
        "PLURNK_MOCK_SCRIPT": str(tmp_path / "script.json"),
        "PYTHONPATH": str(ROOT),
    }
    (tmp_path / "project").mkdir()
    return Session(tmp_path, environment(tmp_path, **model), forks)


async def life(
    session: Session, operation: Operation, row_id: int | None, *, moment: int = 0, delay_s: float | None = None
) -> int | None:
    """A daemon from its start to the kill, at that moment of an accept, or so long after it was asked for.

    What the last one left is checked. If it was done, or was nothing, ``operation`` is proposed again.

    Returns:
        The row that was accepted; None: nobody was killed, and it is done.
    """
    goes_on = row_id is not None and session.is_asked_again(row_id)
    script = [*([DONE] if goes_on else []), operation.statement, DONE]
    (session.home / "script.json").write_text(json.dumps(script))
    program = ("tests.support.killable_daemon", "accept", str(moment))
    with DaemonProcess(session.environ, program, forks=session.forks) as daemon:
        try:
            async with session.client(daemon) as client:
                if row_id is not None and await has_happened(session, client, operation, row_id):
                    row_id = None
                if row_id is None:
                    row_id = await session.propose(client, operation)
                async with trio.open_nursery() as killing:
                    if delay_s is not None:
                        killing.start_soon(kill_after, delay_s, daemon)
                    answer = await client.call("loop.resolve", logEntryId=row_id, decision="accept")
                assert answer["status"] in (200, 201), answer
                if delay_s is None:
                    await ended(session, client, row_id)
                    assert session.found(row_id).check(operation)
                    return None
        except* GONE:
            pass
        daemon.see_killed()
    session.kills += 1
    return row_id


async def kill_after(delay_s: float, daemon: DaemonProcess) -> None:
    await trio.sleep(delay_s)
    daemon.kill()


async def has_happened(session: Session, client: PlainClient, operation: Operation, row_id: int) -> bool:
    """Check what a start has made of what was left: it has happened, or is open as it was."""
    left = session.found(row_id)
    session.states.add(left.state)
    pending = [each["logEntryId"] for each in (await client.call("proposal.list"))["proposals"]]
    if left.check(operation):
        assert pending == []
        await ended(session, client, row_id)
        return True
    assert (left.state, pending) == ("proposed", [row_id])
    return False


async def ended(session: Session, client: PlainClient, row_id: int) -> None:
    """Wait for the loop that has the row to end."""
    if session.is_live(row_id):
        await client.hear_until("loop/terminated")


@pytest.mark.spec("5.2-atomic-write", "5.3-durable", "7.2-no-orphans", "7.2-resume", "2.4-move-atomic")
@pytest.mark.parametrize("name", OPERATIONS)
async def test_killed_at_any_step_of_an_accept_it_has_happened_or_is_still_open(session: Session, name: str) -> None:
    operation = OPERATIONS[name]
    row_id: int | None = None
    with trio.fail_after(60):
        for moment in count(1 + list(OPERATIONS).index(name) % STRIDE, STRIDE):
            row_id = await life(session, operation, row_id, moment=moment)
            if row_id is None:
                break
    assert session.kills >= LEAST_KILLS
    assert session.states == {"proposed", "resolved"}


@pytest.mark.spec("5.2-atomic-write", "5.3-durable", "7.2-no-orphans", "7.2-resume")
async def test_killed_at_random_it_has_happened_or_is_still_open(session: Session) -> None:
    chance = random.Random(52)
    row_id: int | None = None
    with trio.fail_after(60):
        for _ in range(RANDOM_KILLS):
            row_id = await life(session, OPERATIONS["file to file"], row_id, delay_s=chance.random() * LONGEST_ACCEPT_S)
        assert await life(session, OPERATIONS["file to file"], row_id) is None
    assert session.kills == RANDOM_KILLS


@pytest.mark.spec("5.2-atomic-write", "7.2-no-orphans")
async def test_a_start_that_is_killed_while_it_undoes_leaves_that_to_the_next_one(session: Session) -> None:
    operation = OPERATIONS["file to file"]
    row_id: int | None = None
    with trio.fail_after(60):
        for kills in count():
            row_id = await life(session, operation, row_id, moment=HALF_WAY)
            assert row_id is not None
            assert not is_tidy(session.found(row_id), operation)
            if starts(session, 1 + kills * STRIDE):
                assert kills >= 2
                break
        assert await life(session, operation, row_id) is None


def is_tidy(left: Found, operation: Operation) -> bool:
    try:
        left.check(operation)
    except AssertionError:
        return False
    return True


def starts(session: Session, moment: int) -> bool:
    """Whether a daemon that is to be killed at that moment gets through its start."""
    daemon = session.forks.start(("tests.support.killable_daemon", "start", str(moment)), session.environ)
    url = daemon.stdout.readline()
    daemon.send_signal(signal.SIGKILL)
    daemon.communicate()
    return bool(url)


@pytest.mark.spec("5.2-atomic-write", "7.2-no-orphans", "5.3-durable")
async def test_what_was_cut_off_is_undone_and_answered_where_loops_are_not_resumed(session: Session) -> None:
    operation = OPERATIONS["note to file"]
    with trio.fail_after(60):
        for moment in count(10, 2 * STRIDE):
            row_id = await life(session, operation, None, moment=moment)
            assert row_id is not None
            with DaemonProcess({**session.environ, "PLURNK_RESUME": "0"}, forks=session.forks) as daemon:
                async with session.client(daemon) as client:
                    left = session.found(row_id)
                    assert left.check(operation) == (left.state != "cancelled")
                    assert (await client.call("proposal.list"))["proposals"] == []
                    late = await client.call("loop.resolve", logEntryId=row_id, decision="accept")
                    assert late["status"] == 409
            assert not session.is_live(row_id)
            session.states.add(left.state)
            if left.state == "resolved":
                break
    assert session.states == {"cancelled", "resolved"}
