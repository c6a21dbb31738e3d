"""A stream is cancelled at every step of its task, and each of its writes fails in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from plurnk.plugins.api import Conclusion
from plurnk.store import subscriptions
from plurnk.store.database import StoreFailed
from plurnk.streams import live
from tests.support import processes
from tests.support.bare import Bare, work
from tests.support.faults import AtStep, FailingWrites, until_it_misses
from tests.support.streams import Basin, Tap, basin


@asynccontextmanager
async def checked(path: Path) -> AsyncIterator[Basin]:
    """A basin in which at the end nothing is live, and no row open."""
    async with basin(path) as at:
        yield at
        assert at.streams._live == set()
        assert await at.store.read(subscriptions.all_open) == []


async def over(at: Basin) -> None:
    with trio.fail_after(30):
        for stream in list(at.streams._live):
            await stream.concluded.wait()


@pytest.mark.spec("4.1-close-idempotent", "4.1-one-scope-per-subscription")
async def test_a_stream_cancelled_at_any_step_of_its_task_is_concluded_once(tmp_path: Path) -> None:
    async def attempt(number: int) -> bool:
        async with checked(tmp_path / f"{number}.db") as at:
            entry_id = await at.entry()

            def cancel() -> None:
                for stream in at.streams._live:
                    stream.end_with(Conclusion(status=499, detail="the test says so"))

            fault = AtStep(number, lambda task: task.name.endswith("Streams._run"), cancel)
            trio.lowlevel.add_instrument(fault)
            tap = Tap(lines=2)
            await at.open(entry_id, tap)
            await over(at)
            trio.lowlevel.remove_instrument(fault)
            ((status, reason),) = await at.closes(entry_id)
            assert (status, reason) in {(200, None), (499, "the test says so")}
            state, data = await at.content(entry_id)
            assert state == ("closed" if status == 200 else "errored")
            assert data in {tap.text(), tap.text() + f"line {tap.written + 1}\n".encode()}
        return fault.happened

    await until_it_misses(attempt, at_least=4)


@pytest.mark.spec("7.1-disk-full")
async def test_whichever_write_fails_a_stream_ends_with_it_and_is_concluded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RETRY_S", 0)
    seen: list[tuple[int | None, str | None]] = []

    async def attempt(number: int) -> bool:
        async with checked(tmp_path / f"{number}.db") as at:
            entry_id = await at.entry()
            fault = FailingWrites(at.store, number)
            with suppress(StoreFailed):
                await at.open(entry_id, Tap(lines=2))
            await over(at)
            seen.extend(await at.closes(entry_id))
        return fault.happened

    await until_it_misses(attempt, at_least=4)
    failed = (500, "database error: disk I/O error")
    # The opening failed: no row. Either line: that is how it ended. The conclusion: it was written again.
    assert seen == [failed, failed, (200, None), (200, None)]


@pytest.mark.spec("4.1-one-scope-per-subscription", "4.5-cancel-races")
async def test_a_command_cancelled_at_any_step_of_its_stream_is_ended_with_all_it_said_so_far(tmp_path: Path) -> None:
    async def attempt(number: int) -> bool:
        begun: list[Bare] = []
        async with checked(tmp_path / f"{number}.db") as at:

            def cancel() -> None:
                for stream in at.streams._live:
                    stream.end_with(Conclusion(status=499, detail="the test says so"))

            fault = AtStep(number, lambda task: task.name.endswith("Streams._run"), cancel)
            trio.lowlevel.add_instrument(fault)
            script = "trap 'echo last; exit 0' TERM; echo first; sleep 0.05"
            entry_id = await at.command(work("sh", "-c", script, begun=begun.append))
            await over(at)
            trio.lowlevel.remove_instrument(fault)
            ((status, reason),) = await at.closes(entry_id)
            assert (status, reason) in {(200, None), (499, "the test says so")}
            _state, data = await at.content(entry_id, "stdout")
            assert data in ({b"first\n"} if status == 200 else {b"", b"first\n", b"first\nlast\n", b"last\n"})
            assert all(processes.is_ended(process.pid) for process in begun)
        return fault.happened

    await until_it_misses(attempt, at_least=6)
