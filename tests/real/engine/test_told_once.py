"""What a model is told of what went wrong: once, whatever is cut off, and not enough to end a loop (SPEC 3.5)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.rules.context import packet_limit
from plurnk.store.database import Tx
from plurnk.store.loops import Loop, Submission
from plurnk.wire.notifications import TelemetryEvent
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, engine_with, put_bytes

DONE = "<<SEND[200]::SEND"
CONTEXT = 8_000
LIMITS = Limits(max_strikes=3, settle_s=0)


async def submit(bench: Bench, max_turns: int | None = None) -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt="do it", max_turns=max_turns))).loop_id


async def end(bench: Bench, loop_id: int) -> Loop:
    with trio.fail_after(30):
        return await bench.engine.loop_end(loop_id)


def errors(request: GenerateRequest) -> list[dict[str, Any]]:
    """What the packet tells of what went wrong."""
    section = request.messages[1].content.partition("# Plurnk System Errors\n")[2].partition("\n\n# ")[0]
    return [msgspec.json.decode(line.removeprefix("* ")) for line in section.splitlines()]


def kinds(request: GenerateRequest) -> list[str]:
    return [event["kind"] for event in errors(request)]


async def leave(bench: Bench, here: Path, left: Path) -> None:
    """Copy the database as a kill of the daemon at this moment would leave it."""

    def copy(_tx: Tx) -> None:
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{here}{suffix}", f"{left}{suffix}")

    await bench.engine.store.write(copy)


async def killed_in_turn(tmp_path: Path, number: int, script: tuple[str, ...], max_turns: int | None = None) -> Path:
    """What is left of a daemon that is killed while its model thinks about that turn of the first loop."""

    async def say(call: int, _request: GenerateRequest) -> str:
        if call == number:
            await trio.sleep_forever()
        return script[call - 1]

    here, left = tmp_path / "p.db", tmp_path / "left.db"
    async with engine_with(here, say, context_size=CONTEXT, limits=LIMITS) as bench:
        await put_bytes(bench, "long", b"a line that takes its room\n" * 2_000)
        await submit(bench, max_turns)
        with trio.fail_after(30):
            await until(lambda: len(bench.model.requests) == number)
            await leave(bench, here, left)
    return left


@pytest.mark.spec("3.5-drain-on-read", "7.2-resume")
async def test_what_a_turn_was_told_that_was_never_answered_is_told_again(tmp_path: Path) -> None:
    left = await killed_in_turn(tmp_path, 2, ("No statement here.",))
    async with engine_with(left, ("<<SEND[102]::SEND", DONE), limits=LIMITS) as bench:
        await bench.engine.resume(resume=True)
        assert (await end(bench, 1)).status == 200
        first, second = bench.model.requests
    assert kinds(first) == ["no_ops", "strike", "interrupted"]
    assert kinds(second) == []


@pytest.mark.spec("3.5-drain-on-read", "3.6-sudden-death-soft")
async def test_the_turns_that_are_left_are_counted_anew_when_one_is_cut_off(tmp_path: Path) -> None:
    left = await killed_in_turn(tmp_path, 2, ("<<SEND[102]::SEND",), max_turns=4)
    async with engine_with(left, ("<<SEND[102]::SEND", DONE), limits=LIMITS) as bench:
        await bench.engine.resume(resume=True)
        assert (await end(bench, 1)).status == 200
        told = [(event["kind"], event.get("remaining")) for r in bench.model.requests for event in errors(r)]
    assert told == [("sudden_death", 2), ("interrupted", None), ("sudden_death", 1)]


@pytest.mark.spec("3.5-drain-on-read", "3.4-fit-folds-oldest")
async def test_a_fold_is_told_again_only_if_nobody_has_read_of_it(tmp_path: Path) -> None:
    script = (*(f"<<READ(known://long)<{first}--1>::READ" for first in (1, 2, 3)), "<<EXEC:make:EXEC")
    cut = await killed_in_turn(tmp_path, 4, script)
    async with engine_with(cut, (DONE,), limits=LIMITS, context_size=CONTEXT) as bench:
        await bench.engine.resume(resume=True)
        assert (await end(bench, 1)).status == 200
        assert kinds(bench.model.requests[0]) == ["budget_folded", "interrupted"]

    path = tmp_path / "q.db"
    commands = FakeCommands()
    async with engine_with(path, script, limits=LIMITS, context_size=CONTEXT, commands=commands) as bench:
        await put_bytes(bench, "long", b"a line that takes its room\n" * 2_000)
        loop_id = await submit(bench)
        with trio.fail_after(30):
            await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
            (pending,) = bench.engine.proposals.pending(bench.session.id)
            bench.engine.refuse_prompts()
            await bench.engine.drain()
        assert kinds(bench.model.requests[3]) == ["budget_folded"]
    async with engine_with(path, (DONE,), limits=LIMITS, context_size=CONTEXT, commands=commands) as bench:
        await bench.engine.resume(resume=True)
        await bench.engine.proposals.resolve(pending.told.session_id, pending.told.log_entry_id, "reject")
        assert (await end(bench, loop_id)).status == 200
        assert kinds(bench.model.requests[0]) == ["interrupted"]


@pytest.mark.spec("3.4-fit-folds-oldest", "3.4-log-row-shape")
@pytest.mark.parametrize(
    "answer",
    [
        f"<<READ(known://{'x' * 30_000})::READ",
        f"<<FIND(known://n):{'x' * 30_000}:FIND",
        f"<<COPY(known://n1):known://{'x' * 30_000}:COPY <<MOVE(known://{'x' * 30_000})::MOVE",
    ],
    ids=["target", "matcher", "destination"],
)
async def test_no_statement_is_so_long_that_it_costs_the_memory_of_others(tmp_path: Path, answer: str) -> None:
    script = (*(f"<<EDIT(known://n{n}):hello:EDIT" for n in range(5)), answer, "<<EDIT(known://z):x:EDIT", DONE)
    async with engine_with(tmp_path / "p.db", script, limits=LIMITS, context_size=CONTEXT) as bench:
        assert (await end(bench, await submit(bench))).status == 200
        seventh, last = (request.messages[0].content for request in bench.model.requests[6:])
    assert "log://1/1/2/EDIT" in seventh
    assert '"target":"known://n0"' in last
    assert "x" * 500 + "…" in last


@pytest.mark.spec("3.4-fit-folds-oldest", "3.5-action-failure-mirrored")
@pytest.mark.parametrize(
    "answer",
    [
        " ".join(f"<<READ(known://none/{'x' * 60}/{n})::READ" for n in range(99)),
        f"<<READ(known://{'x' * 60_000})::READ",
        f"<<READ(nosuch{'x' * 60_000}://y)::READ",
    ],
    ids=["many", "a long path", "a long scheme"],
)
async def test_no_error_is_so_long_that_it_ends_the_loop(tmp_path: Path, answer: str) -> None:
    limits = Limits(max_strikes=0)
    async with engine_with(tmp_path / "p.db", (answer, DONE), limits=limits, context_size=CONTEXT) as bench:
        loop = await end(bench, await submit(bench))
        assert (loop.status, loop.reason) == (200, None)
        second = bench.model.requests[1]
        assert sum(map(bench.model.count_tokens, (m.content for m in second.messages))) <= packet_limit(CONTEXT, 0)
        assert set(kinds(second)) == {"action_failure", "budget_folded"} or kinds(second) == ["action_failure"]
        announced = [n.event for n in bench.ear.heard if isinstance(n, TelemetryEvent)]
    shown = [event for event in errors(second) if event["kind"] == "action_failure"]
    failed = [event for event in announced if event["kind"] == "action_failure"]
    assert shown == failed[-len(shown) :], "of many the last"
    assert len(failed) == answer.count("<<")
