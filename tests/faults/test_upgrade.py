"""A database that the version before 005_engine.sql has left: what it had is there, and its loops go on (SPEC 7.1)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import msgspec
import pytest
import trio

from plurnk import resources
from plurnk.engine.limits import Limits
from plurnk.errors import Conflict
from plurnk.plugins.api import GenerateRequest
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.store import forking, turns
from plurnk.store.clock import utc_now
from plurnk.store.loops import Submission
from plurnk.store.migrate import migrate
from plurnk.store.query import query
from tests.support.brooks import Brook, start
from tests.support.engines import SCHEMES, Bench, engine_with

NOTE = "\n".join(f"line {number} of the note" for number in range(60))
READ = "<<READ(known://a)::READ"
DONE = "<<SEND[200]::SEND"
LIMITS = Limits(settle_s=0)
BEFORE = 4
"""So many migrations the version before has."""


async def _left_behind(here: Path, there: Path) -> list[str]:
    """Have a daemon of the version before killed at ``there`` while it asks for a loop's third turn.

    Returns:
        The log section of each packet that it has sent and been answered.
    """
    asked = trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 5:
            asked.set()
            await trio.sleep_forever()
        says = (f"<<EDIT(known://a):{NOTE}:EDIT {READ}", DONE, READ, f"{start('one')} {READ} <<READ(known://b)::READ")
        return says[number - 1]

    async with engine_with(here, say, limits=LIMITS, schemes={**SCHEMES, "brook": Brook()}) as bench:
        with trio.fail_after(30):
            first = await bench.engine.submit(bench.run.id, Submission(prompt="first"))
            await bench.engine.loop_end(first.loop_id)
            await bench.engine.submit(bench.run.id, Submission(prompt="second"))
            await asked.wait()
        await bench.engine.store.read(lambda db: _downgrade(db, there))
        return [_log(request.messages[0].content) for request in bench.model.requests[:4]]


def _downgrade(now: apsw.Connection, there: Path) -> None:
    """What is in the database, as the version before would have written it."""
    with closing(apsw.Connection(str(there))) as then:
        then.pragma("journal_mode", "wal")
        migrate(then, resources.migrations()[:BEFORE], now=utc_now())
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('schema_migrations')"
        for (table,) in query(then, tables):
            columns = ", ".join(name for _, name, *_ in query(then, f"PRAGMA table_info({table})"))
            rows = query(now, f"SELECT {columns} FROM {table}")
            then.execute(f"DELETE FROM {table}")
            then.executemany(
                f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split(',')))})", rows
            )
        for (turn_id,) in query(now, "SELECT id FROM turns WHERE packet IS NOT NULL"):
            whole = turns.packet(now, 1, turn_id).decode()
            then.execute("UPDATE turns SET packet = ? WHERE id = ?", (whole, turn_id))


def _log(system: str) -> str:
    return system.partition("# Plurnk System Log\n")[2].partition("\n\n# Plurnk System Index")[0]


async def _packets(bench: Bench) -> list[Packet]:
    def read(db: apsw.Connection) -> list[Packet]:
        ids = query(db, "SELECT id FROM turns WHERE packet IS NOT NULL ORDER BY id")
        return [msgspec.json.decode(turns.packet(db, 1, turn_id), type=Packet) for (turn_id,) in ids]

    return await bench.engine.store.read(read)


@pytest.mark.spec("7.1-migrations", "7.2-resume", "3.4-log-prefix-stable")
async def test_a_live_loop_of_the_version_before_goes_on_where_its_log_ended(tmp_path: Path) -> None:
    logs = await _left_behind(tmp_path / "now.db", tmp_path / "then.db")
    script = (READ, "I wonder.", DONE)
    async with engine_with(tmp_path / "then.db", script, limits=LIMITS) as opened:
        bench = replace(opened, session=replace(opened.session, id=1), run=replace(opened.run, id=1))
        before = await _packets(bench)
        assert [_log(render_system(packet)) for packet in before] == logs
        with trio.fail_after(30):
            await bench.engine.resume(resume=True)
            loop = await bench.engine.loop_end(2)
        assert (loop.status, loop.reason) == (200, None)
        system, user = (message.content for message in bench.model.requests[0].messages)
        assert _log(system).startswith(logs[-1])
        assert '"target":"brook://one"' in _log(system).removeprefix(logs[-1])  # it was cut off
        assert user.startswith("# Plurnk System User Prompt\nsecond\n\n")
        assert '"kind":"interrupted"' in user
        assert "Turn 4/" in user
        now = await _packets(bench)
        assert now[: len(before)] == before
        sent = [tuple(message.content for message in request.messages) for request in bench.model.requests]
        assert [(render_system(packet), render_user(packet)) for packet in now[len(before) :]] == sent
        # Turns from before count as no strikes, nor as clean ones.
        ((told,),) = await bench.engine.store.read(
            lambda db: query(db, "SELECT telemetry FROM turns WHERE loop_id = 2 AND seq = 5")
        )
        assert '"streak":1' in told


@pytest.mark.spec("7.1-migrations", "3.4-fit-folds-oldest")
async def test_a_long_log_of_the_version_before_is_folded_and_forked(tmp_path: Path) -> None:
    await _left_behind(tmp_path / "now.db", tmp_path / "then.db")
    async with engine_with(tmp_path / "then.db", (DONE, DONE), limits=LIMITS, context_size=1400) as opened:
        bench = replace(opened, session=replace(opened.session, id=1), run=replace(opened.run, id=1))
        fork = await bench.engine.store.write(lambda tx: forking.fork(tx, 1, name=None, at_turn=4))
        with trio.fail_after(30):
            await bench.engine.resume(resume=True)
            assert (await bench.engine.loop_end(2)).status == 200
            submitted = await bench.engine.submit(fork.id, Submission(prompt="third"))
            assert (await bench.engine.loop_end(submitted.loop_id)).status == 200
        for request in bench.model.requests:
            assert '"folded":true' in request.messages[0].content
            assert '"kind":"budget_folded"' in request.messages[1].content


@pytest.mark.spec("7.1-migrations")
async def test_the_version_before_does_not_touch_a_database_of_this_one(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()):
        pass
    before = (tmp_path / "p.db").read_bytes()
    with closing(apsw.Connection(str(tmp_path / "p.db"))) as db, pytest.raises(Conflict, match="from a newer plurnk"):
        migrate(db, resources.migrations()[:BEFORE], now=utc_now())
    assert (tmp_path / "p.db").read_bytes() == before
