"""A command in namespaces of its own, by bubblewrap: how it is started, and how its whole tree is ended.

There are two processes of bubblewrap: the outer one, our child, and ``init``, the first one of the PID namespace.
The kernel ends everything in that namespace when ``init`` ends, and lets nobody see the end of ``init`` before all
is gone. When the command's own process ends, the outer one ends; and ``init`` has a parent-death signal, as the
outer one has from us.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import trio
from trio.lowlevel import FdStream

from sandbox import limits as limiting
from sandbox import mounts, names, proc
from sandbox.cgroups import Cgroup, Maker
from sandbox.mounts import Meant
from sandbox.pidfds import Held, send_if
from sandbox.pipes import Pipes, open_pipes
from sandbox.policy import Limits
from sandbox.process import KILL_LIMIT_S, Exit, Fds, NotStarted, Process

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What bubblewrap is told, and what has to be mounted where then: asked on the thread, while that is mounted."""

    arguments: Sequence[str]
    meant: Callable[[], Sequence[Meant]] = tuple


SetUp: TypeAlias = Callable[[Fds], Setup]

STEP_LIMIT_S: Final = 5.0
"""For bubblewrap to read what it is told, to make its namespaces, or its mounts: 1 to 3 ms each on a quiet machine."""

CLOSE_LIMIT_S: Final = 5.0
"""For what was killed to go: at once, unless the kernel has much memory to free or waits for a disk."""

_FIRST_LOOK_S: Final = 0.002
_LAST_LOOK_S: Final = 0.05
"""Between two looks for processes that were born after TERM was sent to the others."""

_GATE: Final = (
    "/bin/sh",
    "-c",
    """case $1 in */*) [ -f "$1" ] && [ -x "$1" ] ;; *) command -v -- "$1" >/dev/null 2>&1 ;; esac
echo $?; read -r go && exec "$@\"""",
    "sh",
)
"""What stands before the command: ``[..., "--", *_GATE, *command]``.

It says on stdout whether the command is there, waits for a line on stdin, and becomes the command. When whoever
started it is gone it reads the end of stdin instead, and ends. That bubblewrap waits for our word cannot stand in for
it: that comes before the command is forked, and until then no process in the namespace has a parent-death signal
(bubblewrap 0.8), so a daemon killed at that moment would leave a command that nobody owns.
"""

_ANSWER_BYTES: Final = 64

_NO_SCRIPT: Final = b"\n"
"""Something has to be read, for us to see that it is."""


@asynccontextmanager
async def open_namespaced(
    command: Sequence[str],
    set_up: SetUp,
    *,
    bwrap: str,
    limits: Limits,
    maker: Maker | None,
    seccomp: bytes | None = None,
    script: bytes | None = None,
) -> AsyncIterator[Process]:
    """Start a command for the length of the block; what is left of its tree on the way out is killed.

    The thread of the event loop must live as long as the command does: the kernel takes its end for ours.

    Args:
        command: The program and its arguments.
        set_up: The arguments of bubblewrap for these descriptors: among them ``--unshare-pid``, ``--die-with-parent``,
            ``--json-status-fd``, ``--block-fd``, ``--file`` with the script as the last mount, and ``--setenv`` for
            each variable (bubblewrap itself gets none: a command can read them). Called on a thread.
        bwrap: Where bubblewrap is.
        limits: In force before the command starts.
        maker: Makes the control group; None: rlimits only.
        seccomp: A filter for ``--seccomp``.
        script: What can be read from ``Fds.script``; None: an empty line.

    Raises:
        NotStarted: bubblewrap or the command could not be started, the limits not set, or something else is mounted.

    Cancelled: nothing of the tree is left.
    """
    try:
        name = names.new_name()
    except OSError as error:
        raise NotStarted(f"the command cannot be started: {error}") from error
    async with _open_group(maker, name, limits) as group:
        with open_pipes(seccomp=seccomp) as pipes:
            process = _Namespaced(name, pipes, group, [bwrap, *command])
            try:
                await process.open(set_up, script or _NO_SCRIPT, limiting.rlimits(limits, maker))
                yield process
            finally:
                # Shield: no process is left behind, whatever ended the block.
                with trio.move_on_after(CLOSE_LIMIT_S, shield=True) as closing:
                    await process.close()
                if closing.cancelled_caught:
                    logger.error("%s: processes that were killed are not gone after %g s", name, CLOSE_LIMIT_S)


@asynccontextmanager
async def _open_group(maker: Maker | None, name: str, limits: Limits) -> AsyncIterator[Cgroup | None]:
    if maker is None:
        yield None
        return
    # The outer process may be born in it, for which the command is not to pay.
    with_outer = replace(limits, processes=limits.processes + 1)
    try:
        group = await trio.to_thread.run_sync(maker.make, name, with_outer)
    except OSError as error:
        raise NotStarted(f"no control group for the command: {error}") from error
    try:
        yield group
    finally:
        # Shield: no group is left behind; it is empty but for what the kernel still has to tidy up.
        with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
            while not await trio.to_thread.run_sync(group.remove):  # noqa: ASYNC110 – of the kernel
                await trio.sleep(_FIRST_LOOK_S)


class _Namespaced:
    """Made by ``open_namespaced``."""

    def __init__(self, name: str, pipes: Pipes, group: Cgroup | None, argv: Sequence[str]) -> None:
        self.name = name
        self._program = argv[1]
        self._pipes = pipes
        self._group = group
        self._init: Held | None = None
        self._exit: Exit | None = None
        try:
            # Not trio's: that forks in a thread, and when the thread ends the kernel sends the parent-death signal.
            with nullcontext() if group is None else group.births():
                self._popen = subprocess.Popen(  # noqa: S603 – running commands is what we are for
                    # Init has the name too, so that the tree of a dead daemon can be told.
                    [name, "--args", str(pipes.fds.arguments), "--", *_GATE, *argv[1:]],
                    executable=argv[0],
                    stdin=pipes.child_stdin,
                    stdout=pipes.child_stdout,
                    stderr=pipes.child_stderr,
                    env={},
                    pass_fds=pipes.passed,
                    start_new_session=True,
                )
            self._outer = self._held()
        except OSError as error:
            raise NotStarted(f"cannot run {argv[0]}: {error.strerror}") from error
        finally:
            pipes.close_passed()

    def _held(self) -> Held:
        try:
            return Held(self._popen.pid)
        except OSError:
            self._popen.kill()  # it waits to be told what to do, and has no child yet
            self._popen.wait()
            raise

    @property
    def stdin(self) -> FdStream:
        return self._pipes.stdin

    @property
    def stdout(self) -> FdStream:
        return self._pipes.stdout

    @property
    def stderr(self) -> FdStream:
        return self._pipes.stderr

    # Opening

    async def open(self, set_up: SetUp, script: bytes, rlimits: Mapping[int, int]) -> None:
        # Not cancelled: an outer process that is killed before we know its child would leave one that waits for ever.
        try:
            await trio.to_thread.run_sync(self._start, set_up, script, rlimits)
        except OSError as error:
            raise NotStarted(f"the command cannot be started: {error}") from error
        assert self._init is not None
        await self._pass_gate(self._init.pid)

    def _start(self, set_up: SetUp, script: bytes, rlimits: Mapping[int, int]) -> None:
        """Say what to mount, set the limits, compare what is mounted with what was meant; only then comes the gate.

        Bubblewrap waits for the end of the script, and then for our word, for which it has a pipe that never ends:
        were we to die, it would wait until the keeper comes.
        """
        setup = set_up(self._pipes.fds)
        self._pipes.arguments.give(_joined(setup.arguments), STEP_LIMIT_S)
        self._pipes.arguments.close()
        line = self._pipes.status_line(STEP_LIMIT_S)
        # Should it end meanwhile, it closes its pipes.
        with suppress(ProcessLookupError):
            self._init = Held(json.loads(line)["child-pid"]) if line else None
        if self._init is None:
            raise NotStarted(self._complaint())
        with suppress(ProcessLookupError):
            limiting.confine(self._init.pid, rlimits)
            if self._group is not None:
                self._group.enter(self._init.pid, born_here=True)
        meant = setup.meant()
        # The script is the last of the mounts: once it is read, the others are there.
        if not self._pipes.script.give(script, STEP_LIMIT_S):
            raise NotStarted(self._complaint())
        mountinfo = _mountinfo(self._init.pid)
        self._pipes.script.close()
        if not mounts.are_as_meant(meant, mountinfo) and not self._init.has_ended:
            raise NotStarted("what was to be mounted was exchanged for something else meanwhile")
        trio.from_thread.check_cancelled()
        if not self._pipes.block.give(b"x", STEP_LIMIT_S):
            raise NotStarted(self._complaint())

    async def _pass_gate(self, init: int) -> None:
        answer = b""
        while not answer.endswith(b"\n"):
            got = await self.stdout.receive_some(_ANSWER_BYTES)
            if not got:
                raise NotStarted(self._complaint())
            answer += got
        if answer != b"0\n":
            raise NotStarted(f"{self._program}: there is no such program inside the sandbox")
        # Once it sleeps it has set its parent-death signal, so that we may die from now on. It nearly always does.
        while (found := proc.stat(init)) is not None and found.state != "S":  # noqa: ASYNC110 – of the kernel
            await trio.sleep(_FIRST_LOOK_S)
        try:
            os.write(self.stdin.fileno(), b"\n")
        except BrokenPipeError as error:
            raise NotStarted(self._complaint()) from error

    def _complaint(self) -> str:
        lines = self._pipes.said_on_stderr().strip().splitlines()
        return lines[-1] if lines else "bubblewrap ended before the command started"

    # Running

    def pids(self) -> tuple[int, ...]:
        return tuple(pid for pid in self._members() if proc.is_alive(pid))

    def _members(self) -> list[int]:
        if self._init is None or self._init.has_ended:
            return []
        if self._group is None:
            return proc.descendants(self._init.pid)
        return [pid for pid in self._group.pids() if pid not in {self._init.pid, self._outer.pid}]

    async def wait(self) -> Exit:
        await self._outer.ended()
        if self._exit is None:
            await self._gone()
            self._exit = self._exit or self._conclude()
        return self._exit

    async def _gone(self) -> None:
        """Wait until nothing is left, once the outer process has ended."""
        self._popen.poll()  # reaps it
        if self._init is None:
            return
        self._init.send(signal.SIGKILL)  # it should be dying of its parent's death
        await self._init.ended()
        self._init.reap()  # ours where we inherit orphans: as the first process of a container, or a subreaper

    def _conclude(self) -> Exit:
        code = self._pipes.exit_code()
        if code is None:
            ended = self._popen.returncode
            code = 128 - ended if ended < 0 else ended
        try:
            name = signal.Signals(code - 128).name if code > 128 else None
        except ValueError:
            name = None
        return Exit(code=code, signal=name, out_of_memory=self._group is not None and self._group.oom_kills() > 0)

    # Ending

    async def end(self, grace_s: float) -> Exit:
        if grace_s > 0 and self._exit is None:
            with trio.move_on_after(grace_s):
                await self._ask_to_end()
                return await self.wait()
        self._kill()
        with trio.move_on_after(KILL_LIMIT_S):
            return await self.wait()
        logger.error("%s: processes that were killed are not gone after %g s", self.name, KILL_LIMIT_S)
        return Exit(code=128 + signal.SIGKILL, signal=signal.SIGKILL.name)

    async def _ask_to_end(self) -> None:
        """TERM to everybody, and to those who are born after that, until nobody is left.

        The outer process is held meanwhile: were it to see the command's own process end, it would end, and so
        everybody else, who may be busy with what TERM told them to do.
        """
        assert self._init is not None
        asked: set[tuple[int, int]] = set()
        pause_s = _FIRST_LOOK_S
        self._outer.send(signal.SIGSTOP)
        try:
            while not self._init.has_ended:
                await trio.to_thread.run_sync(self._ask_members, asked)
                with trio.move_on_after(pause_s):
                    await self._init.ended()
                pause_s = min(2 * pause_s, _LAST_LOOK_S)
        finally:
            self._outer.send(signal.SIGCONT)

    def _ask_members(self, asked: set[tuple[int, int]]) -> None:
        members = self._members()
        tree = {*members, self._init.pid if self._init else 0}

        def is_member(pid: int) -> bool:
            found = proc.stat(pid)
            return found is not None and found.parent in tree

        for pid in members:
            found = proc.stat(pid)
            if found is not None and (pid, found.started_ticks) not in asked:
                asked.add((pid, found.started_ticks))
                send_if(pid, is_member, signal.SIGTERM, signal.SIGCONT)

    def _kill(self) -> None:
        if self._init is not None:
            self._init.send(signal.SIGKILL)
        elif not self._outer.has_ended:
            for pid in proc.children(self._outer.pid):
                os.kill(pid, signal.SIGKILL)  # not reaped by its parent, which is not reaped by us
        self._outer.send(signal.SIGKILL)

    async def close(self) -> None:
        """Kill what is left, wait until it is gone, and let go of everything."""
        try:
            self._kill()
            await self._outer.ended()
            await self._gone()
        finally:
            self._outer.close()
            if self._init is not None:
                self._init.close()


def _joined(arguments: Sequence[str]) -> bytes:
    if any("\0" in argument for argument in arguments):
        raise NotStarted("a path or a variable of the command has a NUL in it")
    return b"".join(os.fsencode(argument) + b"\0" for argument in arguments)


def _mountinfo(pid: int) -> str:
    """Empty when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "surrogateescape")
    return ""
