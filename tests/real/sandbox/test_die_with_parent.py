"""A daemon that is killed takes its commands with it, at whatever moment it is killed."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from sandbox import names, proc
from sandbox.cgroups import probe
from sandbox.leftovers import open_keeper, sweep
from tests.support import processes
from tests.support.people import as_ordinary_user
from tests.support.trees import DEAF, HOSTILE, line, marked, new_mark, open_tree, until

DIES_WITHIN_S = 2.0
"""Far above what it takes; the machine runs other tests."""

KILLS = 100


@pytest.mark.spec("4.5-die-with-daemon")
@pytest.mark.parametrize("is_ordinary", [False, True])
@pytest.mark.parametrize("name", ["plain child", "setsid and nohup", *DEAF])
async def test_nothing_survives_the_daemon(name: str, is_ordinary: bool) -> None:
    mark = new_mark()
    command = _command(is_ordinary, "hold", mark, name)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:  # noqa: ASYNC220 – killed
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        before = set(marked(mark)) - {daemon.pid}
        daemon.kill()
    assert len(before) > 2
    await until(lambda: marked(mark) == [], DIES_WITHIN_S)
    sweep(probe())
    assert _groups_of(daemon.pid) == []


@pytest.mark.spec("4.5-die-with-daemon")
@pytest.mark.parametrize("is_ordinary", [False, True])
async def test_nothing_survives_a_daemon_that_is_killed_while_it_starts_commands(is_ordinary: bool) -> None:
    """The moments are those in which bubblewrap is half done: see ``leftovers``."""
    mark = new_mark()
    _start_and_kill(_command(is_ordinary, "kept-daemons", mark))
    await until(lambda: marked(mark) == [], DIES_WITHIN_S)
    sweep(probe())


@pytest.mark.spec("4.5-die-with-daemon")
async def test_without_a_keeper_no_command_survives_and_the_next_daemon_sweeps_the_rest() -> None:
    mark = new_mark()
    _start_and_kill(_command(False, "daemons", mark))
    await until(lambda: [pid for pid in marked(mark) if not _is_bubblewrap(pid)] == [], DIES_WITHIN_S)
    maker = probe()
    found = set(sweep(maker))
    await until(lambda: marked(mark) == [], DIES_WITHIN_S)
    await until(lambda: not found & set(sweep(maker)), DIES_WITHIN_S)


@pytest.mark.spec("4.5-die-with-daemon")
async def test_the_sweep_leaves_the_living_alone() -> None:
    mark, maker = new_mark(), probe()
    async with open_tree(mark, *HOSTILE["plain child"], maker=maker) as process:
        await line(process)
        mine = names.own_prefix()
        assert not [name for name in sweep(maker) if name.startswith(mine)]
        assert len(process.pids()) == 2


def test_a_keeper_goes_with_the_block() -> None:
    kin = processes.children()
    with open_keeper():
        assert len(processes.children()) == len(kin) + 1
    assert processes.children() == kin


def _start_and_kill(command: list[str]) -> None:
    moments = random.Random(5)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(KILLS):
            parent.stdin.write(f"{moments.uniform(0.02, 0.05)}\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == "killed\n"


def _command(is_ordinary: bool, *arguments: str) -> list[str]:
    module = ("-m", "tests.support.trees", *arguments)
    return as_ordinary_user(*module) if is_ordinary else [sys.executable, *module]


def _is_bubblewrap(pid: int) -> bool:
    return proc.command_line(pid)[1:2] == ["--args"]


def _groups_of(pid: int) -> list[str]:
    maker = probe()
    return [path.name for base in (maker.bases if maker else ()) for path in base.directory.glob(f"*-{pid}.*")]
