"""The store on a real file: group commit, announcements, one owner, migrations, failures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from plurnk import resources
from plurnk.errors import Conflict, Denied, Draining, OutOfRoom
from plurnk.language.ast import Edit, UrlTarget
from plurnk.store import events, log, loops, sessions
from plurnk.store.database import GROUP_MAX_BYTES, Announcement, StoreFailed, Tx, _Job, open_store
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopStarted, SessionLagged
from plurnk.wire.results import OpResult
from tests.support.stores import DEFAULTS, begin_turn, new_session, opened


async def test_a_units_failure_undoes_that_unit_alone(tmp_path: Path) -> None:
    """Units share a transaction when they wait together; each has its own fate."""

    def good(name: str, tx: Tx) -> None:
        sessions.create(tx, name=name, project_root=None, persona=None)

    def bad(tx: Tx) -> None:
        sessions.create(tx, name="bad", project_root=None, persona=None)
        raise Denied("no")

    async with opened(tmp_path / "p.db") as store:
        refused: list[Denied] = []

        async def refuse() -> None:
            try:
                await store.write(bad)
            except Denied as error:
                refused.append(error)

        async with trio.open_nursery() as writers:
            for number in range(20):
                writers.start_soon(store.write, partial(good, f"s{number}"))
                writers.start_soon(refuse)
        names = {s.name for s in await store.read(lambda db: sessions.listing(db, limit=100, before=None))}
        assert names == {f"s{number}" for number in range(20)}
        assert len(refused) == 20


@pytest.mark.spec("6.5-outbox-transactional")
async def test_an_event_is_announced_after_its_commit_and_never_without(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    heard: list[Announcement] = []
    at_announcement: list[int] = []
    outside = apsw.Connection(str(path))

    def announce(announced: Sequence[Announcement]) -> None:
        heard.extend(announced)
        at_announcement.append(outside.execute("SELECT count(*) FROM events").fetchall()[0][0])  # type: ignore[arg-type]

    def failing(session_id: int, tx: Tx) -> None:
        tx.announce(session_id, LoopStarted(loop_id=1, run_id=1, prompt="x", origin="model"))
        raise Denied("after all")

    async with opened(path, announce) as store:
        session, run = await new_session(store)
        with pytest.raises(Denied):
            await store.write(partial(failing, session.id))
        await store.write(lambda tx: loops.submit(tx, run.id, Submission(prompt="hi"), DEFAULTS))
        await store.write(lambda tx: loops.claim(tx, run.id))
        kept = await store.read(lambda db: events.after(db, session.id, 0))
    assert [a.seq for a in heard] == [1, 2]
    assert at_announcement == [1, 2]
    assert [(e.seq, e.method) for e in kept] == [(1, "session/created"), (2, "loop/started")]
    outside.close()


async def test_announcements_come_in_commit_order_without_holes(tmp_path: Path) -> None:
    heard: list[Announcement] = []
    async with opened(tmp_path / "p.db", heard.extend) as store:
        session, _run = await new_session(store)

        async def write(number: int) -> None:
            await store.write(
                lambda tx: tx.announce(session.id, LoopStarted(loop_id=number, run_id=1, prompt="", origin="model"))
            )

        async with trio.open_nursery() as writers:
            for number in range(300):
                writers.start_soon(write, number)
    assert [a.seq for a in heard] == list(range(1, 302))


async def test_a_cancelled_write_that_was_submitted_is_still_whole(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.write(lambda tx: sessions.create(tx, name="a", project_root=None, persona=None))
        assert scope.cancelled_caught
        # The next unit is after it in the queue, so its fate is known now.
        await store.write(lambda _tx: None)
        found = await store.read(lambda db: sessions.listing(db, limit=9, before=None))
        assert [s.name for s in found] == ["a"]


@pytest.mark.spec("7.1-single-owner")
async def test_a_second_daemon_is_refused_and_told_the_pid(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        with pytest.raises(Conflict, match=f"pid {os.getpid()}"):
            async with opened(tmp_path / "p.db"):
                pass
        await new_session(store)
    async with opened(tmp_path / "p.db") as store:
        assert len(await store.read(lambda db: sessions.listing(db, limit=9, before=None))) == 1


async def test_a_closed_store_refuses_politely(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        pass
    with pytest.raises(Draining):
        await store.write(lambda _tx: None)


@pytest.mark.spec("7.1-migrations")
async def test_migrations_apply_once_and_a_changed_missing_or_newer_one_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    first = [("001_a.sql", "CREATE TABLE a (x) STRICT"), ("002_b.sql", "CREATE TABLE b (x INTEGER) STRICT")]
    first[0] = ("001_a.sql", "CREATE TABLE a (x INTEGER) STRICT; CREATE TABLE aa (x INTEGER) STRICT")

    async def start(migrations: Sequence[tuple[str, str]]) -> None:
        async with open_store(path, migrations, clock=lambda: "2026-01-01T00:00:00.000Z"):
            pass

    await start(first[:1])
    await start(first)
    await start(first)
    for broken, message in (
        ([first[0], ("002_b.sql", "CREATE TABLE b (y INTEGER) STRICT")], "002_b.sql differs"),
        ([first[0]], "002_b.sql, which this version does not"),
        ([*first, ("0015_between.sql", "SELECT 1")], "never applied"),
    ):
        with pytest.raises(Conflict, match=message):
            await start(broken)
    # A migration that fails half-way leaves nothing of itself.
    with pytest.raises(StoreFailed, match="no such table"):
        await start([*first, ("003_c.sql", "CREATE TABLE c (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)")])
    await start([*first, ("003_c.sql", "CREATE TABLE c (x INTEGER) STRICT")])


@pytest.mark.spec("7.1-never-locked")
async def test_reads_and_writes_of_many_tasks_and_another_program_never_meet_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with opened(path) as store:
        outside = apsw.Connection(str(path))
        outside.execute("BEGIN")
        outside.execute("SELECT count(*) FROM sessions").fetchall()

        async def write(number: int) -> None:
            await new_session(store, f"s{number}")

        async def read() -> None:
            await store.read(lambda db: sessions.listing(db, limit=9, before=None))

        async with trio.open_nursery() as tasks:
            for number in range(50):
                tasks.start_soon(write, number)
                tasks.start_soon(read)
        outside.execute("ROLLBACK")
        outside.close()
        assert len(await store.read(lambda db: sessions.listing(db, limit=99, before=None))) == 50


@pytest.mark.spec("7.1-disk-full")
async def test_a_full_disk_fails_the_unit_and_the_store_recovers(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with opened(path) as store:

        def limit(pages: int, tx: Tx) -> int:
            return int(tx.db.pragma("max_page_count", pages))

        size = await store.write(lambda tx: int(tx.db.pragma("page_count")))
        await store.write(partial(limit, size))
        with pytest.raises(OutOfRoom):
            await new_session(store, "x" * 100_000)
        assert await store.read(lambda db: sessions.listing(db, limit=9, before=None)) == []
        await store.write(partial(limit, 1_000_000))
        await new_session(store, "x" * 100_000)
        assert len(await store.read(lambda db: sessions.listing(db, limit=9, before=None))) == 1


@pytest.mark.spec("7.1-log-immutable")
async def test_a_log_rows_question_is_immutable_its_answer_is_not(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        _session, run = await new_session(store)

        def unit(tx: Tx) -> int:
            statement = Edit(target=UrlTarget(raw="known://a", scheme="known", pathname="a"), body="x")
            turn = begin_turn(tx, run)
            row = log.add(tx, turn, statement, origin="model", result=OpResult(status=201))
            return row.id

        row_id = await store.write(unit)
        for column in ("turn_id", "sequence", "origin", "op", "scheme", "pathname", "fragment", "tx", "at"):
            with pytest.raises(StoreFailed, match="immutable"):
                await store.write(
                    lambda tx, column=column: tx.db.execute(f"UPDATE log_entries SET {column} = {column}")  # type: ignore[misc]
                )
        await store.write(lambda tx: tx.db.execute("UPDATE log_entries SET outcome = 'said so', status_rx = 499"))
        row = await store.read(lambda db: log.get(db, row_id))
        assert row is not None
        assert (row.outcome, row.status_rx, row.tx) == ("said so", 499, {"body": "x"})


@pytest.mark.spec("7.1-cost-rollup")
async def test_costs_roll_up_from_turns_to_runs_and_sessions(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        other = await store.write(lambda tx: begin_turn(tx, run))
        for turn_id, cost in ((turn.turn_id, 5), (other.turn_id, 7), (turn.turn_id, 3)):
            await store.write(
                lambda tx, t=turn_id, c=cost: tx.db.execute("UPDATE turns SET cost_pico = ? WHERE id = ?", (c, t))  # type: ignore[misc]
            )
        found = await store.read(
            lambda db: (sessions.get(db, session.id).cost_pico, sessions.get_run(db, run.id).cost_pico)
        )
        assert found == (10, 10)


def test_the_shipped_migrations_are_there() -> None:
    assert next(name for name, _sql in resources.migrations()) == "001_schema.sql"


async def test_a_database_that_a_crash_damaged_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with opened(path) as store:
        for number in range(200):
            await new_session(store, f"{number:0500}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(8192) + whole[len(whole) // 2 + 8192 :])
    damaged = path.read_bytes()
    (tmp_path / "p.db-wal").write_bytes(b"what a killed daemon leaves")
    with pytest.raises(StoreFailed, match="damaged"):
        async with opened(path):
            pass
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(("weight_bytes", "groups"), [(0, [9]), (GROUP_MAX_BYTES // 4, [4, 4, 1]), (10**9, [1] * 9)])
async def test_what_is_heavy_is_not_gathered_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight_bytes: int, groups: list[int]
) -> None:
    """Nine units wait while the writer stands still."""
    committed: list[int] = []
    async with opened(tmp_path / "p.db") as store:
        token, stands, gate = trio.lowlevel.current_trio_token(), trio.Event(), trio.Event()
        commit = store._writer._commit

        def counted(group: Sequence[_Job[Any]]) -> list[Announcement]:
            committed.append(len(group))
            return commit(group)

        def stand_still(_tx: Tx) -> None:
            token.run_sync_soon(stands.set)
            trio.from_thread.run(gate.wait, trio_token=token)

        def nothing(_tx: Tx) -> None:
            pass

        monkeypatch.setattr(store._writer, "_commit", counted)
        async with trio.open_nursery() as writers:
            writers.start_soon(store.write, stand_still)
            await stands.wait()
            for _ in range(9):
                writers.start_soon(partial(store.write, nothing, weight_bytes=weight_bytes))
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
    assert committed == [1, *groups]


async def test_what_is_not_kept_is_told_in_order_with_what_is_and_only_if_it_is_committed(tmp_path: Path) -> None:
    heard: list[Announcement] = []

    def unit(tx: Tx, *, fail: bool) -> None:
        session, _run = sessions.create(tx, name=None, project_root=None, persona=None)
        tx.tell(session.id, SessionLagged(resume_from=0))
        if fail:
            raise Denied("no")
        sessions.create(tx, name=None, project_root=None, persona=None)

    async with opened(tmp_path / "p.db", heard.extend) as store:
        with pytest.raises(Denied):
            await store.write(partial(unit, fail=True))
        assert heard == []
        await store.write(partial(unit, fail=False))
        assert [(each.seq, each.notification.method) for each in heard] == [
            (1, "session/created"),
            (None, "session/lagged"),
            (1, "session/created"),
        ]
        kept = await store.read(lambda db: events.after(db, 1, 0))
        assert [each.method for each in kept] == ["session/created"]
