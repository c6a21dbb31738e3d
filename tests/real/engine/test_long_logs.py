"""What a turn costs in a long log, and what is kept of it in memory: what is new, and not what was (SPEC 3.4)."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from plurnk.engine import packets, run_texts
from plurnk.engine.limits import Limits
from plurnk.engine.packets import Built, PacketMaker
from plurnk.engine.run_texts import RunTexts
from plurnk.plugins.api import GenerateRequest
from plurnk.store import channels, log, loops, sessions, turns
from plurnk.store import packets as store_packets
from plurnk.store.channels import Channel
from plurnk.store.log import TurnRef
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from tests.support.engines import Bench, do, engine_with, put_bytes

DONE = "<<SEND[200]::SEND"
LINE = "a line of a text that is read piece by piece\n"


async def run(bench: Bench, run_id: int | None = None) -> None:
    submitted = await bench.engine.submit(run_id or bench.run.id, Submission(prompt="do it"))
    with trio.fail_after(60):
        assert (await bench.engine.loop_end(submitted.loop_id)).status == 200


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows of logs each look has read, from when the test looks on."""
    counts: list[int] = []
    of_run = log.of_run

    def counted(*arguments: Any, **named: Any) -> Any:
        rows = of_run(*arguments, **named)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(log, "of_run", counted)
    return counts


async def test_hiding_and_showing_rows_reads_no_others_again(tmp_path: Path, rows_read: list[int]) -> None:
    script = ["<<READ(known://none)::READ"] * 100
    says = ("<<HIDE(log://1/7/1/READ)::HIDE", "<<HIDE(log://1/9/1/READ)::HIDE <<SHOW(log://1/7/1/READ)::SHOW", DONE)
    read_by_turn: list[int] = []

    async def say(number: int, _request: GenerateRequest) -> str:
        read_by_turn.append(sum(rows_read))
        rows_read.clear()
        return [*script, *says][number - 1]

    async with engine_with(tmp_path / "p.db", say, limits=Limits(max_strikes=0)) as bench:
        await run(bench)
        assert max(read_by_turn) <= 3
        last = bench.model.requests[-1].messages[0].content
        paths = [f'"path":"log://1/{turn}/1/READ"' for turn in (6, 7, 8, 9)]
        at = [last.find(path) for path in paths]
        assert 0 < at[0] < at[1] < at[2]
        assert at[3] == -1


def twice(compared: list[int]) -> Callable[..., Built | RunTexts]:
    """``PacketMaker.build`` which sees that somebody who knows nothing of the run yet would build the same."""
    build = PacketMaker.build

    def building(maker: PacketMaker, *arguments: Any, **begun: Any) -> Built | RunTexts:
        built = build(maker, *arguments, **begun)
        fresh = PacketMaker(maker.papers, maker.limits, maker.schemes, maker.previews)
        other: Built | RunTexts | None = None
        while not isinstance(other, Built):
            other = build(fresh, *arguments, begun=other)
        if isinstance(built, Built):
            assert (built.packet, built.request, built.folds) == (other.packet, other.request, other.folds)
            compared.append(len(built.packet.system.log))
        return built

    return building


def worker(seed: int, turns: int) -> Callable[[int, GenerateRequest], Awaitable[str]]:
    """A model that reads, writes, hides and shows at random."""
    random = Random(seed)

    def row(number: int) -> str:
        return f"log://1/{random.randint(1, number)}/**"

    async def say(number: int, _request: GenerateRequest) -> str:
        first = random.randint(1, 100)
        some = (
            f"<<READ(known://long)<{first}-{first + random.randint(0, 40)}>::READ",
            f"<<EDIT(known://n{random.randint(1, 5)}):turn {number}:EDIT",
            f"<<HIDE({row(number)})::HIDE",
            f"<<HIDE({row(number)})::HIDE",
            f"<<SHOW({row(number)})::SHOW",
            "<<SHOW(log://**)::SHOW" if random.random() < 0.1 else "<<READ(known://none)::READ",
        )
        return DONE if number > turns else " ".join(random.choices(some, k=random.randint(1, 4)))

    return say


@pytest.mark.parametrize("context", [None, 3_000, 8_000])
@pytest.mark.parametrize("slice_s", [60.0, -1.0])
async def test_what_is_kept_from_turn_to_turn_is_what_a_start_would_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: int | None, slice_s: float
) -> None:
    compared: list[int] = []
    monkeypatch.setattr(PacketMaker, "build", twice(compared))
    monkeypatch.setattr(run_texts, "SLICE_S", slice_s)
    monkeypatch.setattr(run_texts, "PAGE_ROWS", 16)
    say = worker(7, 60)
    limits = Limits(max_strikes=0)
    async with engine_with(tmp_path / "p.db", say, context_size=context, limits=limits) as bench:
        await put_bytes(bench, "long", LINE.encode() * 200)
        await run(bench)
    assert len(compared) == 61
    assert max(compared) > 10


async def test_a_log_that_takes_long_to_be_read_is_read_in_several_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_read: list[int]
) -> None:
    builds = 0
    build = PacketMaker.build

    def counted(*arguments: Any, **begun: Any) -> Built | RunTexts:
        nonlocal builds
        builds += 1
        return build(*arguments, **begun)

    monkeypatch.setattr(PacketMaker, "build", counted)
    monkeypatch.setattr(run_texts, "SLICE_S", -1.0)
    async with engine_with(tmp_path / "p.db", (DONE,)) as bench:
        for _ in range(3):
            await do(bench, "<<READ(known://none)::READ " * 90)
        await run(bench)
        assert max(rows_read) == run_texts.PAGE_ROWS
        assert sum(rows_read) == 271
        assert builds == 1 + 271 // run_texts.PAGE_ROWS
        assert bench.model.requests[0].messages[0].content.count("* {") == 271


async def test_rows_after_one_that_waits_for_an_answer_are_read_once(tmp_path: Path, rows_read: list[int]) -> None:
    async def say(number: int, _request: GenerateRequest) -> str:
        read_by_turn.append(sum(rows_read))
        rows_read.clear()
        return DONE if number > 50 else "<<READ(known://none)::READ"

    read_by_turn: list[int] = []
    async with engine_with(tmp_path / "p.db", say, limits=Limits(max_strikes=0)) as bench:
        await do(bench, "<<READ(known://none)::READ")
        # As if a client had proposed something that nobody has decided yet.
        await bench.engine.store.write(
            lambda tx: tx.db.execute("UPDATE log_entries SET state = 'proposed', status_rx = 202").fetchall()
        )
        await run(bench)
        assert max(read_by_turn[1:]) <= 2
        (answered,) = await bench.engine.store.read(lambda db: [row for row, _ in log.of_run(db, bench.run.id)][:1])
        await bench.engine.store.write(lambda tx: log.abandon(tx, answered.id))
        bench.model._say = (DONE,) * 60
        await run(bench)
        assert log.ABANDONED in bench.model.requests[-1].messages[0].content


async def test_of_an_index_only_what_has_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    read_by_turn: list[int] = []
    read_bytes = channels.read_bytes

    def counted(db: Snapshot, channel: Channel, *window: Any) -> bytes:
        read.append(channel.id)
        return read_bytes(db, channel, *window)

    async def say(number: int, _request: GenerateRequest) -> str:
        read_by_turn.append(len(read))
        read.clear()
        return DONE if number > 4 else f"<<EDIT(known://n{number}):turn {number}:EDIT"

    async with engine_with(tmp_path / "p.db", say) as bench:
        await do(bench, "".join(f"<<EDIT(known://n{number}):note {number}:EDIT " for number in range(30)))
        monkeypatch.setattr(channels, "read_bytes", counted)
        await run(bench)
        assert read_by_turn[0] == 30
        assert max(read_by_turn[1:]) <= 3
        last = bench.model.requests[-1].messages[0].content
        assert [f"1:\tturn {number}\n" in last for number in (1, 2, 3, 4, 5)] == [True, True, True, True, False]
        assert last.count("1:\tnote ") == 26


async def test_bodies_that_no_packet_has_shown_are_not_kept_with_the_packets(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (DONE,), context_size=8_000) as bench:
        await put_bytes(bench, "long", LINE.encode() * 2_000)
        for _ in range(20):
            await do(bench, "<<READ(known://long)::READ")
        await run(bench)
        ((refs,),) = await bench.engine.store.read(
            lambda db: query(db, "SELECT packet_refs FROM turns WHERE packet <> ''")
        )
        shown = sum(last - first + 1 for first, last in msgspec.json.decode(refs)["log"])
        kept = await bench.engine.store.read(lambda db: query(db, "SELECT text FROM packet_texts WHERE part = 'log'"))
        assert len(kept) == shown


async def test_the_logs_that_are_kept_in_memory_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "KEPT_CHARS", 3_000)
    made: list[PacketMaker] = []
    build = PacketMaker.build

    def seen(maker: PacketMaker, *arguments: Any, **begun: Any) -> Built | RunTexts:
        made[:] = [maker]
        return build(maker, *arguments, **begun)

    monkeypatch.setattr(PacketMaker, "build", seen)
    async with engine_with(tmp_path / "p.db", [DONE] * 9) as bench:
        for name in ("a", "b", "c"):
            copy = await bench.engine.store.write(partial(sessions.create_run, session_id=bench.session.id, name=name))
            await run(bench, copy.id)
        assert len(made[0]._kept) == 3
        await put_bytes(bench, "long", LINE.encode() * 100)
        await do(bench, "<<READ(known://long)::READ")
        await run(bench)
        assert list(made[0]._kept) == [bench.run.id]


async def test_the_numbers_of_a_log_that_was_folded_are_a_few_ranges(tmp_path: Path) -> None:
    async def say(number: int, _request: GenerateRequest) -> str:
        read = f"<<READ(known://long)<1-{number % 20 + 5}>::READ"
        return DONE if number > 60 else f"<<READ(known://none)::READ {read}"

    async with engine_with(tmp_path / "p.db", say, context_size=8_000, limits=Limits(max_strikes=0)) as bench:
        await put_bytes(bench, "long", LINE.encode() * 200)
        await run(bench)
        assert any("budget_folded" in request.messages[1].content for request in bench.model.requests)
        find = "SELECT packet_refs FROM turns WHERE packet IS NOT NULL"
        refs = [ref for (ref,) in await bench.engine.store.read(lambda db: query(db, find))]
        ranges = [len(msgspec.json.decode(ref)["log"]) for ref in refs]
        assert max(ranges) <= 12  # one for each fold, and one for the line that stands for what is left out


def steps(db: Snapshot, look: Callable[[], object]) -> int:
    """How many hundreds of SQLite's steps ``look`` takes."""
    taken = itertools.count()
    db.set_progress_handler(lambda: next(taken) < 0, 100)
    look()
    return next(taken)


async def test_what_each_turn_looks_up_costs_no_more_after_many_turns(tmp_path: Path) -> None:
    script = [*["<<READ(known://none)::READ"] * 400, DONE]
    async with engine_with(tmp_path / "p.db", script, limits=Limits(max_strikes=0)) as bench:
        await run(bench)
        run_id = bench.run.id

        def looked(db: Snapshot) -> dict[str, int]:
            ((turn_id, loop_id),) = query(db, "SELECT max(id), max(loop_id) FROM turns")
            turn = TurnRef(
                session_id=bench.session.id, run_id=run_id, loop_id=loop_id, turn_id=turn_id, loop_seq=1, turn_seq=401
            )
            looks: dict[str, Callable[[], object]] = {
                "what is recent": lambda: log.recent_from(db, turn),
                "what is told": lambda: turns.telemetry_before(db, turn),
                "what was counted": lambda: turns.last_counted(db, turn),
                "what rails see": lambda: turns.marks(db, loop_id, last=12),
                "how many there were": lambda: loops.turns_of(db, loop_id),
                "which texts are kept": lambda: store_packets.last_number(db, run_id, "log"),
                "what is new": lambda: log.of_run(db, run_id, after_id=log.recent_from(db, turn) - 1, limit=64),
            }
            return {name: steps(db, look) for name, look in looks.items()}

        found = await bench.engine.store.read(looked)
        assert {name: taken for name, taken in found.items() if taken > 8} == {}
