"""An EXEC is shown before it runs: accepted, edited, rejected, timed out, or gone with its loop (SPEC 4.2, 5.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.engine.proposals import Decision, Pending, Resolution
from plurnk.plugins.api import CommandGrant
from plurnk.store import entries, log
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LogEntry, LogEntryUpdated, LoopProposal
from plurnk.wire.results import OpResult
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, do, engine_with

YOLO = '{"yolo":true,"mode":"act","noWeb":false,"noInteraction":false,"noProposals":false}'
NONE = '{"yolo":false,"mode":"act","noWeb":false,"noInteraction":false,"noProposals":true}'


@dataclass
class Case:
    bench: Bench
    commands: FakeCommands
    results: list[OpResult] = field(default_factory=list[OpResult])

    async def proposed(self) -> Pending:
        """The one proposal, once it is there."""
        proposals, session_id = self.bench.engine.proposals, self.bench.session.id
        await until(lambda: bool(proposals.pending(session_id)))
        (found,) = proposals.pending(session_id)
        return found

    async def resolve(
        self,
        pending: Pending,
        decision: Decision,
        *,
        body: str | None = None,
        outcome: str | None = None,
        grant: CommandGrant | None = None,
    ) -> Resolution:
        return await self.bench.engine.proposals.resolve(
            self.bench.session.id, pending.told.log_entry_id, decision, body=body, outcome=outcome, grant=grant
        )

    async def row(self, row_id: int) -> LogEntry:
        row = await self.bench.engine.store.read(lambda db: log.get(db, row_id))
        assert row is not None
        return row


@asynccontextmanager
async def case(path: Path, statement: str, limits: Limits | None = None) -> AsyncIterator[Case]:
    """A client's statement on its way."""
    commands = FakeCommands()
    async with engine_with(path / "p.db", (), commands=commands, limits=limits) as bench:
        here = Case(bench, commands)

        async def ask() -> None:
            here.results += await do(bench, statement)

        with trio.fail_after(30):
            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                yield here


@pytest.mark.spec("4.2-exec-address-in-result")
async def test_accepted_it_runs_and_the_row_names_its_entry(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:make it:EXEC") as here:
        pending = await here.proposed()
        waiting = await here.row(pending.told.log_entry_id)
        assert (waiting.status_rx, waiting.state) == (202, "proposed")
        assert (pending.told.body, pending.told.attrs["runtime"]) == ("make it", "sh")
        answer = await here.resolve(pending, "accept")
        assert (answer.status, answer.outcome) == (102, None)
    row = here.results[0]
    assert (row.status, row.entry) == (102, "exec://sh-1")
    assert row.subscription_id is not None
    assert row.command is None, "it is the statement's"
    assert here.commands.ran == [("make it", CommandGrant())]


@pytest.mark.spec("4.2-edited-command-runs")
async def test_the_edited_command_is_what_runs_and_what_the_entry_says(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:rm -rf /:EXEC") as here:
        grant = CommandGrant(network=True, writable=("/data",))
        await here.resolve(await here.proposed(), "accept", body="echo no", grant=grant, outcome="tamed")
        assert here.commands.ran == [("echo no", grant)]
        entry = await here.bench.engine.store.read(lambda db: entries.find(db, here.bench.session.id, "exec", "sh-1"))
        assert entry is not None
        assert entry.attributes["command"] == "echo no"
    row = next(n.entry for n in here.bench.ear.heard if isinstance(n, LogEntryUpdated))
    assert (row.outcome, row.tx["body"], row.rx["command"]) == ("tamed", "rm -rf /", "echo no")


@pytest.mark.spec("4.2-edited-command-runs", "3.4-log-row-shape")
async def test_a_model_sees_the_command_that_ran_and_not_its_own(tmp_path: Path) -> None:
    commands = FakeCommands()
    say = ["<<EXEC:rm -rf /:EXEC", "<<SEND[200]:done:SEND"]
    async with engine_with(tmp_path / "p.db", say, commands=commands, limits=Limits(settle_s=0)) as bench:
        here = Case(bench, commands)
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        with trio.fail_after(30):
            await here.resolve(await here.proposed(), "accept", body="echo no")
            await bench.engine.loop_end(submitted.loop_id)
        assert '"command":"echo no","entry":"exec://sh-1","op":"EXEC"' in bench.model.requests[1].messages[0].content


@pytest.mark.parametrize(
    ("decision", "status", "state", "outcome"),
    [("reject", 400, "failed", "rejected"), ("cancel", 499, "cancelled", "cancelled")],
)
async def test_what_is_not_accepted_does_not_run(
    tmp_path: Path, decision: Decision, status: int, state: str, outcome: str
) -> None:
    async with case(tmp_path, "<<EXEC:x:EXEC") as here:
        pending = await here.proposed()
        answer = await here.resolve(pending, decision)
        assert (answer.status, answer.outcome) == (status, outcome)
        row = await here.row(pending.told.log_entry_id)
        assert (row.status_rx, row.state, row.outcome) == (status, state, outcome)
    assert here.results[0].status == status
    assert here.commands.ran == []


async def test_an_edit_to_nothing_is_refused_when_it_is_applied(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:x:EXEC") as here:
        answer = await here.resolve(await here.proposed(), "accept", body=" \n")
        assert (answer.status, answer.outcome, answer.error) == (400, "apply_failed", "a command cannot be empty")
    assert here.commands.ran == []


async def test_nobody_answers_in_time(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:x:EXEC", Limits(proposal_timeout_s=0.05)) as here:
        pass
    assert here.results[0].status == 499
    row = next(n.entry for n in here.bench.ear.heard if isinstance(n, LogEntryUpdated))
    assert (row.state, row.outcome) == ("cancelled", "timeout")


async def test_the_first_decision_wins_and_the_others_are_told(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:x:EXEC") as here:
        pending = await here.proposed()
        answers: list[Resolution] = []

        async def decide(decision: Decision) -> None:
            answers.append(await here.resolve(pending, decision))

        async with trio.open_nursery() as clients:
            clients.start_soon(decide, "reject")
            clients.start_soon(decide, "accept")
            clients.start_soon(decide, "cancel")
        assert sorted(answer.status for answer in answers).count(409) == 2
        again = await here.resolve(pending, "accept")
        assert again.status == 409
    assert len(here.commands.ran) == (here.results[0].status == 102)


async def test_another_session_cannot_resolve_it(tmp_path: Path) -> None:
    async with case(tmp_path, "<<EXEC:x:EXEC") as here:
        pending = await here.proposed()
        elsewhere = await here.bench.engine.proposals.resolve(
            here.bench.session.id + 1, pending.told.log_entry_id, "accept"
        )
        assert elsewhere.status == 404
        await here.resolve(pending, "reject")


@pytest.mark.spec("3.7-yolo-accepts")
async def test_yolo_accepts_and_still_tells(tmp_path: Path) -> None:
    commands = FakeCommands()
    async with engine_with(tmp_path / "p.db", ["<<EXEC:x:EXEC <<SEND[200]:done:SEND"], commands=commands) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go", flags=YOLO))
        with trio.fail_after(30):
            loop = await bench.engine.loop_end(submitted.loop_id)
        assert loop.status == 200
        assert [told.body for told in bench.ear.heard if isinstance(told, LoopProposal)] == ["x"]
        await until(lambda: commands.ran == [("x", CommandGrant())])


@pytest.mark.spec("3.7-noproposals-reads-ok")
async def test_without_proposals_exec_is_refused_at_once_and_reads_stay(tmp_path: Path) -> None:
    say = ["<<EDIT(known://a):x:EDIT <<EXEC:x:EXEC <<READ(known://a)::READ <<SEND[200]:done:SEND"]
    commands = FakeCommands()
    async with engine_with(tmp_path / "p.db", say, commands=commands) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go", flags=NONE))
        with trio.fail_after(30):
            await bench.engine.loop_end(submitted.loop_id)
        rows = await bench.engine.store.read(lambda db: [row for row, _hidden in log.of_run(db, bench.run.id)])
        assert [(r.op, r.status_rx) for r in rows if r.origin == "model"] == [
            ("EDIT", 201),
            ("EXEC", 403),
            ("READ", 200),
            ("SEND", 200),
        ]
        assert (commands.prepared, commands.ran) == ([], [])


async def test_a_cancelled_loop_answers_its_proposal(tmp_path: Path) -> None:
    commands = FakeCommands()
    async with engine_with(tmp_path / "p.db", ["<<EXEC:x:EXEC"], commands=commands) as bench:
        here = Case(bench, commands)
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        with trio.fail_after(30):
            pending = await here.proposed()
            await bench.engine.cancel(bench.run.id, "enough")
            assert (await bench.engine.loop_end(submitted.loop_id)).status == 499
        row = await here.row(pending.told.log_entry_id)
        assert (row.status_rx, row.state, row.outcome) == (499, "cancelled", "loop_cancelled")
        assert bench.engine.proposals.pending(bench.session.id) == ()
        assert (await here.resolve(pending, "accept")).status == 409


async def test_what_is_told_can_be_resolved_at_once(tmp_path: Path) -> None:
    """The waiter is there before anybody is told (SPEC 5.3): the fastest answer is not lost."""
    commands = FakeCommands()
    async with engine_with(tmp_path / "p.db", (), commands=commands) as bench:
        answers: list[Resolution] = []
        async with trio.open_nursery() as clients:

            async def accept(told: LoopProposal) -> None:
                answers.append(await bench.engine.proposals.resolve(told.session_id, told.log_entry_id, "accept"))

            bench.engine.bus.tap(lambda n: clients.start_soon(accept, n) if isinstance(n, LoopProposal) else None)
            with trio.fail_after(30):
                for _ in range(50):
                    (result,) = await do(bench, "<<EXEC:x:EXEC")
                    assert result.status == 102
        assert [answer.status for answer in answers] == [102] * 50
