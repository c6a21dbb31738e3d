"""Forks of a run that a model works in: what its copy sees, and that neither knows of the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from plurnk.plugins.api import GenerateRequest
from plurnk.store import forking, log, loops, sessions
from plurnk.store.loops import Loop, Submission
from plurnk.store.sessions import Run
from plurnk.wire.notifications import LogEntryAdded
from tests.support.engines import Bench, engine_with

DONE = "<<SEND[200]::SEND"
LOG, INDEX = "# Plurnk System Log\n", "\n\n# Plurnk System Index\n"


async def work(bench: Bench, run: Run, prompt: str = "do it") -> Loop:
    """Run a prompt to its end."""
    submitted = await bench.engine.submit(run.id, Submission(prompt=prompt))
    with trio.fail_after(10):
        return await bench.engine.loop_end(submitted.loop_id)


async def fork(bench: Bench, run: Run, at_turn: int | None = None) -> Run:
    return await bench.engine.store.write(lambda tx: forking.fork(tx, run.id, name=None, at_turn=at_turn))


async def turn_ids(bench: Bench, loop: Loop) -> list[int]:
    return await bench.engine.store.read(partial(loops.turn_ids, loop_id=loop.id))


def log_of(request: GenerateRequest) -> str:
    return request.messages[0].content.partition(LOG)[2].partition(INDEX)[0]


def index_of(request: GenerateRequest) -> str:
    return request.messages[0].content.partition(INDEX)[2]


@pytest.mark.spec("3.4-log-prefix-stable")
async def test_a_fork_at_a_turn_goes_on_from_the_very_bytes_that_the_turn_left(tmp_path: Path) -> None:
    script = (
        "<<EDIT(known://a):alpha:EDIT <<READ(known://a)::READ",
        "<<EDIT(known://b):beta:EDIT <<HIDE(log://1/1/3)::HIDE",
        "<<READ(known://b)::READ",
        DONE,
        "<<READ(log://1/1/2)::READ <<READ(log://1/3/1)::READ",
        DONE,
    )
    async with engine_with(tmp_path / "p.db", script) as bench:
        original = await work(bench, bench.run)
        copy = await fork(bench, bench.run, (await turn_ids(bench, original))[1])
        forked = await work(bench, copy, "try it another way")
        requests = bench.model.requests
        third, first_of_copy, second_of_copy = requests[2], requests[4], requests[5]
        # The third turn was asked with the rows of two turns; the copy's prompt is the only row beyond them.
        assert log_of(first_of_copy).startswith(log_of(third))
        assert log_of(first_of_copy)[len(log_of(third)) :].count("\n* ") == 1
        assert f"plurnk://prompt/{forked.id}" in log_of(first_of_copy)
        assert "known://b" in index_of(first_of_copy), "entries are the session's"
        assert f"plurnk://prompt/{original.id}" in index_of(first_of_copy)
        assert f"plurnk://prompt/{forked.id}" not in index_of(first_of_copy), "it is the prompt"
        assert log_of(second_of_copy).startswith(log_of(first_of_copy))
        assert (forked.seq, forked.status) == (2, 200)
        # log:// means the rows of the run: of its own history, and not of what the original did after that.
        rows = await bench.engine.store.read(partial(log.of_run, run_id=copy.id))
        reads = [row for row, _hidden in rows if (row.loop_seq, row.op) == (2, "READ")]
        assert [row.status_rx for row in reads] == [200, 404]
        assert reads[0].rx["content"] == '{"channel":"body","entryId":2,"status":201}'


async def test_a_fork_while_its_original_works_has_what_was_done_and_both_go_on(tmp_path: Path) -> None:
    asked, answer = trio.Event(), trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 2:
            asked.set()
            await answer.wait()
        return "<<EDIT(known://a):alpha:EDIT" if number == 1 else DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="do it"))
        with trio.fail_after(10):
            await asked.wait()
            heard = len(bench.ear.heard)
            copy = await fork(bench, bench.run)
            assert bench.ear.heard[heard:] == [], "what is in the copy was done once, and told"
            in_copy = await work(bench, copy)
            original = await bench.engine.store.read(lambda db: loops.get(db, submitted.loop_id))
            assert (original.status, in_copy.status) == (102, 200)
            answer.set()
            original = await bench.engine.loop_end(submitted.loop_id)
        assert original.status == 200
        rows = {
            run.id: [
                (row.loop_seq, row.turn_seq, row.op)
                for row, _hidden in await bench.engine.store.read(partial(log.of_run, run_id=run.id))
            ]
            for run in (bench.run, copy)
        }
        done = [(1, 1, "EDIT"), (1, 1, "EDIT")]
        assert rows[bench.run.id] == [*done, (1, 2, "SEND")]
        assert rows[copy.id] == [*done, (2, 1, "EDIT"), (2, 1, "SEND")]
        told = [n.entry.run_id for n in bench.ear.heard if isinstance(n, LogEntryAdded)]
        assert (told.count(bench.run.id), told.count(copy.id)) == (3, 2)
        costs = await bench.engine.store.read(lambda db: [run.cost_pico for run in sessions.runs(db, bench.session.id)])
        assert costs == [400, 200]
