"""What streams and commands offer to schemes, and what an executor is (SPEC 4); part of ``plugins.api``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from plurnk.store.database import Tx
from plurnk.store.log import TurnRef


class Inlet(Protocol):
    """Where a stream takes what is sent to it: a command's stdin."""

    async def send(self, data: bytes) -> int:
        """Hand ``data`` over and return how much of it was taken, which is less when nobody reads it.

        Raises:
            Conflict: nothing is taken any more.

        Cancelled: some of it may have been taken.
        """
        ...

    async def close(self) -> None:
        """Say that nothing more comes. May be called again."""
        ...


class Feed(Protocol):
    """What a stream's work writes into: the channels that the stream was opened with."""

    async def append(self, channel: str, data: bytes) -> None:
        """Add ``data`` at the end of ``channel``; it is committed when this returns, and clients are told after that.

        What passes the cap of a channel is left out, and the stream is cancelled and concluded 413.

        Raises:
            Conflict: the stream has no such channel, or is concluded.
            OutOfRoom, StoreFailed: nothing of ``data`` was written.

        Cancelled: ``data`` may or may not have been appended, whole.
        """
        ...

    def take_from(self, inlet: Inlet) -> None:
        """From here on what is sent to the stream goes to ``inlet``."""
        ...

    async def awaits_input(self, waiting: bool) -> None:  # noqa: FBT001 - a state, not an option
        """Have everybody see that the stream waits for input, or waits no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """How a stream ended (SPEC 4.4): its channels are ``closed`` for 200, ``errored`` for anything else.

    ``exit_code`` and ``signal`` are those of a command's own process, if it got so far.
    """

    status: int
    detail: str | None = None
    exit_code: int | None = None
    signal: str | None = None


Work: TypeAlias = Callable[[Feed], Awaitable[Conclusion]]
"""What a stream does, in a task and a cancel scope of its own: write until there is no more, then say how
it ended. A ``PlurnkError`` that it raises concludes the stream with its status and detail, any other with
500; cancelled, it must let go of what it holds and raise ``Cancelled`` on."""

Opened: TypeAlias = Callable[[Tx, int, int], None]
"""More to write in the transaction that opens a stream, given the ids of its entry and its subscription."""


class Streams(Protocol):
    """The live streams, each a cancel scope of its own (``plurnk.streams``, SPEC 4.1)."""

    async def open(
        self,
        turn: TurnRef,
        entry: int | Callable[[Tx], int],
        *,
        scheme: str,
        handle: str,
        channels: Sequence[str],
        work: Work,
        opened: Opened | None = None,
    ) -> int:
        """Begin a stream into these channels of the entry, and return the id of its subscription.

        The channels are ``active`` from here on; ``handle`` says to people what is being streamed. ``entry`` is
        its id, or makes it in the transaction that opens the subscription; ``opened`` writes more into that.

        Raises:
            Malformed: no channel is named.
            NotFound: the entry is not there, or has no such channel.
            Conflict: the run has a live stream on the entry, or another stream writes one of the channels.
            Draining: the daemon is stopping.

        Cancelled: there is no such stream, or it is being ended.
        """
        ...

    async def cancel(self, entry_id: int, *, reason: str) -> bool:
        """End whatever streams of that entry are live; when this returns, they are concluded. False: there is none.

        Cancelled: the streams' end goes on.
        """
        ...

    async def send(self, entry_id: int, data: bytes) -> int:
        """Hand ``data`` to the live stream of that entry and return how much of it was taken.

        Several at once are taken one after the other.

        Raises:
            Conflict: no stream is live there, or it takes nothing (any more).

        Cancelled: some of it may have been taken.
        """
        ...

    async def close_input(self, entry_id: int) -> None:
        """Tell the live stream of that entry that nothing more is sent to it.

        Raises:
            Conflict: no stream is live there, or it never takes anything.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandGrant:
    """What an accepted command may do beyond its profile. ``writable``: absolute directories."""

    network: bool = False
    writable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOrder:
    """A command as it was asked for. ``cwd`` is relative to the project root; None is the root itself."""

    runtime: str
    command: str
    cwd: str | None
    session_id: int
    project_root: str | None


class ReadyCommand(Protocol):
    """A command that can be run here: its runtime, directory and sandbox were found."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """``{runtime, cwd, command, sandbox{profile, network, writable[]}, timeoutMs}``: what is shown."""
        ...

    def work(self, command: str, grant: CommandGrant) -> Work:
        """What its stream does: channels stdout, stderr and stdin. ``command`` is what was accepted."""
        ...


class Commands(Protocol):
    """Runtimes and their sandbox (``plurnk.streams.commands``, SPEC 4.2, 4.6)."""

    async def prepare(self, order: CommandOrder) -> ReadyCommand:
        """Find what is needed to run it.

        Raises:
            Malformed: the command is empty.
            Denied: the directory is not inside the project.
            NotFound: the directory is not there.
            Unsupported: no such runtime, or the sandbox cannot be enforced on this machine; says the way out.
        """
        ...


class Executor(Protocol):
    """A runtime: how a command becomes the arguments of a program.

    A short command is an argument of the program, as of ``sh -c``; a long one is put into a private file.
    """

    @property
    def name(self) -> str: ...

    @property
    def contract_version(self) -> int: ...

    def program(self, path: str) -> str | None:
        """The program's absolute path, sought in ``path`` (as ``$PATH``); None: it is not installed."""
        ...

    def argv(self, program: str, command: str | None) -> tuple[str, ...]:
        """The arguments that run ``command``; None: it is in a file, whose path will be added at the end."""
        ...
