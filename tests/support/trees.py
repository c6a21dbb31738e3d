"""Commands under bubblewrap for tests of trees, and hostile ones among them; ``python -m tests.support.trees`` too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sandbox import proc
from sandbox.cgroups import Maker, probe
from sandbox.leftovers import open_keeper
from sandbox.names import PREFIX
from sandbox.namespaced import Setup, open_namespaced
from sandbox.policy import Limits
from sandbox.process import KILL_LIMIT_S, Exit, Fds, Process
from tests.support.people import as_ordinary_user

PATIENCE_S: Final = 30.0
"""For what takes milliseconds unless the machine is very busy."""


BWRAP: Final = shutil.which("bwrap") or "bwrap"


def new_mark() -> str:
    """A word for the environment of a tree, by which all of it can be found."""
    return f"tree-{uuid.uuid4().hex}"


def set_up(fds: Fds) -> Setup:
    arguments = [
        *("--unshare-pid", "--die-with-parent", "--unshare-ipc", "--unshare-net", "--cap-drop", "ALL"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
        *("--file", str(fds.script), "/dev/script", "--json-status-fd", str(fds.status), "--block-fd", str(fds.block)),
        *("--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]
    return Setup(arguments=arguments)


@asynccontextmanager
async def open_tree(
    mark: str, *command: str, maker: Maker | None = None, limits: Limits | None = None
) -> AsyncIterator[Process]:
    # On the command line, which bubblewrap has too.
    line = ("env", f"MARK={mark}", *command)
    async with open_namespaced(line, set_up, bwrap=BWRAP, limits=limits or Limits(), maker=maker) as process:
        yield process


def marked(mark: str) -> list[int]:
    """The processes that are alive and have ``mark`` in their arguments or environment, bubblewrap's included."""
    return [pid for pid in proc.pids() if pid != os.getpid() and _has(pid, mark.encode()) and proc.is_alive(pid)]


def _has(pid: int, mark: bytes) -> bool:
    for name in ("cmdline", "environ"):
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
    return False


async def until(what: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Poll until ``what`` is true."""
    with trio.fail_after(limit_s):
        while not what():  # noqa: ASYNC110 – nothing else tells
            await trio.sleep(0.005)


async def line(process: Process) -> str:
    """What the command writes next."""
    with trio.fail_after(PATIENCE_S):
        return bytes(await process.stdout.receive_some()).decode()


async def rest(process: Process) -> str:
    """What the command still has written, to the end of the pipe."""
    with trio.fail_after(PATIENCE_S):
        return b"".join([bytes(piece) async for piece in process.stdout]).decode()


def groups(maker: Maker | None) -> list[str]:
    """The control groups of commands that this process has made."""
    return [
        directory.name
        for base in (maker.bases if maker else ())
        for directory in base.directory.glob(f"{PREFIX}{os.getpid()}.*")
    ]


_ASLEEP: Final = """
import time
print('ready', flush=True)
time.sleep(1000)
"""
_DEAF: Final = """
import signal
for number in (1, 2, 3, 13, 15):
    signal.signal(number, signal.SIG_IGN)
"""
_AWAY: Final = """
import os, time
if os.fork():
    time.sleep(1000)
os.setsid()
if os.fork():
    os._exit(0)
"""
_FORKED: Final = """
import os
os.fork()
os.fork()
"""
_THREADS: Final = """
import threading, time
for _ in range(8):
    threading.Thread(target=time.sleep, args=(1000,)).start()
"""
_BOMB: Final = """
print('ready', flush=True)
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""
_BREEDS: Final = "trap 'while sleep 0.01; do setsid sleep 1000 & done' TERM; echo ready; while :; do sleep 0.01; done"


def _sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def _python(script: str) -> tuple[str, ...]:
    return ("python3", "-c", script)


OBEDIENT: Final[Mapping[str, tuple[str, ...]]] = {
    "plain child": _sh("sleep 1000 & echo ready; wait"),
    "parent asleep": _sh("sleep 1000 & echo ready; sleep 1000"),
    "double fork": _python(_AWAY + _ASLEEP),
    "setsid": _sh("setsid sleep 1000 & echo ready; wait"),
    "nohup": _sh("nohup sleep 1000 >/dev/null 2>&1 & echo ready; wait"),
    "setsid and nohup": _sh("setsid nohup setsid sleep 1000 >/dev/null 2>&1 & echo ready; sleep 1000"),
    "closed pipes": _sh("echo ready; exec 0<&- 1>&- 2>&-; sleep 1000"),
    "stopped": _sh("sleep 1000 & kill -STOP $!; echo ready; wait"),
    "stopped itself": _sh("sleep 1000 & echo ready; kill -STOP $$; sleep 1000"),
}
"""Commands that end at TERM. Each says ``ready`` when it is as it says."""

DEAF: Final[Mapping[str, tuple[str, ...]]] = {
    "TERM ignored": _sh("trap '' TERM HUP INT; echo ready; sleep 1000; sleep 1000"),
    "TERM ignored by all": _python(_DEAF + _FORKED + _ASLEEP),
    "TERM ignored in threads": _python(_DEAF + _THREADS + _ASLEEP),
    "TERM ignored, double fork": _python(_DEAF + _AWAY + _ASLEEP),
    "TERM ignored, stopped": _sh("trap '' TERM; sleep 1000 & kill -STOP $!; echo ready; kill -STOP $$; sleep 1000"),
    "breeds at TERM": _sh(_BREEDS),
}
"""Commands that do not."""

HOSTILE: Final[Mapping[str, tuple[str, ...]]] = {**OBEDIENT, **DEAF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What became of a hostile command that was told to end."""

    seconds: float
    alive_before: int
    exit: Exit
    left: tuple[int, ...]


async def attack(name: str, grace_s: float, maker: Maker | None) -> Attack:
    return await _end(HOSTILE[name], grace_s, maker, Limits(), at_least=1)


async def bomb(grace_s: float, maker: Maker | None) -> Attack:
    """Let a fork bomb grow to its limit of 40 processes, and end it."""
    return await _end(_python(_DEAF + _BOMB), grace_s, maker, Limits(processes=40), at_least=36)


async def _end(command: Sequence[str], grace_s: float, maker: Maker | None, limits: Limits, *, at_least: int) -> Attack:
    mark = new_mark()
    async with open_tree(mark, *command, maker=maker, limits=limits) as process:
        assert "ready" in await line(process)
        await until(lambda: len(process.pids()) >= at_least)
        before = len(process.pids())
        began = trio.current_time()
        exit_ = await process.end(grace_s)
        seconds = trio.current_time() - began
        left = (*process.pids(), *marked(mark))
    return Attack(seconds=seconds, alive_before=before, exit=exit_, left=left)


def attack_as_ordinary_user(name: str, grace_s: float) -> Attack:
    return _as_ordinary_user("attack", str(grace_s), name)


def bomb_as_ordinary_user(grace_s: float) -> Attack:
    return _as_ordinary_user("bomb", str(grace_s))


def _as_ordinary_user(*arguments: str) -> Attack:
    run = subprocess.run(
        as_ordinary_user("-m", __name__, *arguments), capture_output=True, check=False, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    return Attack(
        seconds=done["seconds"],
        alive_before=done["alive_before"],
        exit=Exit(**done["exit"]),
        left=tuple(done["left"]),
    )


async def _report(attack: Callable[[], Awaitable[Attack]]) -> None:
    _say(json.dumps(asdict(await attack())))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _hold(mark: str, name: str) -> None:
    """Be a daemon that has a command, until it is killed."""
    async with open_tree(mark, *HOSTILE[name], maker=probe()) as process:
        _say((await line(process)).strip())
        await trio.sleep_forever()


async def _start_for_ever(mark: str, *, has_keeper: bool) -> None:
    """Be a daemon that always starts something."""
    maker = probe()
    with open_keeper() if has_keeper else nullcontext():
        while True:
            async with open_tree(mark, "sh", "-c", "setsid sleep 1000 & sleep 1000", maker=maker):
                pass


def _start_daemons(mark: str, *, have_keepers: bool) -> None:
    """For each line on stdin be such a daemon in a child, that lives as many seconds as the line says."""
    for seconds in sys.stdin:
        pid = os.fork()
        if pid == 0:
            trio.run(partial(_start_for_ever, mark, has_keeper=have_keepers))
        time.sleep(float(seconds))
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        _say("killed")


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ("attack", grace_s, name):
            trio.run(_report, lambda: attack(name, float(grace_s), probe()))
        case ("bomb", grace_s):
            trio.run(_report, lambda: bomb(float(grace_s), probe()))
        case ("hold", mark, name):
            trio.run(_hold, mark, name)
        case ("daemons" | "kept-daemons" as which, mark):
            _start_daemons(mark, have_keepers=which == "kept-daemons")
        case _:
            sys.exit("attack GRACE NAME | bomb GRACE | hold MARK NAME | [kept-]daemons MARK")


LIMIT_S: Final = KILL_LIMIT_S + 0.5
"""What is promised beyond the grace, and something for a machine that runs other tests."""

if __name__ == "__main__":
    main(sys.argv[1:])
