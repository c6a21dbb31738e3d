"""Workers as real processes: answers, errors, ends of every kind, and nothing left behind."""

from __future__ import annotations

import ast
import os
import random
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from plurnk.errors import Draining, PlurnkError, TookTooLong, TooLarge, Unreadable, UnsupportedType
from plurnk.workers.pool import WORKERS, WorkerFailed, WorkerPool, open_workers
from plurnk.workers.tasks import MakePreview
from tests.support.desk import until
from tests.support.plugins import install_handlers
from tests.support.processes import children, is_ended, is_there, open_files


@pytest.fixture(autouse=True)
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_handlers(tmp_path / "installed", monkeypatch)


def preview(kind: str, content: str = "", *, budget_chars: int = 256, limit_s: float = 30) -> MakePreview:
    return MakePreview(mimetype=f"text/x-{kind}", content=content, budget_chars=budget_chars, limit_s=limit_s)


async def pid_of(pool: WorkerPool) -> int:
    return int(await pool.ask(preview("pid")))


async def test_one_worker_is_started_when_it_is_needed_and_used_again() -> None:
    async with open_workers() as pool:
        assert children() == []
        first = await pid_of(pool)
        assert children() == [first]
        assert [await pid_of(pool) for _ in range(3)] == [first] * 3
        assert await pool.ask(preview("echo", "ü" * 1_000_000)) == f"1000000 {'ü' * 20}"
    assert children() == []


async def test_a_worker_sees_nothing_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PLURNK_MODEL", "secret")
    async with open_workers() as pool:
        cwd, variables, niceness, leads = ast.literal_eval(await pool.ask(preview("world", budget_chars=10_000)))
    assert (cwd, niceness, leads) == ("/", os.nice(0) + 10, True)
    assert {"OPENAI_API_KEY", "PLURNK_MODEL", "HOME"}.isdisjoint(variables)
    assert "PATH" in variables


async def test_what_a_handler_prints_and_reads_is_not_the_conversation() -> None:
    async with open_workers() as pool:
        assert await pool.ask(preview("chatting")) == "b''"
        assert await pool.ask(preview("echo", "a")) == "1 a"


@pytest.mark.parametrize(
    ("kind", "error", "detail"),
    [
        ("failing", WorkerFailed, "KeyError: 'the content'"),
        ("refusing", Unreadable, "line 7 is odd"),
        ("gorging", TooLarge, "it takes more than 2048 MiB of memory"),
        ("talking", TooLarge, "the handler of text/x-talking returned 257 characters of 256"),
        ("mute", WorkerFailed, "TypeError: the handler of text/x-mute returned NoneType, not str"),
        ("nobody", UnsupportedType, "no handler for text/x-nobody"),
    ],
)
async def test_what_a_task_raises_comes_back_and_the_worker_stays(
    kind: str, error: type[PlurnkError], detail: str
) -> None:
    async with open_workers() as pool:
        pid = await pid_of(pool)
        with pytest.raises(error) as raised:
            await pool.ask(preview(kind, "the content"))
        assert (type(raised.value), raised.value.detail) == (error, detail)
        assert await pid_of(pool) == pid


@pytest.mark.parametrize(
    ("kind", "detail"),
    [("crashing", "the worker ended with SIGSEGV"), ("leaving", "the worker ended with exit code 3")],
)
async def test_a_worker_that_ends_itself_is_named_and_replaced(kind: str, detail: str) -> None:
    async with open_workers() as pool:
        pid = await pid_of(pool)
        with pytest.raises(WorkerFailed) as raised:
            await pool.ask(preview(kind))
        assert (raised.value.status, raised.value.detail) == (500, detail)
        assert not is_there(pid)
        assert await pid_of(pool) != pid


async def test_a_worker_that_was_killed_while_idle_is_replaced_silently() -> None:
    async with open_workers() as pool:
        pid = await pid_of(pool)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: is_ended(pid))
        assert await pid_of(pool) != pid
        assert not is_there(pid)


async def test_a_worker_that_is_killed_while_it_works_is_an_error() -> None:
    async with open_workers(1) as pool, trio.open_nursery() as tasks:
        pid = await pid_of(pool)

        async def hang() -> None:
            with pytest.raises(WorkerFailed, match="SIGTERM"):
                await pool.ask(preview("hanging"))

        tasks.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGTERM)


async def test_who_stops_waiting_ends_the_worker_before_it_goes_on() -> None:
    async with open_workers(1) as pool:
        pid = await pid_of(pool)
        with trio.move_on_after(0.05) as deadline:
            await pool.ask(preview("hanging"))
        assert deadline.cancelled_caught
        assert not is_there(pid)
        assert await pid_of(pool) != pid


async def test_what_a_handler_has_started_goes_with_it(tmp_path: Path) -> None:
    """The worker leads a group of its own, and all of it is killed."""
    pid_file = tmp_path / "pid"
    async with open_workers() as pool:
        async with trio.open_nursery() as asker:
            asker.start_soon(pool.ask, preview("calling", str(pid_file)))
            await until(lambda: pid_file.exists() and bool(pid_file.read_bytes()))
            assert not is_ended(int(pid_file.read_bytes()))
            asker.cancel_scope.cancel()
        await until(lambda: is_ended(int(pid_file.read_bytes())))
        with pytest.raises(WorkerFailed, match="exit code 4"):
            await pool.ask(preview("orphaning", str(pid_file)))
        await until(lambda: is_ended(int(pid_file.read_bytes())))


async def test_a_handler_that_closes_the_worker_s_pipes_fails() -> None:
    async with open_workers() as pool:
        with pytest.raises(WorkerFailed, match="SIGKILL"):
            await pool.ask(preview("closing"))
        assert children() == []


async def test_a_worker_ends_itself_at_the_limit_of_its_task() -> None:
    async with open_workers(1) as pool:
        with pytest.raises(TookTooLong):
            await pool.ask(preview("hanging", limit_s=0.05))
        assert children() == []
        assert await pool.ask(preview("echo", "a")) == "1 a"


async def test_a_limit_of_a_task_does_not_count_the_wait_for_a_worker() -> None:
    async with open_workers(1) as pool, trio.open_nursery() as tasks:
        await pid_of(pool)
        tasks.start_soon(pool.ask, preview("napping", "0.5"))
        await trio.testing.wait_all_tasks_blocked()
        assert await pool.ask(preview("echo", "a", limit_s=0.4)) == "1 a"


async def test_no_more_than_so_many_work_and_who_came_first_is_served_first() -> None:
    order: list[int] = []
    busy = trio.CancelScope()
    async with open_workers(2) as pool, trio.open_nursery() as tasks:

        async def hang() -> None:
            with busy:
                await pool.ask(preview("hanging"))

        async def ask(number: int) -> None:
            await pool.ask(preview("echo"))
            order.append(number)

        tasks.start_soon(hang)
        await until(lambda: len(children()) == 1)
        for number in range(4):
            tasks.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        await until(lambda: len(order) == 4)
        assert len(children()) == 2
        busy.cancel()
    assert order == [0, 1, 2, 3]


async def test_two_hundred_questions_of_ten_tasks() -> None:
    answers: list[str] = []

    async def ask(pool: WorkerPool, name: int) -> None:
        for number in range(20):
            text = f"{name}/{number}"
            assert await pool.ask(preview("echo", text)) == f"{len(text)} {text}"
            answers.append(text)

    async with open_workers(2) as pool:
        async with trio.open_nursery() as tasks:
            for name in range(10):
                tasks.start_soon(ask, pool, name)
        assert len(children()) == 2
    assert len(set(answers)) == 200


async def test_a_worker_that_has_grown_is_not_kept() -> None:
    async with open_workers() as pool:
        pid = int(await pool.ask(preview("growing")))
        assert not is_there(pid)
        assert await pid_of(pool) != pid


async def test_a_worker_ends_with_its_input() -> None:
    """Whose daemon was killed sees the end of its pipe."""
    async with open_workers() as pool:
        await pid_of(pool)
        (worker,) = pool._idle
        worker._requests.close()
        assert await worker._process.wait() == 0


@pytest.mark.parametrize("size", [1, 2])
async def test_closing_refuses_those_who_wait_and_leaves_nothing(size: int) -> None:
    refused: list[str] = []

    async def ask(pool: WorkerPool) -> None:
        with pytest.raises(Draining) as raised:
            await pool.ask(preview("hanging"))
        refused.append(raised.value.detail)

    async with trio.open_nursery() as tasks:
        async with open_workers(size) as pool:
            for _ in range(4):
                tasks.start_soon(ask, pool)  # noqa: ASYNC111 – to be there when the pool closes is the test
            await until(lambda: len(children()) == size)
        assert children() == []
    assert refused == ["the daemon is stopping"] * 4
    with pytest.raises(Draining):
        await pool.ask(preview("echo"))


async def test_closing_while_a_worker_is_started_ends_it_too() -> None:
    async def ask(pool: WorkerPool) -> None:
        with pytest.raises(Draining):
            await pool.ask(preview("hanging"))

    files = open_files()
    async with trio.open_nursery() as askers, open_workers() as pool:
        askers.start_soon(ask, pool)  # noqa: ASYNC111 – to be there when the pool closes is the test
        await trio.testing.wait_all_tasks_blocked()  # the process is being started, on a thread
    assert (children(), open_files()) == ([], files)


async def test_who_stops_waiting_while_a_worker_is_started_leaves_none() -> None:
    files = open_files()
    async with open_workers() as pool:
        async with trio.open_nursery() as asker:
            asker.start_soon(pool.ask, preview("hanging"))
            await trio.testing.wait_all_tasks_blocked()
            asker.cancel_scope.cancel()
        assert (children(), open_files()) == ([], files)


async def test_the_block_leaves_nothing_even_if_it_is_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with open_workers() as pool:
            await pid_of(pool)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert children() == []


async def test_a_worker_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    async with open_workers() as pool:
        with pytest.raises(WorkerFailed, match=r"no worker can be started: .*No such file"):
            await pool.ask(preview("echo"))


async def test_cancelled_at_any_moment_nothing_is_left() -> None:
    """Fifty askers that give up after a time that is sometimes enough and mostly is not."""
    times = random.Random(7)

    async def ask(pool: WorkerPool) -> None:
        with trio.move_on_after(times.random() * 0.08):
            await pool.ask(preview("echo", "x" * times.randrange(1_000_000)))

    files = open_files()
    async with open_workers() as pool:
        async with trio.open_nursery() as tasks:
            for _ in range(50):
                tasks.start_soon(ask, pool)
                await trio.sleep(times.random() * 0.02)
        assert await pool.ask(preview("echo", "a")) == "1 a"
        assert len(children()) <= WORKERS
    assert children() == []
    assert open_files() == files
