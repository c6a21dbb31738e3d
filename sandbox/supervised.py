"""A command whose tree a supervisor holds, where there is no PID namespace to hold it."""

from __future__ import annotations

import errno
import logging
import marshal
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
from trio.lowlevel import FdStream

from sandbox import limits as limiting
from sandbox import names, private, proc
from sandbox.cgroups import Cgroup, Maker
from sandbox.landlock import OF_FILES, Ruleset
from sandbox.pidfds import Held
from sandbox.policy import Limits
from sandbox.process import KILL_LIMIT_S, Exit, NotStarted

logger = logging.getLogger(__name__)

EXIT_LIMIT_S: Final = 5.0
"""For what is left to end when the block is left; more than KILL_LIMIT_S, as the machine may be busy."""
REMOVE_LIMIT_S: Final = 2.0
"""For removing the private directory; a larger one is removed on, after that."""
LOOK_AGAIN_S: Final = 0.001
PIPE_BYTES: Final = 256 * 1024
"""The size of the pipes of output; what is read at once is more, and writers wait less, than with 64 KiB."""
MESSAGE_BYTES: Final = 4096

_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from sandbox.supervisor import main; main(*map(int, sys.argv[2:]))"
)
"""Not the module's file as a script: that would be compiled at every start, which takes longer than to run it."""

_STAGES: Final = {
    "fork": "there is no room for its process",
    "landlock": "Landlock does not take its rules",
    "cwd": "its working directory cannot be entered",
    "confine": "it cannot be confined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the supervisor is to do. ``ruleset`` and ``seccomp`` are None where there is none.

    ``abi`` is Landlock's, 0 for none. ``confined``: without capabilities. ``private_directory`` goes with the command.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    abi: int = 0
    ruleset: Ruleset | None = None
    seccomp: bytes | None = None
    confined: bool = False
    private_directory: str | None = None


class Supervised:
    """Made by ``open_supervised``; a ``sandbox.process.Process``."""

    def __init__(self, plan: Plan, resources: ExitStack) -> None:
        self._argv0 = plan.argv[0]
        child_ends = resources.enter_context(ExitStack())
        stdin, self.stdin = _to_child(resources, child_ends)
        self.stdout, stdout = _from_child(resources, child_ends)
        self.stderr, stderr = _from_child(resources, child_ends)
        control, self._control = _to_child(resources, child_ends)
        self._status, status = _from_child(resources, child_ends)
        passed = (_sealed(child_ends, _encoded(plan)), control, status)
        self._supervisor = _supervisor(passed, stdin, stdout, stderr)
        self._held = Held(self._supervisor.pid)
        resources.callback(self._held.close)
        child_ends.close()
        self._buffer = b""
        self._lines: list[str] = []
        self._reading = trio.Lock()
        self._group: Cgroup | None = None
        self._exit: Exit | None = None

    def pids(self) -> tuple[int, ...]:
        """As ``Process`` says."""
        return tuple(pid for pid in proc.descendants(self._supervisor.pid) if proc.is_alive(pid))

    async def start(self, limits: Limits, maker: Maker | None) -> None:
        """Limit the process that waits, let it become the command.

        Raises:
            NotStarted: it could not.
        """
        try:
            await trio.to_thread.run_sync(self._confine, int(await self._next("forked")), limits, maker)
        except OSError as error:
            raise NotStarted(f"the limits of {self._argv0} cannot be set: {error.strerror}") from error
        self._order(b"g")
        await self._next("started")

    def _confine(self, pid: int, limits: Limits, maker: Maker | None) -> None:
        if maker is not None:
            self._group = maker.make(names.new_name(), limits)
        wanted = limiting.rlimits(limits, maker)
        if resource.RLIMIT_NPROC in wanted:
            # It counts all of the user's, so those that there are come on top.
            wanted[resource.RLIMIT_NPROC] += _threads_of_user()
        limiting.confine(pid, wanted)
        if self._group is not None:
            self._group.enter(pid)

    async def wait(self) -> Exit:
        """As ``Process`` says."""
        # One at a time: only one task may wait for a descriptor. The next finds all that is said.
        async with self._reading:
            while self._exit is None:
                if not await self._receive():
                    await self._held.ended()
                    self._exit = self._ended()
        await self._remove_group()
        return self._exit

    async def end(self, grace_s: float) -> Exit:
        """As ``Process`` says."""
        if grace_s > 0:
            self._order(b"t")
            with trio.move_on_after(grace_s):
                return await self.wait()
        with trio.move_on_after(KILL_LIMIT_S):
            return await self.kill()
        logger.error("%s has not ended %g s after KILL", self._argv0, KILL_LIMIT_S)
        return Exit(code=128 + signal.SIGKILL, signal=signal.SIGKILL.name)

    async def kill(self) -> Exit:
        """End the tree at once."""
        self._order(b"k")
        return await self.wait()

    def let_go(self) -> None:
        """At the end. A tree that the kernel cannot end (it waits for a disk) its supervisor ends when it can."""
        if self._supervisor.poll() is None:
            logger.error("%s has not ended %g s after KILL", self._argv0, EXIT_LIMIT_S)

    def _order(self, order: bytes) -> None:
        # Not the stream's own method: two tasks may give orders at once, and for a few bytes there is room.
        with suppress(BrokenPipeError):  # it has ended
            os.write(self._control.fileno(), order)

    async def _next(self, expected: str) -> str:
        """What the supervisor says next, without its first word."""
        async with self._reading:
            while not self._lines:
                if not await self._receive():
                    break
        word, _, rest = self._lines.pop(0).partition(" ") if self._lines else ("", "", "")
        if word != expected:
            raise NotStarted(self._failure(rest if word == "failed" else "fork 0"))
        return rest

    def _failure(self, report: str) -> str:
        stage, _, number = report.partition(" ")
        reason = os.strerror(int(number)) if int(number) else "its supervisor has ended"
        if stage != "exec":
            return f"{self._argv0} was not started: {_STAGES[stage]}: {reason}"
        if int(number) == errno.ENOENT:
            return f"{self._argv0} was not started: there is no such program"
        return f"{self._argv0} was not started: {reason}"

    async def _receive(self) -> bool:
        data = await self._status.receive_some(MESSAGE_BYTES)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines += [line.decode() for line in lines]
        return bool(data)

    def _ended(self) -> Exit:
        """How the command ended, now that the supervisor has. Reaps that."""
        self._supervisor.wait()
        word, _, rest = self._lines[-1].partition(" ") if self._lines else ("", "", "")
        # Without its word the supervisor was killed, from outside: the kernel has killed the command with it.
        code = int(rest) if word == "ended" else -signal.SIGKILL
        out_of_memory = self._group is not None and self._group.oom_kills() > 0
        if code >= 0:
            return Exit(code=code, out_of_memory=out_of_memory)
        return Exit(code=128 - code, signal=_signal_name(-code), out_of_memory=out_of_memory)

    async def _remove_group(self) -> None:
        with trio.move_on_after(KILL_LIMIT_S):
            while self._group is not None and not self._group.remove():
                self._group.kill()  # something is left only if the supervisor was killed
                await trio.sleep(LOOK_AGAIN_S)
            self._group = None


def _supervisor(passed: tuple[int, ...], stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    package = Path(__file__).parent.parent
    try:
        # On this thread, which the loop runs on: that whoever starts it ends is what ends the supervisor.
        return subprocess.Popen(  # noqa: S603 – our own program
            [sys.executable, "-I", "-S", "-c", _BOOT, str(package), *map(str, passed)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
            start_new_session=True,
            pass_fds=passed,
        )
    except OSError as error:
        raise NotStarted(f"the supervisor was not started: {error.strerror}") from error


def _threads_of_user() -> int:
    count = 0
    for pid in proc.pids():
        try:
            if os.stat(f"/proc/{pid}").st_uid == os.getuid():  # noqa: PTH116 – of every process there is
                count += len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 – see above
        except OSError:
            continue  # it has ended
    return count


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _encoded(plan: Plan) -> bytes:
    """In the interpreter's own format: to import json would cost the supervisor 5 ms."""
    rules = plan.ruleset
    return marshal.dumps(
        {
            "argv": [os.fsencode(word) for word in plan.argv],
            "cwd": os.fsencode(plan.cwd),
            "env": {os.fsencode(name): os.fsencode(value) for name, value in plan.env.items()},
            "abi": plan.abi,
            "rules": None if rules is None else [(os.fsencode(path), rights) for path, rights in rules.rules],
            "handled": (0, 0, 0) if rules is None else (rules.handled_fs, rules.handled_net, rules.scoped),
            "of_files": OF_FILES,
            "seccomp": plan.seccomp,
            "confined": plan.confined,
            "private": plan.private_directory,
        }
    )


def _sealed(resources: ExitStack, data: bytes) -> int:
    """A file without a name that holds ``data``, to be read from its beginning."""
    descriptor = os.memfd_create("plan", os.MFD_CLOEXEC)
    resources.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _to_child(ours: ExitStack, theirs: ExitStack) -> tuple[int, FdStream]:
    read, write = os.pipe()
    theirs.callback(os.close, read)
    return read, _stream(ours, write)


def _from_child(ours: ExitStack, theirs: ExitStack) -> tuple[FdStream, int]:
    read, write = os.pipe()
    theirs.callback(os.close, write)
    return _stream(ours, read), write


def _stream(resources: ExitStack, descriptor: int) -> FdStream:
    stream = FdStream(descriptor)
    resources.callback(stream.close)
    return stream


@asynccontextmanager
async def open_supervised(
    prepare: Callable[[], Plan], *, limits: Limits, maker: Maker | None
) -> AsyncIterator[Supervised]:
    """Run a command under a supervisor for the length of the block; what is left of its tree at the end is killed.

    ``prepare`` looks at files, so it is called on a thread.

    Raises:
        NotStarted: the command could not be started; nothing is left.

    Cancelled: nothing is left.
    """
    try:
        plan = await trio.to_thread.run_sync(prepare)
    except OSError as error:
        raise NotStarted(f"the command was not started: {error.strerror}") from error
    try:
        with ExitStack() as resources:
            process = Supervised(plan, resources)
            try:
                await process.start(limits, maker)
                yield process
            finally:
                # Shield: no process is left behind; after KILL the kernel needs milliseconds.
                with trio.move_on_after(EXIT_LIMIT_S, shield=True):
                    await process.kill()
                process.let_go()
    finally:
        if plan.private_directory is not None:
            # Shield: nor are its files; removing goes on without us when they are very many.
            with trio.move_on_after(REMOVE_LIMIT_S, shield=True):
                remove = partial(private.remove, plan.private_directory)
                await trio.to_thread.run_sync(remove, abandon_on_cancel=True)
