"""EXEC and SEND as statements, with commands that are no processes (SPEC 4.2, 4.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from plurnk.plugins.api import CommandGrant
from plurnk.store import channels, entries
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LoopProposal
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, do, engine_with


@asynccontextmanager
async def accepting(path: Path, commands: FakeCommands) -> AsyncIterator[Bench]:
    """An engine whose proposals are all accepted."""
    async with engine_with(path / "p.db", (), commands=commands) as bench, trio.open_nursery() as clients:

        async def accept(told: LoopProposal) -> None:
            await bench.engine.proposals.resolve(told.session_id, told.log_entry_id, "accept")

        bench.engine.bus.tap(lambda n: clients.start_soon(accept, n) if isinstance(n, LoopProposal) else None)
        with trio.fail_after(30):  # noqa: ASYNC100 – the test's own are in it
            yield bench


async def content(bench: Bench, pathname: str, name: str) -> tuple[str, str]:
    """State and text of a channel."""

    def read(db: Snapshot) -> tuple[str, str]:
        entry = entries.find(db, bench.session.id, "exec", pathname)
        assert entry is not None
        channel = channels.find(db, entry.id, name)
        assert channel is not None
        return channel.state, channels.read_bytes(db, channel).decode()

    return await bench.engine.store.read(read)


@pytest.mark.spec("4.2-exec-address-in-result")
async def test_commands_are_numbered_in_their_session(tmp_path: Path) -> None:
    async with accepting(tmp_path, FakeCommands()) as bench:
        one, two, _gone, three = await do(
            bench, "<<EXEC:a:EXEC <<EXEC[python]:b:EXEC <<SEND[410](exec://python-2)::SEND <<EXEC:c:EXEC"
        )
        assert [r.entry for r in (one, two, three)] == ["exec://sh-1", "exec://python-2", "exec://sh-3"]


@pytest.mark.spec("4.2-runtimes")
async def test_a_runtime_that_is_not_installed_is_named_and_so_are_those_that_are(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (), commands=FakeCommands()) as bench:
        (result,) = await do(bench, "<<EXEC[perl]:1:EXEC")
        assert (result.status, result.error) == (501, "runtime 'perl' is not installed; there are sh, python")


async def test_an_entry_can_be_what_runs(tmp_path: Path) -> None:
    commands = FakeCommands()
    async with accepting(tmp_path, commands) as bench:
        _made, ran = await do(
            bench, "<<EDIT(known://script):echo from a note:EDIT <<EXEC[python](known://script)::EXEC"
        )
        assert ran.entry == "exec://python-1"
        await until(lambda: commands.ran == [("echo from a note", CommandGrant())])
        assert commands.prepared[0].cwd is None


async def test_the_target_is_where_it_runs(tmp_path: Path) -> None:
    commands = FakeCommands()
    async with accepting(tmp_path, commands) as bench:
        await do(bench, "<<EXEC(back/end):make:EXEC")
        # Worked out when it was proposed, and again when it was accepted (SPEC 5.3).
        assert [order.cwd for order in commands.prepared] == ["back/end", "back/end"]


@pytest.mark.spec("4.3-stdin")
async def test_send_writes_to_stdin_and_closes_it(tmp_path: Path) -> None:
    async with accepting(tmp_path, FakeCommands()) as bench:
        results = await do(
            bench,
            "<<EXEC:cat:EXEC <<SEND[200](exec://sh-1):one:SEND <<SEND[200](exec://sh-1):two\n:SEND"
            " <<SEND[200](exec://sh-1#stdin):three:SEND <<SEND[200](exec://sh-1)::SEND <<SEND[204](exec://sh-1)::SEND",
        )
        assert [r.status for r in results] == [102, 200, 200, 200, 200, 200]
        await until_concluded(bench)
        assert await content(bench, "sh-1", "stdin") == ("closed", "one\ntwo\nthree\n")
        assert await content(bench, "sh-1", "stdout") == ("closed", "one\ntwo\nthree\n")
        after, close = await do(bench, "<<SEND[200](exec://sh-1):late:SEND <<SEND[204](exec://sh-1)::SEND")
        assert [after.status, close.status] == [409, 409]


async def until_concluded(bench: Bench) -> None:
    await until(lambda: "stream/concluded" in bench.ear.kinds())


@pytest.mark.spec("4.3-stdin")
async def test_what_was_not_taken_is_said(tmp_path: Path) -> None:
    async with accepting(tmp_path, FakeCommands(takes_bytes=3)) as bench:
        _started, sent = await do(bench, "<<EXEC:cat:EXEC <<SEND[200](exec://sh-1):abcdef:SEND")
        assert (sent.status, sent.error) == (504, "exec://sh-1 took 3 of 7 bytes; it does not read its stdin")
        assert (await content(bench, "sh-1", "stdin"))[1] == "abc"


async def test_a_command_that_runs_is_indexed_and_can_be_cancelled(tmp_path: Path) -> None:
    async with accepting(tmp_path, FakeCommands()) as bench:
        started, cancelled, again = await do(
            bench, "<<EXEC:sleep:EXEC <<SEND[499](exec://sh-1)::SEND <<SEND[499](exec://sh-1)::SEND"
        )
        assert [started.status, cancelled.status, again.status] == [102, 200, 409]
        assert (await content(bench, "sh-1", "stdout"))[0] == "errored"
