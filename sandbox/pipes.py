"""The descriptors between us and a command that is to be started by bubblewrap."""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from trio.lowlevel import FdStream

from sandbox.process import Fds, NotStarted

PIPE_BYTES: Final = 256 * 1024
"""What a command may write before it has to wait for us; four times the usual, at best."""

_STATUS_BYTES: Final = 64 * 1024
"""Far above what bubblewrap says of itself, and what a pipe holds."""


@contextmanager
def open_pipes(*, seccomp: bytes | None) -> Iterator[Pipes]:
    """Open them; all are closed at the end of the block.

    Raises:
        NotStarted: there are too many open files.
    """
    with ExitStack() as ours, ExitStack() as passed:
        try:
            pipes = Pipes(ours, passed, seccomp)
        except OSError as error:
            raise NotStarted(f"no pipes for the command: {error.strerror}") from error
        yield pipes


class Pipes:
    """``stdin``, ``stdout``, ``stderr`` are our ends. ``passed`` and the ends named ``child_…`` are the child's."""

    def __init__(self, ours: ExitStack, passed: ExitStack, seccomp: bytes | None) -> None:
        self._passed = passed
        self.child_stdin, stdin = os.pipe2(os.O_CLOEXEC)
        self.stdin = _stream(ours, stdin, passed, self.child_stdin)
        stdout, self.child_stdout = os.pipe2(os.O_CLOEXEC)
        self.stdout = _stream(ours, stdout, passed, self.child_stdout)
        stderr, self.child_stderr = os.pipe2(os.O_CLOEXEC)
        self.stderr = _stream(ours, stderr, passed, self.child_stderr)
        self.arguments = Handover(ours, passed)
        self.script = Handover(ours, passed)
        # The child has both ends of this one: were we to die, it would be read for ever.
        self.block = Handover(ours, passed, ends=False)
        self._status, status = _pipe(ours, passed)
        os.set_blocking(self._status, False)
        # Opened to be read as well: were we to die, bubblewrap would be ended by the first word it writes, before
        # its child is told to go on, and that one would wait for ever.
        both_ways = _closed_by(passed, _both_ways(status))
        self.fds = Fds(
            status=both_ways,
            arguments=self.arguments.child_end,
            script=self.script.child_end,
            block=self.block.child_end,
            seccomp=None if seccomp is None else _file(passed, "seccomp", seccomp),
        )
        passed_on = (self.fds.arguments, self.fds.status, self.fds.script, self.fds.block, self.fds.seccomp)
        self.passed = tuple(fd for fd in passed_on if fd is not None)
        for fd in (stdout, stderr):
            with suppress(OSError):  # how much a user may have in pipes is limited
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._said = b""

    def close_passed(self) -> None:
        """Close the child's ends here, once it has them."""
        self._passed.close()

    def status_line(self, limit_s: float) -> bytes:
        """The first line of status; empty when bubblewrap ended, or the time, before there was one. On a thread."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._said:
            if not _is_ready(self._status, select.POLLIN, deadline):
                return b""
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


class Handover:
    """A pipe that the child reads, and that shows when all that was written to it has been read."""

    def __init__(self, ours: ExitStack, passed: ExitStack, *, ends: bool = True) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        _closed_by(passed, read)
        self._file = ours.enter_context(os.fdopen(write, "wb", buffering=0))
        self.child_end = read if ends else _closed_by(passed, _both_ways(read))
        # Of one page: while there is something in it, it cannot be written to.
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)

    def give(self, content: bytes, limit_s: float) -> bool:
        """Write, and wait until all was read; False: the child has closed its end before. On a thread.

        Raises:
            TimeoutError: it does neither.
        """
        deadline = time.monotonic() + limit_s
        while _is_ready(self._file.fileno(), select.POLLOUT, deadline):
            if not content:
                return _unread(self._file.fileno()) == 0
            try:
                content = content[self._file.write(content[: select.PIPE_BUF]) :]
            except BrokenPipeError:
                return False
        raise TimeoutError(f"bubblewrap has not got on for {limit_s:g} s")

    def close(self) -> None:
        """Let the child see the end."""
        self._file.close()


def _is_ready(fd: int, event: int, deadline: float) -> bool:
    """Wait for ``event`` at ``fd``, or for its other end to be closed; False: time is up."""
    asked = select.poll()
    asked.register(fd, event)
    return bool(asked.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """The end to read, and the end to write; each is closed by its stack. Neither is inherited, unless it is named."""
    read, write = os.pipe2(os.O_CLOEXEC)
    return _closed_by(reader, read), _closed_by(writer, write)


def _unread(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def _both_ways(end: int) -> int:
    """An end of the same pipe that can be read and written."""
    return os.open(f"/proc/self/fd/{end}", os.O_RDWR | os.O_CLOEXEC)


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
