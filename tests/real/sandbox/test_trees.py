"""Commands that do not want to end: when we have been told that they did, nothing of them is left."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio

from sandbox import proc
from sandbox.cgroups import Maker, probe
from sandbox.namespaced import Setup, open_namespaced
from sandbox.policy import Limits
from sandbox.process import Exit, Fds, NotStarted, Process
from tests.support import processes
from tests.support.faults import AtStep, until_it_misses
from tests.support.trees import (
    DEAF,
    HOSTILE,
    LIMIT_S,
    OBEDIENT,
    PATIENCE_S,
    Attack,
    attack,
    attack_as_ordinary_user,
    bomb_as_ordinary_user,
    groups,
    line,
    marked,
    new_mark,
    open_tree,
    rest,
    set_up,
)

SHORT_S = 0.2
LONG_S = 60.0


@pytest.fixture
def maker() -> Iterator[Maker | None]:
    """Whoever makes groups here; after the test none of them is left, no child, and no open file."""
    found = probe()
    files, kin = processes.open_files(), processes.children()
    yield found
    assert groups(found) == []
    assert processes.children() == kin
    assert processes.open_files() == files


def check(name: str, done: Attack, grace_s: float) -> None:
    assert done.left == ()
    assert done.alive_before >= 1
    assert done.seconds < (grace_s if name in DEAF else 0) + LIMIT_S
    assert done.exit.code >= 128


@pytest.mark.spec("4.5-tree-is-gone", "4.5-bounded")
@pytest.mark.parametrize("name", HOSTILE)
async def test_nothing_is_left_of_a_hostile_command(name: str, maker: Maker | None) -> None:
    check(name, await attack(name, SHORT_S, maker), SHORT_S)


@pytest.mark.spec("4.5-tree-is-gone", "4.5-bounded")
@pytest.mark.parametrize("name", HOSTILE)
async def test_nothing_is_left_when_there_are_no_groups_to_be_made(name: str, maker: Maker | None) -> None:
    check(name, await attack(name, SHORT_S, None), SHORT_S)


@pytest.mark.spec("4.5-tree-is-gone", "4.5-bounded")
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_left_of_what_an_ordinary_user_runs(name: str) -> None:
    check(name, attack_as_ordinary_user(name, SHORT_S), SHORT_S)


@pytest.mark.spec("4.5-bounded")
@pytest.mark.parametrize("name", OBEDIENT)
async def test_who_obeys_need_not_be_waited_for(name: str, maker: Maker | None) -> None:
    done = await attack(name, LONG_S, maker)
    assert done.left == ()
    assert done.exit == Exit(code=143, signal="SIGTERM")


@pytest.mark.spec("4.5-tree-is-gone")
async def test_leaving_the_block_ends_what_is_left(maker: Maker | None) -> None:
    mark = new_mark()
    async with open_tree(mark, *HOSTILE["TERM ignored, double fork"], maker=maker) as process:
        await line(process)
        assert len(marked(mark)) > 2  # two of bubblewrap, and the command
    assert marked(mark) == []


async def test_the_commands_exit_is_told_exactly(maker: Maker | None) -> None:
    for script, expected in (
        ("exit 0", Exit(code=0)),
        ("exit 3", Exit(code=3)),
        ("exit 127", Exit(code=127)),
        ("kill -9 $$", Exit(code=137, signal="SIGKILL")),
        ("kill -SEGV $$", Exit(code=139, signal="SIGSEGV")),
        ("exit 255", Exit(code=255)),
    ):
        async with open_tree(new_mark(), "sh", "-c", script, maker=maker) as process:
            assert await process.wait() == expected
            assert await process.wait() == expected
            assert await process.end(SHORT_S) == expected


async def test_what_the_command_is_born_with(maker: Maker | None) -> None:
    script = (
        "import os, sys; print(sorted(map(int, os.listdir('/proc/self/fd')))[:3], len(os.listdir('/proc/self/fd')))"
    )
    async with open_tree(new_mark(), "python3", "-c", script, maker=maker) as process:
        await process.stdin.send_all(b"not read")
        # The listing has a descriptor of its own.
        assert await rest(process) == "[0, 1, 2] 4\n"


async def test_stdin_reaches_the_command_whole(maker: Maker | None) -> None:
    async with open_tree(new_mark(), "cat", maker=maker) as process:
        await process.stdin.send_all(b"\n\nfirst\nlast")
        await process.stdin.aclose()
        assert await rest(process) == "\n\nfirst\nlast"
        assert await process.wait() == Exit(code=0)


@pytest.mark.spec("4.4-grandchild-cannot-hold", "4.5-tree-is-gone")
async def test_a_grandchild_cannot_hold_the_pipe(maker: Maker | None) -> None:
    mark = new_mark()
    async with open_tree(mark, "sh", "-c", "setsid sleep 1000 & echo said", maker=maker) as process:
        with trio.fail_after(PATIENCE_S):
            assert await process.wait() == Exit(code=0)
        assert marked(mark) == []
        assert await rest(process) == "said\n"


@pytest.mark.spec("4.4-partial-output-kept")
async def test_what_is_written_after_term_can_be_read(maker: Maker | None) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    async with open_tree(new_mark(), "sh", "-c", script, maker=maker) as process:
        assert await line(process) == "ready\n"
        assert await process.end(LONG_S) == Exit(code=5)
        assert await rest(process) == "bye\n"


@pytest.mark.spec("4.5-tree-is-gone")
async def test_a_child_has_its_grace_though_its_parent_has_ended(maker: Maker | None) -> None:
    """A shell ends at TERM at once; the server that it has started may have something to put in order."""
    child = "trap 'sleep 0.3; echo in order; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    async with open_tree(new_mark(), "sh", "-c", f'sh -c "{child}"; true', maker=maker) as process:
        assert await line(process) == "ready\n"
        assert await process.end(LONG_S) == Exit(code=143, signal="SIGTERM")
        assert await rest(process) == "in order\n"


@pytest.mark.spec("4.5-tree-is-gone")
async def test_a_cancelled_wait_or_end_leaves_the_command_in_good_order(maker: Maker | None) -> None:
    async with open_tree(new_mark(), *HOSTILE["TERM ignored"], maker=maker) as process:
        await line(process)
        with trio.move_on_after(0.05):
            await process.wait()
        assert process.pids()
        with trio.move_on_after(0.05):
            await process.end(LONG_S)
        assert process.pids()
        assert await process.end(0) == Exit(code=137, signal="SIGKILL")
        assert process.pids() == ()


@pytest.mark.spec("4.5-cancel-races")
async def test_many_may_wait_for_it_and_end_it_at_once(maker: Maker | None) -> None:
    exits: list[Exit] = []

    async def note(grace_s: float | None) -> None:
        exits.append(await (process.wait() if grace_s is None else process.end(grace_s)))

    async with open_tree(new_mark(), *HOSTILE["TERM ignored by all"], maker=maker) as process:
        await line(process)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as waiters:
                for grace_s in (None, None, SHORT_S, SHORT_S, 0.1, LONG_S):
                    waiters.start_soon(note, grace_s)
    assert exits == [Exit(code=137, signal="SIGKILL")] * 6


@pytest.mark.spec("4.5-tree-is-gone")
async def test_somebody_else_kills_any_of_it(maker: Maker | None) -> None:
    for which in ("outer", "init"):
        mark = new_mark()
        async with open_tree(mark, *HOSTILE["TERM ignored, double fork"], maker=maker) as process:
            await line(process)
            (outer,) = set(processes.children()) & set(marked(mark))
            os.kill(outer if which == "outer" else proc.children(outer)[0], signal.SIGKILL)
            with trio.fail_after(PATIENCE_S):
                assert await process.wait() == Exit(code=137, signal="SIGKILL")
            assert marked(mark) == []


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc/passwd", "/etc"])
async def test_a_program_that_is_not_there_is_not_started(program: str, maker: Maker | None) -> None:
    with pytest.raises(NotStarted, match=f"^{program}: there is no such program"):
        async with with_options(maker=maker, command=program):
            pass


async def test_what_bubblewrap_says_is_said(maker: Maker | None) -> None:
    for option in ("--bad-option", "--no-such"):
        with pytest.raises(NotStarted, match=f"^bwrap: Unknown option {option}$"):
            async with with_options(option, maker=maker):
                pass
    with pytest.raises(NotStarted, match=r"^bwrap: Can't find source path /no/where"):
        async with with_options("--ro-bind", "/no/where", "/mnt", maker=maker):
            pass


async def test_no_bubblewrap(maker: Maker | None) -> None:
    with pytest.raises(NotStarted, match=r"^cannot run /no/bwrap: No such file or directory$"):
        async with with_options(bwrap="/no/bwrap", maker=maker):
            pass


async def test_too_many_open_files_leave_nothing(maker: Maker | None) -> None:
    """Wherever it is that there are no more."""
    mark = new_mark()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    started = 0
    with ExitStack() as taken:
        top = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 – names are all that is wanted
        while (fd := os.open("/dev/null", os.O_RDONLY)) <= top:
            taken.callback(os.close, fd)
        os.close(fd)
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for more in range(40):
            resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1 + more, hard))
            try:
                async with open_tree(mark, "true", maker=maker) as process:
                    started += 1
                    await process.wait()
            except NotStarted:
                pass
    assert 0 < started < 40
    assert marked(mark) == []


@pytest.mark.spec("4.5-tree-is-gone")
async def test_cancelled_at_any_moment_it_leaves_nothing(maker: Maker | None) -> None:
    """While it is being opened, and while it runs."""
    mark = new_mark()
    moments = random.Random(4)
    tasks = trio.lowlevel.current_statistics().tasks_living
    threads = threading.active_count()
    opened = 0
    slowest_s = 0.0
    for number in range(500):
        with trio.CancelScope() as scope:
            scope.deadline = trio.current_time() + moments.uniform(0, 0.012)
            async with open_tree(mark, "sh", "-c", "setsid sleep 1000 & sleep 1000", maker=maker) as process:
                opened += 1
                await process.wait()
        slowest_s = max(slowest_s, trio.current_time() - scope.deadline)
        assert scope.cancelled_caught
        if number % 25 == 0:
            assert marked(mark) == []
    assert marked(mark) == []
    assert 0 < opened < 500
    assert slowest_s < 5
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert threading.active_count() <= threads + 2  # those that trio keeps for the next call


@pytest.mark.spec("4.5-tree-is-gone")
async def test_cancelled_at_any_step_of_opening_it_leaves_nothing(maker: Maker | None) -> None:
    mark = new_mark()
    me = trio.lowlevel.current_task()

    async def attempt(number: int) -> bool:
        is_open = False
        with trio.CancelScope() as scope:
            fault = AtStep(number, lambda task: task is me, scope.cancel)
            trio.lowlevel.add_instrument(fault)
            try:
                async with open_tree(mark, "sleep", "1000", maker=maker):
                    is_open = True
            finally:
                trio.lowlevel.remove_instrument(fault)
        assert marked(mark) == []
        return not is_open

    await until_it_misses(attempt, at_least=3)  # for the group, the mounts and the gate


@pytest.mark.spec("4.5-tree-is-gone", "4.5-bounded")
def test_a_fork_bomb_is_held_and_ended() -> None:
    """As an ordinary user, for whom the number of processes is limited everywhere."""
    done = bomb_as_ordinary_user(SHORT_S)
    assert done.left == ()
    assert 36 <= done.alive_before <= 40
    assert done.seconds < SHORT_S + LIMIT_S


@asynccontextmanager
async def with_options(
    *options: str, maker: Maker | None, bwrap: str = "bwrap", command: str = "true"
) -> AsyncIterator[Process]:
    def with_them(fds: Fds) -> Setup:
        return Setup(arguments=[*options, *set_up(fds).arguments])

    async with open_namespaced([command], with_them, bwrap=bwrap, limits=Limits(), maker=maker) as process:
        yield process
