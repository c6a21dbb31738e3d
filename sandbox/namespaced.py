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
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

import trio
from trio.lowlevel import FdStream

from sandbox import limits as limiting
from sandbox import mounts, names, proc
from sandbox.cgroups import Cgroup, Maker
from sandbox.mounts import Meant, Mount
from sandbox.pidfds import Held, send_if
from sandbox.pipes import Pipes, open_pipes
from sandbox.policy import Limits
from sandbox.process import GATE, KILL_LIMIT_S, Exit, Fds, NotStarted, Process

logger = logging.getLogger(__name__)

ArgvFor: TypeAlias = Callable[[Fds], Sequence[str]]

CHILD_LIMIT_S: Final = 5.0
"""For the kernel to make the namespaces, which takes 1 to 3 ms on a quiet machine."""

MOUNT_LIMIT_S: Final = 2.0
"""For bubblewrap to make its mounts, once its processes are there: some milliseconds on a quiet machine."""

CLOSE_LIMIT_S: Final = 5.0
"""For what was killed to go: at once, unless the kernel has much memory to free or waits for a disk."""

_FIRST_LOOK_S: Final = 0.002
_LAST_LOOK_S: Final = 0.05
"""Between two looks for processes that were born after TERM was sent to the others."""

_NEXT_LOOK_S: Final = 0.0003
"""Between two looks at what bubblewrap has mounted, which takes it some milliseconds."""

_ANSWER_BYTES: Final = 64


@asynccontextmanager
async def open_namespaced(
    argv_for: ArgvFor,
    *,
    limits: Limits,
    maker: Maker | None,
    seccomp: bytes | None = None,
    script: bytes | None = None,
    meant: Sequence[Meant] = (),
) -> AsyncIterator[Process]:
    """Start a command for the length of the block; what is left of its tree on the way out is killed.

    The thread of the event loop must live as long as the command does: the kernel takes its end for ours.

    Args:
        argv_for: The bubblewrap command line for these descriptors, with ``--unshare-pid``, ``--die-with-parent``,
            ``--json-status-fd``, ``--block-fd``, ``--setenv`` for each variable (bubblewrap itself gets none: a
            command can read them) and ``GATE`` before the command.
        limits: In force before the command starts.
        maker: Makes the control group; None: rlimits only.
        seccomp: A filter for ``--seccomp``.
        script: What can be read from ``Fds.script``.
        meant: What has to be mounted where; bubblewrap waits for us, with its mounts made, until that is found so.

    Raises:
        NotStarted: bubblewrap or the command could not be started, the limits not set, or something else is mounted.

    Cancelled: nothing of the tree is left.
    """
    with open_pipes(seccomp=seccomp, script=script) as pipes:
        try:
            process = _Namespaced(pipes, argv_for)
        except OSError as error:
            raise NotStarted(f"the command cannot be started: {error}") from error
        try:
            try:
                await process.open(limits, maker, meant)
            except OSError as error:
                raise NotStarted(f"the command cannot be started: {error}") from error
            yield process
        finally:
            # Shield: no process is left behind, whatever ended the block.
            with trio.move_on_after(CLOSE_LIMIT_S, shield=True) as closing:
                await process.close()
            if closing.cancelled_caught:
                logger.error("%s: processes that were killed are not gone after %g s", process.name, CLOSE_LIMIT_S)


class _Namespaced:
    """Made by ``open_namespaced``."""

    def __init__(self, pipes: Pipes, argv_for: ArgvFor) -> None:
        argv = list(argv_for(pipes.fds))
        self._program = argv[argv.index(GATE[2]) + 2]
        self.name = names.new_name()
        self._pipes = pipes
        self._group: Cgroup | None = None
        self._init: Held | None = None
        self._exit: Exit | None = None
        try:
            # Not trio's: that forks in a thread, and when the thread ends the kernel sends the parent-death signal.
            self._popen = subprocess.Popen(  # noqa: S603 – running commands is what we are for
                [self.name, *argv[1:]],  # init has it too, so that the tree of a dead daemon can be told
                executable=argv[0],
                stdin=pipes.child_stdin,
                stdout=pipes.child_stdout,
                stderr=pipes.child_stderr,
                env={},
                pass_fds=pipes.passed,
                start_new_session=True,
            )
        except OSError as error:
            raise NotStarted(f"cannot run {argv[0]}: {error.strerror}") from error
        finally:
            pipes.close_passed()
        self._outer = Held(self._popen.pid)

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

    async def open(self, limits: Limits, maker: Maker | None, meant: Sequence[Meant]) -> None:
        # Shield: killed before we know its child, the outer process would leave one that waits for it for ever.
        with trio.move_on_after(CHILD_LIMIT_S, shield=True):
            self._init = await self._first_process()
        if self._init is None:
            raise NotStarted(self._complaint())
        # Should it have ended meanwhile, what it says of that is found at the gate.
        with suppress(ProcessLookupError):
            await trio.to_thread.run_sync(self._prepare, self._init.pid, limits, maker, meant)
        self._pipes.release_block()
        await self._pass_gate(self._init.pid)

    async def _first_process(self) -> Held | None:
        """Wait for the first line of status, which names it; None: bubblewrap ended before."""
        line = await self._pipes.status_line()
        try:
            return Held(json.loads(line)["child-pid"]) if line else None
        except ProcessLookupError:
            return None

    def _prepare(self, init: int, limits: Limits, maker: Maker | None, meant: Sequence[Meant]) -> None:
        """Set the limits, and wait until all is mounted as it is meant to be; not even the gate has run then.

        On a thread, for which looking again after a third of a millisecond is no matter.
        """
        self._confine(init, limits, maker)
        deadline = time.monotonic() + MOUNT_LIMIT_S
        outside = mounts.mounts_of("self")
        while meant and not _are_mounted(meant, outside, init):
            if time.monotonic() > deadline:
                raise NotStarted("what was to be mounted was exchanged for something else meanwhile")
            time.sleep(_NEXT_LOOK_S)
            trio.from_thread.check_cancelled()

    def _confine(self, pid: int, limits: Limits, maker: Maker | None) -> None:
        if maker is not None:
            self._group = maker.make(self.name, limits)
        limiting.confine(pid, limiting.rlimits(limits, maker), self._group)

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
        return [pid for pid in self._group.pids() if pid != self._init.pid]

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
            while self._group is not None and not await trio.to_thread.run_sync(self._group.remove):  # noqa: ASYNC110 – too
                await trio.sleep(_FIRST_LOOK_S)
        finally:
            self._outer.close()
            if self._init is not None:
                self._init.close()


def _are_mounted(meant: Sequence[Meant], outside: Sequence[Mount], init: int) -> bool:
    try:
        return mounts.are_as_meant(meant, outside, mounts.mounts_of(init))
    except OSError:
        return True  # it has ended; the gate finds out why
