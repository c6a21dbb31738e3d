"""Packets fit into the model's context, however long the log is (SPEC 3.4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from plurnk.content.tokens import estimate_tokens
from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.rules.context import packet_limit
from plurnk.store import log
from plurnk.store.loops import Loop, Submission
from plurnk.wire.notifications import TelemetryEvent
from tests.support.engines import Bench, do, engine_with, put_bytes

CONTEXT = 8_000
LIMIT = packet_limit(CONTEXT, 0)
DONE = "<<SEND[200]::SEND"


async def run(bench: Bench, prompt: str = "do it") -> Loop:
    submitted = await bench.engine.submit(bench.run.id, Submission(prompt=prompt))
    with trio.fail_after(60):
        return await bench.engine.loop_end(submitted.loop_id)


def tokens(request: GenerateRequest) -> int:
    return sum(estimate_tokens(message.content) for message in request.messages)


def system(request: GenerateRequest) -> str:
    return request.messages[0].content


def told_folds(request: GenerateRequest) -> list[dict[str, object]]:
    """The ``budget_folded`` events in a request's errors."""
    lines = [line for line in request.messages[1].content.splitlines() if line.startswith("* {")]
    events = [msgspec.json.decode(line[2:]) for line in lines]
    return [event for event in events if event["kind"] == "budget_folded"]


@pytest.mark.spec("3.4-fit-folds-oldest")
async def test_ten_mebibytes_of_log_and_a_context_of_8_000_tokens(tmp_path: Path) -> None:
    lines = "".join(f"line {number} of a long text that fills its line\n" for number in range(5_000))

    async def say(number: int, request: GenerateRequest) -> str:
        assert tokens(request) <= LIMIT
        if number <= 12:
            return f"<<READ(known://long)<{number * 100}-{number * 100 + 60}>::READ"
        if number == 13:
            return "<<READ(known://long)<100-160>::READ"
        return DONE

    async with engine_with(tmp_path / "p.db", say, context_size=CONTEXT, limits=Limits(max_strikes=0)) as bench:
        await put_bytes(bench, "long", lines.encode())
        for _ in range(50):
            (result,) = await do(bench, "<<READ(known://long)<1--1>::READ")
            assert result.status in (200, 206)
        sizes = await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))
        assert sum(len(row.rx["content"]) for row, _hidden in sizes) > 10 << 20
        assert (await run(bench)).status == 200
        requests = bench.model.requests
        assert len(requests) == 14
        assert all(tokens(request) <= LIMIT for request in requests)
        folds = [event for request in requests for event in told_folds(request)]
        announced = [n.event for n in bench.ear.heard if isinstance(n, TelemetryEvent)]
        assert folds == [event for event in announced if event["kind"] == "budget_folded"], "told once, to both"
        assert len(folds) >= 3
        assert folds[0]["rows"] == 50
        # What was read at 1 is folded by now, and reading it again brings it back.
        assert "line 120 of" in system(requests[1])
        assert "line 120 of" not in system(requests[12])
        assert "line 120 of" in system(requests[13])
        assert "line 1210 of" in system(requests[12]), "what was read last is there"


@pytest.mark.spec("3.4-fit-folds-oldest")
async def test_what_one_read_returns_can_be_seen(tmp_path: Path) -> None:
    lines = "".join(f"line {number} of a long text\n" for number in range(1, 5_001))
    async with engine_with(tmp_path / "p.db", ("<<READ(known://long)::READ", DONE), context_size=CONTEXT) as bench:
        await put_bytes(bench, "long", lines.encode())
        assert (await run(bench)).status == 200
        after = system(bench.model.requests[1])
    shown = [line for line in after.splitlines() if line.endswith("of a long text")]
    assert CONTEXT * 0.9 < sum(len(line.partition("\t")[2]) + 1 for line in shown) <= CONTEXT
    assert f'"nextLine":{len(shown) + 1}' in after


@pytest.mark.spec("3.4-fit-folds-oldest")
async def test_what_a_client_has_done_between_two_loops_is_not_folded_before_a_model_has_seen_it(
    tmp_path: Path,
) -> None:
    reads = [f"<<READ(known://long)<{first}-{first + 200}>::READ" for first in range(1, 3)]
    async with engine_with(tmp_path / "p.db", (*reads, DONE, DONE), context_size=CONTEXT) as bench:
        await put_bytes(bench, "long", b"a line of a text\n" * 500)
        await put_bytes(bench, "clients", b"what the client wants to be seen\n" * 540)
        assert (await run(bench)).status == 200
        await do(bench, "<<READ(known://clients)::READ")
        assert (await run(bench, "What have I read?")).status == 200
        last = bench.model.requests[-1]
    assert told_folds(last), "there was no room for all"
    assert "what the client wants to be seen" in system(last)


@pytest.mark.spec("3.4-fit-folds-oldest", "3.4-log-prefix-stable")
async def test_between_two_folds_the_log_only_grows(tmp_path: Path) -> None:
    async def say(number: int, _request: GenerateRequest) -> str:
        return DONE if number > 60 else f"<<READ(known://long)<{number}-{number + 20}>::READ"

    async with engine_with(tmp_path / "p.db", say, context_size=CONTEXT, limits=Limits(max_strikes=0)) as bench:
        await put_bytes(bench, "long", b"a line of a text that is read piece by piece\n" * 200)
        assert (await run(bench)).status == 200
        logs = [
            system(request).partition("# Plurnk System Log\n")[2].partition("\n\n# Plurnk System Index")[0]
            for request in bench.model.requests
        ]
        broken = [n for n in range(1, len(logs)) if not logs[n].startswith(logs[n - 1])]
        assert broken == [n for n, request in enumerate(bench.model.requests) if told_folds(request)]
        assert 0 < len(broken) < 20, "one step makes room for several turns"
        assert all(tokens(request) <= LIMIT for request in bench.model.requests)


async def test_rows_are_left_out_when_bodies_are_not_enough_and_can_still_be_read(tmp_path: Path) -> None:
    turns = 120

    async def say(number: int, request: GenerateRequest) -> str:
        assert tokens(request) <= LIMIT
        if number == turns:
            return "<<READ(log://1/1/2/READ)::READ"
        return DONE if number > turns else f"<<READ(known://none/{number})::READ"

    async with engine_with(tmp_path / "p.db", say, context_size=4_000, limits=Limits(max_strikes=0)) as bench:
        assert (await run(bench)).status == 200
        last = (
            system(bench.model.requests[-1])
            .partition("# Plurnk System Log\n")[2]
            .partition("\n\n# Plurnk System Index")[0]
            .splitlines()
        )
        left_out = msgspec.json.decode(last[0][2:])
        assert left_out["folded"] is True
        assert left_out["path"] == "log://1/1/1/EDIT"
        assert left_out["rows"] >= 40
        following = msgspec.json.decode(last[1][2:])["path"] if last[1].startswith("* ") else ""
        assert following != left_out["path"]
        assert "known://none/1 " in last[-2], "the row that was left out is read again"


async def test_a_prompt_that_does_not_fit_ends_its_loop_413_and_the_next_one_runs(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (DONE,), context_size=CONTEXT) as bench:
        ended = await run(bench, "word " * 8_000)
        assert (ended.status, ended.reason) == (413, "context_exceeded")
        assert bench.model.requests == []
        assert (await run(bench, "short")).status == 200


async def test_folds_outlive_the_daemon(tmp_path: Path) -> None:
    script = [f"<<READ(known://long)<{n}-{n + 30}>::READ" for n in range(1, 12)]
    async with engine_with(tmp_path / "p.db", (*script, DONE), context_size=4_000) as bench:
        await put_bytes(bench, "long", b"a line of a text that is read piece by piece\n" * 200)
        await run(bench)
        before = (
            system(bench.model.requests[-1])
            .partition("# Plurnk System Log\n")[2]
            .partition("\n\n# Plurnk System Index")[0]
        )
        assert any(map(told_folds, bench.model.requests))
    first = bench
    async with engine_with(tmp_path / "p.db", (DONE,), context_size=1_000_000) as opened:
        bench = replace(opened, run=first.run)
        await run(bench)
        (request,) = bench.model.requests
        assert (
            system(request)
            .partition("# Plurnk System Log\n")[2]
            .partition("\n\n# Plurnk System Index")[0]
            .startswith(before)
        )
        assert not told_folds(request)


async def test_where_the_provider_counts_more_than_we_do_packets_are_smaller(tmp_path: Path) -> None:
    # The fake counts 100 tokens, whatever it is asked; the limit for the next packet goes by that.
    assert packet_limit(CONTEXT, 0, estimated=50, counted=100) == LIMIT // 2
    assert packet_limit(CONTEXT, 0, estimated=100, counted=50) == LIMIT
    assert packet_limit(CONTEXT, 0, estimated=1, counted=10_000) == LIMIT // 4
    assert packet_limit(CONTEXT, 100_000) == CONTEXT // 2
    async with engine_with(tmp_path / "p.db", ("<<READ(known://none)::READ", DONE), context_size=CONTEXT) as bench:
        assert (await run(bench)).status == 200
