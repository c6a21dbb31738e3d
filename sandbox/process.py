"""A command that runs, as whoever started it sees it: the contract that every backend keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import trio


class SandboxError(Exception):
    """Base; ``str()`` is one sentence fit to show."""


class NotEnforced(SandboxError):
    """This machine cannot enforce what the policy asks for; the message says what and the way out."""

    def __init__(self, message: str, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class NotStarted(SandboxError):
    """The command could not be started: no such program, no room, no permission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the command's own process ended, seen once nothing of its tree is left.

    ``code`` is its exit status as a shell has it: 128 + n when a signal ended it, whose name is then ``signal``
    (``SIGKILL``). ``out_of_memory``: the kernel ended a process of the tree for want of memory within its limit.
    """

    code: int
    signal: str | None = None
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fds:
    """The file descriptors that a bubblewrap command line names; whoever starts it opens and passes them."""

    arguments: int
    """For ``--args``."""
    status: int
    """For ``--json-status-fd``."""
    script: int
    """For ``--file``, the last of all mounts: bubblewrap reads it to its end."""
    block: int
    """For ``--block-fd``: bubblewrap reads a byte before it becomes the command."""
    seccomp: int | None = None
    """For ``--seccomp``; None: without a filter."""


class Process(Protocol):
    """A tree of processes that was started. Its pipes are the caller's to read and write."""

    @property
    def stdin(self) -> trio.lowlevel.FdStream: ...

    @property
    def stdout(self) -> trio.lowlevel.FdStream: ...

    @property
    def stderr(self) -> trio.lowlevel.FdStream: ...

    def pids(self) -> tuple[int, ...]:
        """The processes of the tree that are alive, by their pids here; none of the sandbox's own."""
        ...

    async def wait(self) -> Exit:
        """Wait until the command's own process has ended; what was left of its tree is ended then, at once.

        When this returns, nothing of the tree is left. The pipes may still hold what was written.

        Cancelled: the tree lives on.
        """
        ...

    async def end(self, grace_s: float) -> Exit:
        """End the tree: TERM (and CONT) to all of it, after ``grace_s`` KILL; reap.

        When this returns, nothing of the tree is left. It returns within ``grace_s`` and KILL_LIMIT_S.
        May be called again, and when the tree has ended.

        Cancelled: the tree may live on.
        """
        ...


KILL_LIMIT_S: float = 0.25
"""How long after KILL the last of a tree is there at most."""
