"""The descriptors between us and a command that is to be started by bubblewrap."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import trio
from trio.lowlevel import FdStream

from sandbox.process import Fds, NotStarted

PIPE_BYTES: Final = 256 * 1024
"""What a command may write before it has to wait for us; four times the usual, at best."""

_STATUS_BYTES: Final = 64 * 1024
"""Far above what bubblewrap says of itself, and what a pipe holds."""


@contextmanager
def open_pipes(*, seccomp: bytes | None, script: bytes | None) -> Iterator[Pipes]:
    """Open them; all are closed at the end of the block.

    Raises:
        NotStarted: there are too many open files.
    """
    with ExitStack() as ours, ExitStack() as passed:
        try:
            pipes = Pipes(ours, passed, seccomp, script)
        except OSError as error:
            raise NotStarted(f"no pipes for the command: {error.strerror}") from error
        yield pipes


class Pipes:
    """``stdin``, ``stdout``, ``stderr`` are our ends. ``passed`` and the ends named ``child_…`` are the child's."""

    def __init__(self, ours: ExitStack, passed: ExitStack, seccomp: bytes | None, script: bytes | None) -> None:
        self._passed = passed
        self.child_stdin, stdin = os.pipe2(os.O_CLOEXEC)
        self.stdin = _stream(ours, stdin, passed, self.child_stdin)
        stdout, self.child_stdout = os.pipe2(os.O_CLOEXEC)
        self.stdout = _stream(ours, stdout, passed, self.child_stdout)
        stderr, self.child_stderr = os.pipe2(os.O_CLOEXEC)
        self.stderr = _stream(ours, stderr, passed, self.child_stderr)
        block, self._block = _pipe(passed, ours)
        self._status, status = _pipe(ours, passed)
        os.set_blocking(self._status, False)
        # Opened to be read as well: were we to die, bubblewrap would be ended by the first word it writes, before
        # its child is told to go on. So it goes on, and its command finds nobody at the gate.
        both_ways = _closed_by(passed, os.open(f"/proc/self/fd/{status}", os.O_RDWR | os.O_CLOEXEC))
        self.fds = Fds(
            status=both_ways,
            block=block,
            seccomp=None if seccomp is None else _file(passed, "seccomp", seccomp),
            script=None if script is None else _file(passed, "script", script),
        )
        passed_on = (self.fds.status, self.fds.block, self.fds.seccomp, self.fds.script)
        self.passed = tuple(fd for fd in passed_on if fd is not None)
        for fd in (stdout, stderr):
            with suppress(OSError):  # how much a user may have in pipes is limited
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._said = b""

    def close_passed(self) -> None:
        """Close the child's ends here, once it has them."""
        self._passed.close()

    def release_block(self) -> None:
        """Let bubblewrap go on to the gate; if it has ended, that will be seen there."""
        with suppress(BrokenPipeError):
            os.write(self._block, b"x")

    async def status_line(self) -> bytes:
        """The first line of status; empty when bubblewrap ended before it wrote one."""
        while b"\n" not in self._said:
            await trio.lowlevel.wait_readable(self._status)
            got = os.read(self._status, _STATUS_BYTES)
            if not got:
                return b""
            self._said += got
        return self._said.partition(b"\n")[0]

    def exit_code(self) -> int | None:
        """What bubblewrap, which has ended, said of the command; None when it could not."""
        with suppress(BlockingIOError):
            self._said += os.read(self._status, _STATUS_BYTES)
        for line in self._said.splitlines():
            with suppress(ValueError):
                code = json.loads(line).get("exit-code")
                if isinstance(code, int):
                    return code
        return None

    def said_on_stderr(self) -> str:
        with suppress(BlockingIOError):
            return os.read(self.stderr.fileno(), PIPE_BYTES).decode("utf-8", "replace")
        return ""


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """The end to read, and the end to write; each is closed by its stack. Neither is inherited, unless it is named."""
    read, write = os.pipe2(os.O_CLOEXEC)
    return _closed_by(reader, read), _closed_by(writer, write)


def _closed_by(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _stream(ours: ExitStack, fd: int, passed: ExitStack, other: int) -> FdStream:
    """Our end as a stream, which the caller may close before the stack does; ``other`` is the child's."""
    _closed_by(passed, other)
    stream = FdStream(fd)
    ours.callback(stream.close)
    return stream


def _file(stack: ExitStack, name: str, content: bytes) -> int:
    """A file in memory that holds ``content``, to be read from its beginning."""
    fd = _closed_by(stack, os.memfd_create(name))
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
