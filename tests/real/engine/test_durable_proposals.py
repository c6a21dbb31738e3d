"""Proposals that outlive the daemon, digests, standing approvals, and what has changed meanwhile (SPEC 5.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from plurnk.engine.proposals import Pending
from plurnk.rules.approvals import Approval
from plurnk.store import approvals, log, loops, proposals
from plurnk.store.loops import Loop, Submission
from plurnk.wire.notifications import LogEntry, LogEntryUpdated
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, do, engine_with

ANSWER = "<<SEND[200]:done:SEND"


@asynccontextmanager
async def started(path: Path, say: Sequence[str], *, resume: bool = True) -> AsyncIterator[tuple[Bench, FakeCommands]]:
    """An engine as a daemon starts it."""
    commands = FakeCommands()
    async with engine_with(path / "p.db", say, commands=commands) as bench:
        with trio.fail_after(30):
            await bench.engine.resume(resume=resume)
            yield bench, commands


async def stopped(bench: Bench) -> None:
    """The engine's part in a daemon's stop."""
    bench.engine.refuse_prompts()
    await bench.engine.drain()


async def proposed(bench: Bench, session_id: int, count: int = 1) -> list[Pending]:
    await until(lambda: len(bench.engine.proposals.pending(session_id)) == count)
    return list(bench.engine.proposals.pending(session_id))


async def row_of(bench: Bench, pending: Pending) -> LogEntry:
    row = await bench.engine.store.read(lambda db: log.get(db, pending.told.log_entry_id))
    assert row is not None
    return row


async def loop_of(bench: Bench, loop_id: int) -> Loop:
    return await bench.engine.store.read(lambda db: loops.get(db, loop_id))


@pytest.mark.spec("5.3-durable", "7.2-resume")
@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_what_a_loop_proposed_before_the_daemon_was_stopped_is_decided_after_it(
    tmp_path: Path, decision: Literal["accept", "reject"]
) -> None:
    async with started(tmp_path, ["<<EXEC:make it:EXEC", ANSWER]) as (bench, commands):
        session_id = bench.session.id
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        (before,) = await proposed(bench, session_id)
        await stopped(bench)
        assert (await loop_of(bench, submitted.loop_id)).status == 102
        answer = await bench.engine.proposals.resolve(session_id, before.told.log_entry_id, "accept")
        assert answer.status == 503
        assert commands.ran == []
    async with started(tmp_path, [ANSWER]) as (bench, commands):
        (after,) = bench.engine.proposals.pending(session_id)
        assert after == before
        assert (await row_of(bench, after)).state == "proposed"
        assert bench.model.requests == []  # the loop waits for the answer before its next turn
        resolved = await bench.engine.proposals.resolve(session_id, after.told.log_entry_id, decision)
        loop = await bench.engine.loop_end(submitted.loop_id)
        assert loop.status == 200
        row = await row_of(bench, after)
        if decision == "accept":
            assert (resolved.status, row.state) == (102, "resolved")
            assert [command for command, _grant in commands.ran] == ["make it"]
        else:
            assert (resolved.status, row.state, row.outcome, commands.ran) == (400, "failed", "rejected", [])
        # The model sees what became of it.
        (request,) = bench.model.requests
        assert ('"status":102' if decision == "accept" else '"outcome":"rejected"') in request.messages[0].content


@pytest.mark.spec("5.3-durable")
async def test_a_loop_that_is_not_resumed_leaves_nothing_open(tmp_path: Path) -> None:
    async with started(tmp_path, ["<<EXEC:x:EXEC"]) as (bench, _commands):
        session_id = bench.session.id
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        (before,) = await proposed(bench, session_id)
        await stopped(bench)
    async with started(tmp_path, [], resume=False) as (bench, _commands):
        assert bench.engine.proposals.pending(session_id) == ()
        row = await row_of(bench, before)
        assert (row.status_rx, row.state, row.outcome) == (499, "cancelled", "loop_cancelled")
        assert (await loop_of(bench, submitted.loop_id)).status == 499
        late = await bench.engine.proposals.resolve(session_id, row.id, "accept")
        assert (late.status, late.outcome) == (409, "loop_cancelled")


async def test_what_a_client_proposed_ends_with_the_daemon(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, _commands), trio.open_nursery() as asking:
        asking.start_soon(do, bench, "<<EXEC:x:EXEC")
        (pending,) = await proposed(bench, bench.session.id)
        await stopped(bench)
        await until(lambda: any(isinstance(heard, LogEntryUpdated) for heard in bench.ear.heard))
        row = await row_of(bench, pending)
        assert (row.status_rx, row.outcome) == (499, "loop_cancelled")


@pytest.mark.spec("5.3-durable")
async def test_cancelling_a_resumed_loop_answers_what_it_had_proposed(tmp_path: Path) -> None:
    async with started(tmp_path, ["<<EXEC:x:EXEC"]) as (bench, _commands):
        session_id, run_id = bench.session.id, bench.run.id
        submitted = await bench.engine.submit(run_id, Submission(prompt="go"))
        (before,) = await proposed(bench, session_id)
        await stopped(bench)
    async with started(tmp_path, []) as (bench, _commands):
        await bench.engine.cancel(run_id, "enough")
        assert (await loop_of(bench, submitted.loop_id)).status == 499
        assert bench.engine.proposals.pending(session_id) == ()
        row = await row_of(bench, before)
        assert (row.status_rx, row.outcome) == (499, "loop_cancelled")


@pytest.mark.spec("5.3-digest")
async def test_only_what_was_shown_can_be_approved(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, commands), trio.open_nursery() as asking:
        asking.start_soon(do, bench, "<<EXEC:make it:EXEC")
        (pending,) = await proposed(bench, bench.session.id)
        digest = pending.told.attrs["digest"]
        resolve = bench.engine.proposals.resolve
        other = await resolve(bench.session.id, pending.told.log_entry_id, "accept", digest="0" * 64)
        assert other.status == 409
        assert bench.engine.proposals.pending(bench.session.id) == (pending,)
        assert commands.ran == []
        right = await resolve(bench.session.id, pending.told.log_entry_id, "accept", digest=digest)
        assert right.status == 102


@pytest.mark.spec("5.3-digest")
async def test_an_operation_that_would_do_something_else_by_now_is_refused(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, commands), trio.open_nursery() as asking:
        await do(bench, "<<EDIT(known://script):make it:EDIT")
        asking.start_soon(do, bench, "<<EXEC(known://script)::EXEC")
        (pending,) = await proposed(bench, bench.session.id)
        await do(bench, "<<EDIT(known://script):rm -rf .:EDIT")
        answer = await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, "accept")
        assert (answer.status, answer.outcome) == (409, "write_conflict")
        assert commands.ran == []


@pytest.mark.spec("5.3-approvals-narrow")
async def test_a_standing_approval_accepts_what_it_names_and_says_so(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, commands):
        approval = Approval(op="EXEC", scheme="exec", command_prefix="make")
        made = await bench.engine.store.write(lambda tx: approvals.add(tx, bench.session.id, approval))
        (result,) = await do(bench, "<<EXEC:make it:EXEC")
        assert result.status == 102
        assert commands.ran[0][0] == "make it"
        updated = [heard.entry for heard in bench.ear.heard if isinstance(heard, LogEntryUpdated)]
        assert [row.outcome for row in updated] == [f"approved:{made.id}"]
        await bench.engine.store.write(lambda tx: approvals.remove(tx, bench.session.id, made.id))
        async with trio.open_nursery() as asking:
            for command in ("make it", "make it; rm x", "makeit"):
                asking.start_soon(do, bench, f"<<EXEC:{command}:EXEC")
            for pending in await proposed(bench, bench.session.id, 3):
                await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, "reject")
        assert len(commands.ran) == 1


@pytest.mark.spec("5.3-first-wins")
async def test_who_comes_too_late_is_told_what_happened(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, _commands), trio.open_nursery() as asking:
        asking.start_soon(do, bench, "<<EXEC:x:EXEC")
        (pending,) = await proposed(bench, bench.session.id)
        resolve = bench.engine.proposals.resolve
        row_id = pending.told.log_entry_id
        assert (await resolve(bench.session.id, row_id, "reject", outcome="too slow")).status == 400
        late = await resolve(bench.session.id, row_id, "accept")
        assert (late.status, late.outcome, late.error) == (409, "too slow", "somebody was first: too slow")
        assert (await resolve(bench.session.id + 1, row_id, "accept")).status == 404


@pytest.mark.spec("5.3-fast-answer")
async def test_the_waiter_is_there_before_anybody_is_told(tmp_path: Path) -> None:
    async with started(tmp_path, []) as (bench, _commands), trio.open_nursery() as asking:
        found: list[bool] = []
        bench.engine.bus.tap(
            lambda heard: (
                found.append(bool(bench.engine.proposals.pending(bench.session.id)))
                if heard.method == "loop/proposal"
                else None
            )
        )
        asking.start_soon(do, bench, "<<EXEC:x:EXEC")
        await until(lambda: bool(found))
        assert found == [True]
        (pending,) = await proposed(bench, bench.session.id)
        await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, "cancel")


@pytest.mark.spec("7.2-announced-survives-kill")
async def test_what_is_not_committed_yet_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(tmp_path, []) as (bench, _commands), trio.open_nursery() as asking:
        listed: list[tuple[Pending, ...]] = []
        add = proposals.add

        def listed_before(*args: Any) -> None:
            listed.append(bench.engine.proposals.pending(bench.session.id))
            add(*args)

        monkeypatch.setattr(proposals, "add", listed_before)
        asking.start_soon(do, bench, "<<EXEC:x:EXEC")
        (pending,) = await proposed(bench, bench.session.id)
        assert listed == [()]
        await row_of(bench, pending)
        await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, "cancel")


@pytest.mark.spec("5.3-model-sees-outcome")
async def test_a_model_is_shown_what_was_said_to_its_proposal(tmp_path: Path) -> None:
    async with started(tmp_path, ["<<EXEC:x:EXEC", ANSWER]) as (bench, _commands):
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        (pending,) = await proposed(bench, bench.session.id)
        said = "rejected: use the tests instead"
        await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, "reject", outcome=said)
        assert (await bench.engine.loop_end(submitted.loop_id)).status == 200
        assert f'"outcome":"{said}"' in bench.model.requests[1].messages[0].content


@pytest.mark.spec("5.3-durable", "7.1-migrations")
async def test_what_was_proposed_before_proposals_were_kept_is_answered_and_its_loop_goes_on(tmp_path: Path) -> None:
    async with started(tmp_path, ["<<EXEC:x:EXEC"]) as (bench, _commands):
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        (before,) = await proposed(bench, bench.session.id)
        await stopped(bench)
        await bench.engine.store.write(lambda tx: tx.db.execute("DELETE FROM proposals"))
    async with started(tmp_path, [ANSWER]) as (bench, _commands):
        assert (await bench.engine.loop_end(submitted.loop_id)).status == 200
        row = await row_of(bench, before)
        assert (row.status_rx, row.outcome) == (499, "loop_cancelled")
