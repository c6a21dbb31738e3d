"""What is kept of packets is what was sent, whatever happens while they are made and kept (SPEC 3.4)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from plurnk.engine import asking, packets, run_texts
from plurnk.plugins.api import GenerateRequest
from plurnk.providers.errors import ProviderFailed
from plurnk.rules import packet as rules
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.store import sessions, turns
from plurnk.store.database import Tx
from plurnk.store.loops import Loop, Submission
from plurnk.store.query import Snapshot, query
from plurnk.store.sessions import Run
from plurnk.wire.notifications import TelemetryEvent
from tests.support.engines import Bench, engine_with
from tests.support.faults import AtStep, FailingWrites, until_it_misses

DONE: Final = "<<SEND[200]::SEND"
NOTE: Final = "\n".join(f"line {number} of the note" for number in range(60))
READ: Final = "<<READ(known://a)::READ"
CONTEXT: Final = 1400
"""So small that the third body of NOTE folds the first."""


class Model:
    """Reads the note again and again, until its loop has had four turns; fails before each second answer."""

    def __init__(self) -> None:
        self._calls = 0
        self.failing = True

    async def __call__(self, _number: int, request: GenerateRequest) -> str:
        self._calls += 1
        if self._calls % 2 and self.failing:
            raise ProviderFailed("not now", http_status=503, transient=True)
        found = re.search(r"^Turn (\d+)/", request.messages[1].content, re.MULTILINE)
        if not found:
            return f"<<EDIT(known://a):{NOTE}:EDIT {READ}"
        return DONE if int(found[1]) >= 4 else f"{READ} <<READ(known://none/{self._calls})::READ"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before a retry."""

    def pause_s(*_args: Any, **_named: Any) -> float:
        return 0.0

    monkeypatch.setattr(asking, "pause_s", pause_s)


async def run(bench: Bench, prompt: str, run_id: int | None = None) -> Loop:
    submitted = await bench.engine.submit(run_id or bench.run.id, Submission(prompt=prompt, queue=True))
    with trio.fail_after(30):
        return await bench.engine.loop_end(submitted.loop_id)


async def see_that_it_is_kept(bench: Bench) -> None:
    """Each packet that is kept was sent, letter by letter; and all of the texts are there, by numbers without holes."""
    sent = {tuple(message.content for message in request.messages) for request in bench.model.requests}

    def look(db: Snapshot) -> None:
        for (turn_id,) in query(db, "SELECT id FROM turns WHERE packet IS NOT NULL"):
            packet = msgspec.json.decode(turns.packet(db, bench.session.id, turn_id), type=Packet)
            assert (render_system(packet), render_user(packet)) in sent
        for _part, rows in groupby(
            query(db, "SELECT run_id || part, number FROM packet_texts ORDER BY 1, 2"), lambda row: row[0]
        ):
            numbers = [number for _part, number in rows]
            assert numbers == list(range(1, len(numbers) + 1))
        assert query(db, "SELECT id FROM turns WHERE ended_at IS NULL") == []
        # What was answered is kept and paid.
        assert query(db, "SELECT id FROM turns WHERE model IS NOT NULL AND (packet IS NULL OR cost_pico <> 200)") == []

    await bench.engine.store.read(look)


def folds(bench: Bench) -> int:
    return sum(isinstance(n, TelemetryEvent) and n.event["kind"] == "budget_folded" for n in bench.ear.heard)


@pytest.mark.spec("3.1-cancel-is-complete", "3.1-terminal-always-written", "3.4-fit-folds-oldest")
async def test_a_loop_that_retries_and_folds_is_cancelled_at_any_step_of_its_driver(tmp_path: Path) -> None:
    folded: list[int] = []

    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", Model(), context_size=CONTEXT) as bench:
            engine, run_id = bench.engine, bench.run.id
            fault = AtStep(
                number,
                lambda task: task.name.endswith("Engine._drive"),
                lambda: engine._drivers[run_id].cancel(1, "the test says so"),
            )
            trio.lowlevel.add_instrument(fault)
            loop = await run(bench, "first")
            trio.lowlevel.remove_instrument(fault)
            assert (loop.status, loop.reason) in {(200, None), (499, "cancelled")}
            for prompt in ("second", "third"):
                loop_after = await run(bench, prompt)
                assert (loop_after.status, loop_after.reason) == (200, None)
            await see_that_it_is_kept(bench)
            folded.append(folds(bench))
        return number <= 10 or loop.status != 200

    await until_it_misses(attempt, at_least=20)
    assert min(folded) >= 1


@pytest.mark.spec("3.1-terminal-always-written", "7.1-disk-full", "3.4-fit-folds-oldest")
async def test_whichever_write_of_a_loop_that_retries_and_folds_fails_it_ends_and_the_next_one_is_right(
    tmp_path: Path,
) -> None:
    async def attempt(number: int) -> bool:
        async with engine_with(tmp_path / f"{number}.db", Model(), context_size=CONTEXT) as bench:
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="first"))
            fault = FailingWrites(bench.engine.store, number)
            with trio.fail_after(30):
                loop = await bench.engine.loop_end(submitted.loop_id)
            happened = fault.mend()
            assert (loop.status, loop.reason) in {(200, None), (500, "internal_error")}
            assert loop.status == 200 or loop.error == "database error: disk I/O error"
            for prompt in ("second", "third"):
                assert (await run(bench, prompt)).status == 200
            await see_that_it_is_kept(bench)
        return happened

    await until_it_misses(attempt, at_least=12)


@pytest.mark.spec("3.1-terminal-always-written", "7.1-disk-full")
async def test_where_there_is_no_room_for_an_answer_its_loop_says_so_and_the_next_one_is_right(tmp_path: Path) -> None:
    model = Model()
    model.failing = False

    def no_more_than(pages: int, tx: Tx) -> None:
        tx.db.pragma("max_page_count", pages)

    async def say(number: int, request: GenerateRequest) -> str:
        if number == 3:  # small writes still find room in pages that there are
            await bench.engine.store.write(partial(no_more_than, 1))
        return await model(number, request)

    async with engine_with(tmp_path / "p.db", say, context_size=CONTEXT) as bench:
        loop = await run(bench, "first")
        assert (loop.status, loop.reason, loop.error) == (500, "internal_error", "the disk is full")
        await bench.engine.store.write(partial(no_more_than, 1_000_000))
        for prompt in ("second", "third"):
            assert (await run(bench, prompt)).status == 200
        await see_that_it_is_kept(bench)


# -- packets that are made at the same time


class Gate:
    """Holds a thread for a while, once. ``limit_s``: no longer, if nobody lets it go on."""

    def __init__(self, limit_s: float = 30) -> None:
        self._limit_s = limit_s
        self._is_over = False
        self.reached = threading.Event()
        self.goes_on = threading.Event()

    def hold(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.reached.set()
            self.goes_on.wait(self._limit_s)

    async def until_reached(self) -> None:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(self.reached.wait)


class Held(dict[int, int]):
    """Whoever has looked something up in it is held, once."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def get(self, key: int, default: Any = None, /) -> Any:
        found = super().get(key, default)
        self._gate.hold()
        return found


def _held_while_it_is_made(_bench: Bench, patch: pytest.MonkeyPatch) -> Gate:
    gate, build = Gate(), rules.build

    def held(*args: Any) -> Any:
        gate.hold()
        return build(*args)

    patch.setattr(rules, "build", held)
    return gate


def _held_when_it_is_to_be_kept(bench: Bench, patch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(limit_s=0.5)  # a second packet waits for the first here, so nobody can let that go on
    patch.setattr(bench.engine._shop.packets, "_newest", Held(gate))
    return gate


@pytest.mark.spec("3.1-cancel-is-complete")
@pytest.mark.parametrize("hold", [_held_while_it_is_made, _held_when_it_is_to_be_kept])
async def test_a_packet_that_was_given_up_is_no_trouble_to_one_that_is_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Callable[[Bench, pytest.MonkeyPatch], Gate]
) -> None:
    model = Model()
    model.failing = False
    async with engine_with(tmp_path / "p.db", model, context_size=CONTEXT) as bench:
        assert (await run(bench, "first")).status == 200
        gate = hold(bench, monkeypatch)
        given_up = await bench.engine.submit(bench.run.id, Submission(prompt="given up"))
        await gate.until_reached()
        await bench.engine.cancel(bench.run.id, "enough")
        assert (await bench.engine.loop_end(given_up.loop_id)).reason == "cancelled"
        assert (await run(bench, "second")).status == 200
        gate.goes_on.set()
        await _until_nothing_is_read(bench)
        assert (await run(bench, "third")).status == 200
        await see_that_it_is_kept(bench)


async def _until_nothing_is_read(bench: Bench) -> None:
    """Wait for what is still read, though nobody wants it any more."""
    with trio.fail_after(30):
        while bench.engine.store._reader_slots.borrowed_tokens:  # noqa: ASYNC110 – a thread, which nobody awaits
            await trio.sleep(0.001)


async def test_a_session_is_deleted_while_a_packet_of_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model()
    model.failing = False
    async with engine_with(tmp_path / "p.db", model, context_size=CONTEXT) as bench:
        assert (await run(bench, "first")).status == 200
        gate = _held_while_it_is_made(bench, monkeypatch)
        doomed = await bench.engine.submit(bench.run.id, Submission(prompt="doomed"))
        await gate.until_reached()
        await bench.engine.cancel_runs([bench.run.id], "its session is deleted")
        assert (await bench.engine.loop_end(doomed.loop_id)).reason == "cancelled"
        await bench.engine.store.write(lambda tx: sessions.delete(tx, bench.session.id))
        gate.goes_on.set()
        await _until_nothing_is_read(bench)
        assert await bench.engine.store.read(lambda db: query(db, "SELECT count(*) FROM packet_texts")) == [(0,)]
        session, other = await bench.engine.store.write(
            lambda tx: sessions.create(tx, name="other", project_root=None, persona=None)
        )
        bench.session = session
        assert (await run(bench, "again", other.id)).status == 200
        await see_that_it_is_kept(bench)


@pytest.mark.spec("3.1-one-driver-per-run")
@pytest.mark.parametrize("slice_s", [run_texts.SLICE_S, 0], ids=["at once", "bit by bit"])
async def test_packets_of_many_runs_at_once_are_each_runs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_s: float
) -> None:
    """More runs than are remembered, so each is forgotten in the middle of its loop and read anew."""
    monkeypatch.setattr(packets, "KEPT_RUNS", 3)
    monkeypatch.setattr(run_texts, "SLICE_S", slice_s)
    monkeypatch.setattr(run_texts, "PAGE_ROWS", 2)
    async with engine_with(tmp_path / "p.db", _say_its_name, context_size=CONTEXT) as bench:
        runs: list[Run] = [bench.run]
        for number in range(19):
            make = partial(sessions.create_run, session_id=bench.session.id, name=f"r{number}", persona=None)
            runs.append(await bench.engine.store.write(make))
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for each in runs:
                    nursery.start_soon(run, bench, f"my run is {each.id}.", each.id)
        await see_that_it_is_kept(bench)
        assert len(bench.engine._shop.packets._kept) <= 3

        def look(db: Snapshot) -> None:
            assert query(db, "SELECT DISTINCT status, reason FROM loops") == [(200, None)]
            for text, run_id in query(db, "SELECT text, run_id FROM packet_texts"):
                assert {int(name) for name in re.findall(r"my run is (\d+)\.", text)} <= {run_id}

        await bench.engine.store.read(look)


async def _say_its_name(_number: int, request: GenerateRequest) -> str:
    system, user = (message.content for message in request.messages)
    found = re.search(r"my run is (\d+)\.", user)
    assert found
    assert {found[1]} >= set(re.findall(r"my run is (\d+)\.", system))
    asked = re.search(r"^Turn (\d+)/", user, re.MULTILINE)
    if not asked:
        return f"<<EDIT(known://{found[1]}):{found[0]}\n{NOTE}:EDIT <<READ(known://{found[1]})::READ"
    return DONE if int(asked[1]) >= 4 else f"<<READ(known://{found[1]})::READ"
