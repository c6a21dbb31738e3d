"""What comes at a bad moment: a cancel between two steps, an end that is overtaken, a session that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.language.ast import Exec
from plurnk.plugins.api import CommandOrder, GenerateRequest, ReadyCommand
from plurnk.server.attachment import Client
from plurnk.server.handlers import HANDLERS
from plurnk.store import entries, log, loops, recovery
from plurnk.store.database import Store, StoreFailed, Tx
from plurnk.store.loops import Defaults, Submission
from plurnk.store.query import Snapshot, query
from plurnk.store.wakes import WakeRules
from plurnk.wire import answers, params
from plurnk.wire.notifications import LogEntry, LogEntryUpdated, LoopProposal, Notification
from plurnk.wire.results import OpResult
from tests.support.brooks import brooks, heard, live, start
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, do, engine_with
from tests.support.stores import begin_turn, new_session, opened

LIMITS = Limits(settle_s=0, park_s=3600)


class SlowDisk(FakeCommands):
    """Commands for which the writer gets busy just before they are proposed; until ``go``."""

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Event()
        self.go = threading.Event()
        self.store: Store | None = None
        self.nursery: trio.Nursery | None = None

    async def prepare(self, order: CommandOrder) -> ReadyCommand:
        assert self.store is not None
        assert self.nursery is not None

        def wait(_tx: Tx) -> None:
            self.busy.set()
            self.go.wait(30)

        self.nursery.start_soon(self.store.write, wait)
        await until(self.busy.is_set)
        return await super().prepare(order)


async def proposed(bench: Bench) -> list[LogEntry]:
    """The rows that have no answer."""

    def read(db: Snapshot) -> list[LogEntry]:
        return [row for row, _hidden in log.of_run(db, bench.run.id) if row.state == "proposed"]

    return await bench.engine.store.read(read)


async def live_loops(bench: Bench) -> list[str]:
    """The origins of the run's loops that have not ended."""

    def read(db: Snapshot) -> list[str]:
        rows = query(db, "SELECT origin FROM loops WHERE run_id = ? AND status IN (100, 102)", (bench.run.id,))
        return [str(origin) for (origin,) in rows]

    return await bench.engine.store.read(read)


# -- proposals


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_a_proposal_whose_loop_is_cancelled_before_its_row_is_written_is_answered(tmp_path: Path) -> None:
    commands = SlowDisk()
    async with engine_with(tmp_path / "p.db", ["<<EXEC:x:EXEC"], commands=commands) as bench:
        store, proposals = bench.engine.store, bench.engine.proposals
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                commands.store, commands.nursery = store, nursery
                submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
                await until(lambda: commands.busy.is_set() and store.waiting > 0)  # the row that is to be written
                nursery.start_soon(bench.engine.cancel, bench.run.id, "enough")
                await until(lambda: store.waiting > 1)  # what the end of the loop has to write
                commands.go.set()
                assert (await bench.engine.loop_end(submitted.loop_id)).status == 499
            (row_id,) = [n.log_entry_id for n in bench.ear.heard if isinstance(n, LoopProposal)]
            assert await proposed(bench) == []
            assert (await proposals.resolve(bench.session.id, row_id, "accept")).status == 409


async def test_a_proposal_that_could_not_be_written_leaves_another_with_its_number_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails with its commit gives its row's id back."""
    announce, failed = Tx.announce, trio.Event()

    def fail_once(self: Tx, session_id: int, notification: Notification) -> int:
        if isinstance(notification, LoopProposal) and not failed.is_set():
            trio.from_thread.run_sync(failed.set, trio_token=token)
            raise StoreFailed("database error: disk I/O error")
        return announce(self, session_id, notification)

    token = trio.lowlevel.current_trio_token()
    async with engine_with(tmp_path / "p.db", (), commands=FakeCommands()) as bench:
        store, proposals = bench.engine.store, bench.engine.proposals
        one, two = (ClientLoop(bench.engine, bench.run.id) for _ in range(2))
        for client in (one, two):
            await client.run([])
        monkeypatch.setattr(Tx, "announce", fail_once)
        answers_: list[OpResult] = []

        async def ask(client: ClientLoop) -> None:
            try:
                results, _turn_id = await client.run([Exec(body="x")])
                answers_.extend(results)
            except StoreFailed:
                answers_.append(OpResult(status=500))

        with trio.fail_after(30):
            async with trio.open_nursery() as asking:
                asking.start_soon(ask, one)
                asking.start_soon(ask, two)
                await until(lambda: bool(answers_) and bool(proposals.pending(bench.session.id)))
                (pending,) = proposals.pending(bench.session.id)
                await store.write(lambda _tx: None)
                resolved = await proposals.resolve(bench.session.id, pending.told.log_entry_id, "accept")
                assert resolved.status == 102
        assert [answer.status for answer in answers_] == [500, 102]
        for client in (one, two):
            await client.close()
        assert await live_loops(bench) == []


async def test_a_proposal_that_the_disk_has_no_room_to_answer_is_answered_with_its_loops_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_waiting: object, _tx: Tx) -> None:
        raise StoreFailed("database error: disk I/O error")

    monkeypatch.setattr("plurnk.engine.proposals._abandon", fail)
    monkeypatch.setattr("plurnk.engine.proposals.ABANDON_LIMIT_S", 0.05)
    async with engine_with(tmp_path / "p.db", ["<<EXEC:x:EXEC"], commands=FakeCommands()) as bench:
        await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        with trio.fail_after(30):
            await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
            await bench.engine.cancel(bench.run.id, "enough")
        assert await proposed(bench) == []
        (updated,) = [n.entry for n in bench.ear.heard if isinstance(n, LogEntryUpdated)]
        assert (updated.status_rx, updated.outcome) == (499, "loop_cancelled")


@pytest.mark.parametrize("resume", [True, False])
async def test_after_a_crash_no_proposal_looks_open_that_nobody_waits_for(tmp_path: Path, resume: bool) -> None:
    path = tmp_path / "p.db"
    async with opened(path) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        row = await store.write(
            lambda tx: log.add(tx, turn, Exec(body="x"), origin="model", result=OpResult(status=202))
        )
    async with opened(path) as store:
        await store.write(lambda tx: recovery.recover(tx, resume=resume, rules=WakeRules(lambda _alias: True, 16)))
        answered = await store.read(lambda db: log.get(db, row.id))
        assert answered is not None
        assert (answered.status_rx, answered.state, answered.outcome) == (499, "cancelled", "loop_cancelled")


async def test_a_loop_has_no_less_time_for_having_waited_to_be_allowed(tmp_path: Path) -> None:
    limits = Limits(loop_timeout_s=0.4, settle_s=0)
    script = ["<<EXEC:x:EXEC", "<<SEND[200]:done:SEND"]
    async with engine_with(tmp_path / "p.db", script, commands=FakeCommands(), limits=limits) as bench:
        proposals = bench.engine.proposals
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        with trio.fail_after(30):
            await until(lambda: bool(proposals.pending(bench.session.id)))
            await trio.sleep(limits.loop_timeout_s)  # what is tested is that this makes no difference
            (pending,) = proposals.pending(bench.session.id)
            await proposals.resolve(bench.session.id, pending.told.log_entry_id, "accept")
            loop = await bench.engine.loop_end(submitted.loop_id)
        assert (loop.status, loop.reason) == (200, None)


# -- ends that are overtaken


@pytest.mark.spec("2.4-delete-cancels-stream", "4.5-cancel-races")
async def test_an_entry_whose_stream_ends_just_now_is_deleted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS) as (bench, brook):
        await do(bench, start("a"))
        cancel = bench.engine.streams.cancel

        async def too_late(entry_id: int, *, reason: str) -> bool:
            brook.end("a")
            await heard(bench, "stream/concluded")
            return await cancel(entry_id, reason=reason)

        monkeypatch.setattr(bench.engine.streams, "cancel", too_late)
        (deleted,) = await do(bench, "<<SEND[410](brook://a)::SEND")
        assert (deleted.status, deleted.error) == (200, None)


@pytest.mark.spec("2.4-hide-499-cancels", "4.5-bounded")
async def test_many_streams_are_ended_at_the_same_time(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS, lingers=True) as (bench, brook):
        await do(bench, start("a", "b", "c"))
        results: list[OpResult] = []

        async def hide() -> None:
            results.extend(await do(bench, "<<HIDE[499](brook://*)::HIDE"))

        with trio.fail_after(30):
            async with trio.open_nursery() as hiding:
                hiding.start_soon(hide)
                await until(lambda: all(flow.cancelled for flow in brook.flows.values()))
                for flow in brook.flows.values():
                    flow.let_go.set()
        assert [(result.status, result.matches) for result in results] == [(200, 3)]
        assert await live(bench) == []


@pytest.mark.spec("4.5-cancel-races")
async def test_a_stream_whose_entry_is_deleted_while_it_is_being_cancelled_is_answered(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS) as (bench, _brook):
        await do(bench, start("a"))
        (row,) = await bench.engine.store.read(lambda db: query(db, "SELECT id FROM subscriptions"))
        read: Callable[..., Any] = bench.engine.store.read

        async def read_and_delete(unit: Callable[[Snapshot], Any]) -> Any:
            bench.engine.store.read = read  # type: ignore[method-assign]
            found = await read(unit)
            await do(bench, "<<SEND[410](brook://a)::SEND")
            return found

        bench.engine.store.read = read_and_delete  # type: ignore[method-assign]
        asked = params.SubscriptionCancelParams(id=row[0])
        answer = await HANDLERS["subscription.cancel"](client_of(bench), asked)
        assert isinstance(answer, answers.SubscriptionCancelResult)
        assert (answer.status, answer.target, answer.close_status) == (200, "brook://a", 499)


def client_of(bench: Bench) -> Client:
    """A client of the bench's session, as far as a handler looks at one."""
    place = SimpleNamespace(session_id=bench.session.id, run_id=bench.run.id)

    async def get_place() -> SimpleNamespace:
        await trio.lowlevel.checkpoint()
        return place

    async def forget(_session_id: int) -> None:
        await trio.lowlevel.checkpoint()

    state = SimpleNamespace(place=get_place, engine=bench.engine, commands=SimpleNamespace(forget=forget))
    return cast("Client", SimpleNamespace(state=state))


# -- loops


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_a_loop_that_is_queued_and_not_driven_yet_is_cancelled_too(tmp_path: Path) -> None:
    """Between the commit that queues it and the call that has it driven."""
    async with engine_with(tmp_path / "p.db", ()) as bench:
        queued = await bench.engine.store.write(
            lambda tx: loops.submit(tx, bench.run.id, Submission(prompt="go"), Defaults(flags="{}", max_turns=9))
        )
        with trio.fail_after(30):
            assert (await bench.engine.cancel(bench.run.id, "enough")).loop_id == queued.loop_id
            loop = await bench.engine.loop_end(queued.loop_id)
        assert (loop.status, loop.reason) == (499, "cancelled")
        assert bench.model.requests == []


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_who_waits_for_a_loop_hears_of_its_end_though_its_session_is_deleted_at_once(tmp_path: Path) -> None:
    gate, ends = trio.Event(), list[tuple[int, str | None]]()

    async def say(_number: int, _request: GenerateRequest) -> str:
        await gate.wait()
        return "<<SEND[200]::SEND"

    def end_and_delete(tx: Tx) -> None:
        (loop_id,) = loops.drop_queued(tx, bench.run.id, "its session is deleted")
        tx.db.execute("DELETE FROM loops WHERE id = ?", (loop_id,))

    async with engine_with(tmp_path / "p.db", say) as bench:
        first = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await bench.model.asked.wait()
        queued = await bench.engine.submit(bench.run.id, Submission(prompt="next", queue=True))

        async def wait() -> None:
            loop = await bench.engine.loop_end(queued.loop_id)
            ends.append((loop.status, loop.reason))

        with trio.fail_after(30):
            async with trio.open_nursery() as waiting:
                waiting.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await bench.engine.store.write(end_and_delete)
            assert ends == [(499, "its session is deleted")]
            gate.set()
            assert (await bench.engine.loop_end(first.loop_id)).status == 200


@pytest.mark.spec("6.3-client-loop-lazy")
async def test_a_client_that_has_moved_on_leaves_no_loop_open(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (), commands=FakeCommands()) as bench:
        client = ClientLoop(bench.engine, bench.run.id)
        with trio.fail_after(30):
            async with trio.open_nursery() as asking:
                asking.start_soon(client.run, [Exec(body="x")])
                await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
                await client.close()  # it attaches to another session; what it has asked for goes on
                (pending,) = bench.engine.proposals.pending(bench.session.id)
                row_id = pending.told.log_entry_id
                assert (await bench.engine.proposals.resolve(bench.session.id, row_id, "accept")).status == 102
            assert await live_loops(bench) == []
            await client.run([])  # a request that was on its way when it moved
        assert await live_loops(bench) == []


# -- a session that goes away


@pytest.mark.parametrize("what", ["stream", "loop", "proposal"])
@pytest.mark.spec("4.1-one-scope-per-subscription", "3.1-terminal-always-written")
async def test_what_is_begun_while_a_session_is_deleted_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def say(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        return ""

    async with (
        brooks(tmp_path / "p.db", say, limits=LIMITS) as (bench, brook),
        engine_with(tmp_path / "q.db", say, commands=FakeCommands()) as other,
    ):
        here = other if what == "proposal" else bench
        cancel_runs, begun = here.engine.cancel_runs, trio.Event()

        async def and_begin(run_ids: list[int], reason: str) -> None:
            await cancel_runs(run_ids, reason)
            if not begun.is_set():
                begun.set()
                if what == "stream":
                    await do(here, start("late"))
                elif what == "loop":
                    await here.engine.submit(here.run.id, Submission(prompt="late"))
                else:
                    clients.start_soon(ask)
                    await until(lambda: bool(here.engine.proposals.pending(here.session.id)))

        async def ask() -> None:
            with pytest.raises(Exception, match="the session was deleted"):
                await ClientLoop(here.engine, here.run.id).run([Exec(body="x")])

        monkeypatch.setattr(here.engine, "cancel_runs", and_begin)
        with trio.fail_after(30):
            async with trio.open_nursery() as clients:
                await HANDLERS["session.delete"](client_of(here), params.SessionIdParams(id=here.session.id))
        assert here.engine.streams.count == 0
        assert all(flow.cancelled for flow in brook.flows.values())
        if what == "loop":
            assert "loop/terminated" in here.ear.kinds()
        assert here.engine.proposals.pending(here.session.id) == ()
        assert await here.engine.store.read(lambda db: entries.find(db, here.session.id, "brook", "late")) is None
