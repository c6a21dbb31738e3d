"""A packet is kept as it was sent, and its texts once for the run (SPEC 3.4)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.store import turns
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from tests.support.engines import Bench, do, engine_with

DONE = "<<SEND[200]::SEND"


async def run(bench: Bench, prompt: str = "do it") -> None:
    submitted = await bench.engine.submit(bench.run.id, Submission(prompt=prompt))
    with trio.fail_after(60):
        await bench.engine.loop_end(submitted.loop_id)


async def look(bench: Bench, sql: str) -> list[tuple[Any, ...]]:
    return await bench.engine.store.read(lambda db: query(db, sql))


async def kept(bench: Bench) -> list[tuple[str, str]]:
    """The two messages of each packet that the run has kept, oldest first."""

    def rendered(db: Snapshot) -> list[tuple[str, str]]:
        ids = query(db, "SELECT id FROM turns WHERE packet IS NOT NULL ORDER BY id")
        found = [msgspec.json.decode(turns.packet(db, bench.session.id, turn_id), type=Packet) for (turn_id,) in ids]
        return [(render_system(packet), render_user(packet)) for packet in found]

    return await bench.engine.store.read(rendered)


def sent(requests: Sequence[GenerateRequest]) -> list[tuple[str, str]]:
    return [(request.messages[0].content, request.messages[1].content) for request in requests]


async def test_every_packet_reads_as_it_was_sent_whatever_happens_to_the_log(tmp_path: Path) -> None:
    script = (
        "<<EDIT(known://a):alpha\nbeta:EDIT <<READ(known://a)::READ <<READ(known://none)::READ",
        "<<HIDE(log://1/1/3/READ)::HIDE <<EDIT(known://a)<2>:gamma:EDIT",
        "<<SHOW(log://1/1/3/READ)::SHOW <<COPY(known://a):unknown://b:COPY",
        "<<READ(log://1/1/3/READ)::READ",
        DONE,
        "<<EDIT(known://a):alpha\nbeta:EDIT <<SEND[200]::SEND",
    )
    async with engine_with(tmp_path / "p.db", script) as bench:
        await run(bench)
        await do(bench, "<<EDIT(known://of a client):x:EDIT <<HIDE(log://1/2/1/HIDE)::HIDE")
        await run(bench, "again")
        assert len(bench.model.requests) == 6
        assert await kept(bench) == sent(bench.model.requests)
        first = bench
    async with engine_with(tmp_path / "p.db", ("<<READ(known://a)::READ", DONE)) as opened:
        bench = replace(opened, session=first.session, run=first.run)
        before = await look(bench, "SELECT count(*) FROM packet_texts WHERE part = 'log'")
        await run(bench, "after a restart")  # shows two rows of the turn before it and two of its own
        assert await kept(bench) == sent([*first.model.requests, *bench.model.requests])
        texts = await look(bench, "SELECT part, text FROM packet_texts")
        assert len(texts) == len(set(texts)), "a text is kept once"
        assert (await look(bench, "SELECT count(*) FROM packet_texts WHERE part = 'log'"))[0][0] == before[0][0] + 4
        ranges = await look(bench, "SELECT packet_refs FROM turns WHERE packet IS NOT NULL ORDER BY id DESC LIMIT 1")
        assert len(msgspec.json.decode(ranges[0][0])["log"]) <= 5


async def test_a_turn_that_was_cut_off_takes_nothing_from_the_packets_after_it(tmp_path: Path) -> None:
    asked = trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 2:
            asked.set()
            await trio.sleep_forever()
        return "<<EDIT(known://a):alpha:EDIT" if number == 1 else DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="first"))
        with trio.fail_after(10):
            await asked.wait()
        await bench.engine.cancel(bench.run.id, "enough")
        assert (await bench.engine.loop_end(submitted.loop_id)).status == 499
        await run(bench, "second")
        assert await kept(bench) == sent([bench.model.requests[0], bench.model.requests[2]])


async def test_two_providers_that_take_turns_are_kept_alike(tmp_path: Path) -> None:
    script = ("<<EDIT(known://a):alpha:EDIT", DONE, "<<READ(known://a)::READ", DONE)
    async with engine_with(tmp_path / "p.db", script) as bench:
        await run(bench)
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="other", alias="other"))
        await bench.engine.loop_end(submitted.loop_id)
        assert await kept(bench) == sent(bench.model.requests)
        texts = await look(bench, "SELECT part, text FROM packet_texts")
        assert len(texts) == len(set(texts))


@pytest.mark.spec("3.4-log-prefix-stable")
async def test_a_long_loop_keeps_its_packets_in_room_that_grows_with_the_log_and_not_with_its_square(
    tmp_path: Path,
) -> None:
    logs = [""]
    benches: list[Bench] = []
    numbers = itertools.count(1)

    async def say(_number: int, request: GenerateRequest) -> str:
        section = request.messages[0].content.partition("# Plurnk System Log\n")[2]
        logs.append(section.partition("\n\n# Plurnk System Index")[0])
        assert logs[-1].startswith(logs.pop(0))
        benches[0].model.requests.clear()
        number = next(numbers)
        note = f"known://n{number % 7}"
        work = f"<<EDIT({note}):turn {number}:EDIT <<READ({note})::READ <<READ(known://none/{number})::READ"
        return DONE if number > 1000 else work

    async with engine_with(tmp_path / "p.db", say, limits=Limits(max_turns=1100)) as bench:
        benches.append(bench)
        await run(bench)
        own = await look(bench, "SELECT length(packet) + length(packet_refs) FROM turns ORDER BY id")
        assert len(own) == 1001
        assert own[-2][0] < 1.5 * own[2][0]
        ((texts, characters),) = await look(
            bench, "SELECT count(*), sum(length(text)) FROM packet_texts WHERE part = 'log'"
        )
        assert (texts, characters + texts - 1) == (3001, len(logs[0]))


async def test_the_marks_of_one_request_are_among_those_of_the_next(tmp_path: Path) -> None:
    script = ("<<EDIT(known://a):x:EDIT", "<<READ(known://none)::READ <<FIND(known://)::FIND", DONE, DONE)
    async with engine_with(tmp_path / "p.db", script) as bench:
        await run(bench)
        await run(bench, "again")
        _, first, second, third = bench.model.requests
        assert set(first.cache_marks) < set(second.cache_marks) < set(third.cache_marks)
        for earlier, later in ((first, second), (second, third)):
            end = earlier.cache_marks[-1]
            assert earlier.messages[0].content[end:].startswith("\n\n# Plurnk System Index\n")
            assert later.messages[0].content[:end] == earlier.messages[0].content[:end]


async def test_a_packet_from_before_texts_were_kept_apart_is_still_whole(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (DONE,)) as bench:
        await run(bench)
        (turn_id,) = (await look(bench, "SELECT id FROM turns"))[0]
        whole = await bench.engine.store.read(lambda db: turns.packet(db, bench.session.id, turn_id))

        def unshare(tx: Tx) -> None:
            tx.db.execute("UPDATE turns SET packet = ?, packet_refs = NULL", (whole.decode(),))

        await bench.engine.store.write(unshare)
        assert await bench.engine.store.read(lambda db: turns.packet(db, bench.session.id, turn_id)) == whole
