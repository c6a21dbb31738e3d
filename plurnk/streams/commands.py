"""Commands: which runtime, which directory, which sandbox; and what their streams do (SPEC 4.2, 4.6)."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import trio

from plurnk.errors import Denied, Malformed, NotFound, Unsupported
from plurnk.plugins.streaming import CommandGrant, CommandOrder, Conclusion, Executor, Feed, Work
from plurnk.store.subscriptions import FAILED
from plurnk.streams import denials
from plurnk.streams.process import Terms, run_process
from sandbox.environment import allowed
from sandbox.host import Host
from sandbox.leftovers import open_keeper, sweep
from sandbox.links import leads_through, real
from sandbox.paths import contains
from sandbox.policy import Command, Policy, Profile
from sandbox.probe import probe
from sandbox.process import NotEnforced, NotStarted
from sandbox.spawn import open_process

logger = logging.getLogger(__name__)

INLINE_BYTES: Final = 100_000
"""A longer command goes into a file: the kernel takes arguments of 128 KiB."""

HOW_TO_ACCEPT: Final = "PLURNK_SANDBOX_ACCEPT={names}"

_QUIET: Final = {"GIT_TERMINAL_PROMPT": "0", "CI": "1", "PAGER": "cat", "GIT_PAGER": "cat"}
"""So that few commands ask anything: nobody may be there to answer."""


Existing: TypeAlias = Callable[[Collection[int]], Awaitable[Collection[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """``accept``: what the sandbox may lack here. ``timeout_s`` 0: none. ``hidden``: the daemon's own files.

    ``env``: the daemon's environment, of which commands get what is allowed. ``state_dir``: where sessions have
    their private directories.
    """

    profile: Profile
    accept: tuple[str, ...]
    timeout_s: float
    kill_grace_s: float
    state_dir: Path
    hidden: tuple[Path, ...]
    env: Mapping[str, str]


@dataclass(slots=True)
class Sharing:
    """How many live commands have the machine's own network, so that they can reach the daemon's port."""

    commands: int = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        self.commands += 1
        try:
            yield
        finally:
            self.commands -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command runs. ``root`` and ``cwd`` are real paths; ``tmp`` is the session's own."""

    root: str
    cwd: str
    tmp: str
    is_private: bool


class Commands:
    """Runtimes and their sandbox (``plugins.api.Commands``). Made by ``open_commands``."""

    def __init__(self, settings: CommandSettings, executors: Mapping[str, Executor]) -> None:
        self._settings = settings
        self._executors = executors
        self._env = {"TERM": "dumb", **allowed(settings.env), **_QUIET}
        self._host: Host | None = None
        self._probed = trio.Event()
        self._sharing = Sharing()

    async def begin(self, existing: Existing) -> None:
        """Look what this machine can enforce, for which commands wait; then remove what a dead daemon has left."""
        found = await trio.to_thread.run_sync(self._private_directories)
        self._host = await probe()
        self._probed.set()
        for name in await trio.to_thread.run_sync(sweep, self._host.maker):
            logger.warning("a command of a daemon that was killed was still there: %s", name)
        for session_id in set(found) - set(await existing(found)):
            await self.forget(session_id)

    def _private_directories(self) -> list[int]:
        """The sessions that have some."""
        top = self._settings.state_dir / "sessions"
        return [int(path.name) for path in top.iterdir() if path.name.isdigit()] if top.is_dir() else []

    @property
    def shares_network(self) -> bool:
        """A command is live that has the machine's own network."""
        return self._sharing.commands > 0

    async def backend(self) -> str | None:
        """The name of the sandbox's backend; None: it cannot be enforced, so no command is run."""
        await self._probed.wait()
        settings = self._settings
        try:
            if self._host is None:
                return None
            return self._host.choose(Policy(profile=settings.profile, root="/"), settings.accept).backend
        except NotEnforced:
            return None

    async def runtimes(self) -> tuple[str, ...]:
        """The names of those whose program is installed."""
        path = self._env.get("PATH", os.defpath)

        def there() -> tuple[str, ...]:
            return tuple(sorted(name for name, each in self._executors.items() if each.program(path) is not None))

        return await trio.to_thread.run_sync(there)

    async def prepare(self, order: CommandOrder) -> Ready:
        """As ``plugins.api.Commands`` says."""
        if not order.command.strip():
            raise Malformed("EXEC needs a command in its body")
        # On a thread: a project may lie on a slow disk.
        program = await trio.to_thread.run_sync(self._program, order.runtime, abandon_on_cancel=True)
        place = await trio.to_thread.run_sync(self._place, order, abandon_on_cancel=True)
        await self._probed.wait()
        assert self._host is not None
        ready = Ready(
            settings=self._settings,
            host=self._host,
            env=self._env,
            order=order,
            executor=self._executors[order.runtime],
            program=program,
            place=place,
            sharing=self._sharing,
        )
        ready.check()
        return ready

    def _program(self, runtime: str) -> str:
        """The runtime's program.

        Raises:
            Unsupported: it is not installed.
        """
        path = self._env.get("PATH", os.defpath)
        executor = self._executors.get(runtime)
        program = executor.program(path) if executor is not None else None
        if program is None:
            there = sorted(name for name, each in self._executors.items() if each.program(path) is not None)
            listed = f"there are {', '.join(there)}" if there else "there are none"
            raise Unsupported(f"runtime '{runtime}' is not installed; {listed}")
        return program

    def _place(self, order: CommandOrder) -> Place:
        """Where the command is to run.

        Raises:
            Denied: not inside the project.
            NotFound: no such directory.
        """
        session = self._session(order.session_id)
        own = order.project_root or str(session / "work")
        root = real(own)
        asked = order.cwd if order.cwd is not None else "."
        cwd = _inside(root, asked)
        if cwd != root and not os.path.isdir(cwd):  # noqa: PTH112 – pathlib raises for a name that is too long
            raise NotFound(f"there is no directory {asked} in the project")
        if order.project_root is not None and not Path(root).is_dir():
            raise NotFound(f"the project's root, {root}, is not there")
        tmp = real(str(session / "tmp"))
        return Place(root=root, cwd=cwd, tmp=tmp, is_private=order.project_root is None)

    def _session(self, session_id: int) -> Path:
        return self._settings.state_dir / "sessions" / str(session_id)

    async def forget(self, session_id: int) -> None:
        """Remove the private directories of a session that is deleted; none of its commands may live any more.

        Cancelled: some of it may be left.
        """
        await trio.to_thread.run_sync(_remove, self._session(session_id))


def _inside(root: str, asked: str) -> str:
    """The real path of ``asked``, which is relative to ``root``.

    Raises:
        Denied: it is not inside. What is outside is not looked at, so nobody learns what is there.
        NotFound: there can be nothing of that name.
    """
    if "\0" in asked:
        raise NotFound("a name of a directory has no NUL in it")
    for path in (os.path.normpath(os.path.join(root, asked)), real(os.path.join(root, asked))):  # noqa: PTH118 – pathlib does not normalize
        if os.path.isabs(asked) or os.path.commonpath([root, path]) != root:  # noqa: PTH117 – as above
            raise Denied(f"a command runs in the project's root or in a directory of it; {asked} is neither")
    return real(os.path.join(root, asked))  # noqa: PTH118 – as above


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(
            directory, onerror=lambda _function, path, info: logger.warning("cannot remove %s: %s", path, info[1])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A command that can be run here (``plugins.api.ReadyCommand``). ``env`` is what it gets."""

    settings: CommandSettings
    host: Host
    env: Mapping[str, str]
    order: CommandOrder
    executor: Executor
    program: str
    place: Place
    sharing: Sharing

    def check(self) -> None:
        """See that the sandbox can be had.

        Raises:
            Unsupported: it cannot, with the reason and the way out.
        """
        try:
            self.host.choose(self._policy(CommandGrant(), ()), self.settings.accept, how_to_accept=HOW_TO_ACCEPT)
        except NotEnforced as error:
            raise Unsupported(str(error)) from error

    @property
    def attrs(self) -> Mapping[str, Any]:
        """As ``ReadyCommand`` says; ``cwd`` is relative to the root, ``writable`` are directories of this machine."""
        policy = self._policy(CommandGrant(), ())
        writable = ["/"] if policy.profile == "off" else [policy.root] if policy.root_is_writable else []
        return {
            "runtime": self.order.runtime,
            "cwd": os.path.relpath(self.place.cwd, self.place.root),
            "command": self.order.command,
            "sandbox": {"profile": policy.profile, "network": policy.has_network, "writable": writable},
            "timeoutMs": round(self.settings.timeout_s * 1000),
        }

    def work(self, command: str, grant: CommandGrant) -> Work:
        """As ``ReadyCommand`` says.

        Raises:
            Malformed: what is granted is no absolute path.
        """
        for path in grant.writable:
            if not os.path.isabs(path):  # noqa: PTH117 – the text is what is asked about
                raise Malformed(f"grant.writable: expected absolute directories; got {path!r}")
        return partial(self._run, command, grant)

    async def _run(self, command: str, grant: CommandGrant, feed: Feed) -> Conclusion:
        try:
            granted = await trio.to_thread.run_sync(self._make_ready, grant)
            policy = self._policy(grant, granted)
            terms = Terms(
                timeout_s=self.settings.timeout_s or None,
                kill_grace_s=self.settings.kill_grace_s,
                explain=partial(denials.explain, has_network=policy.has_network) if policy.profile != "off" else None,
            )
            accept = self.settings.accept
            opened = open_process(self._command(command), policy, self.host, accept=accept, how_to_accept=HOW_TO_ACCEPT)
            is_apart = self.host.enforcement(policy.profile).backend == "bubblewrap" and not policy.has_network
            with nullcontext() if is_apart else self.sharing.one_more():
                async with opened as process:
                    return await run_process(process, feed, terms)
        except NotEnforced as error:
            raise Unsupported(str(error)) from error
        except NotStarted as error:
            return Conclusion(status=FAILED, detail=f"it could not be started: {error}")

    def _make_ready(self, grant: CommandGrant) -> tuple[str, ...]:
        """Make the session's private directories, and find those that are granted: their real paths.

        Raises:
            NotStarted: one cannot be had.
        """
        try:
            private = [self.place.tmp, self.place.root] if self.place.is_private else [self.place.tmp]
            for directory in private:
                path = Path(directory)
                path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise NotStarted(f"there is no private directory for it: {error.strerror}") from error
        for granted in grant.writable:
            if not os.path.isdir(granted):  # noqa: PTH112 – as above
                raise NotStarted(f"the granted directory {granted} is not there")
            # A command can have made the link: what was granted would be what the model chose.
            if leads_through(granted, partial(contains, self.place.root)):
                raise NotStarted(
                    f"the granted directory {granted} is reached by a link in the project; name where it is"
                )
        return tuple(map(real, grant.writable))

    def _policy(self, grant: CommandGrant, writable: tuple[str, ...]) -> Policy:
        return Policy(
            profile=self.settings.profile,
            root=self.place.root,
            tmp=self.place.tmp,
            writable=writable,
            network=grant.network,
            hidden=tuple(map(str, self.settings.hidden)),
        )

    def _command(self, text: str) -> Command:
        """Short, it is an argument; a file, if it cannot be."""
        data = text.encode("utf-8", "replace")
        is_inline = len(data) <= INLINE_BYTES and b"\0" not in data
        return Command(
            argv=self.executor.argv(self.program, text if is_inline else None),
            cwd=self.place.cwd,
            env=self.env,
            script=None if is_inline else data,
        )


@asynccontextmanager
async def open_commands(
    settings: CommandSettings, executors: Mapping[str, Executor], *, existing: Existing
) -> AsyncIterator[Commands]:
    """Commands for the length of the block. The machine is looked at meanwhile; only commands wait for that.

    ``existing`` tells which of these sessions there are; the directories of others are removed.
    """
    commands = Commands(settings, executors)
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(open_keeper())
        except OSError as error:
            logger.warning("no shell to see that nothing is left should the daemon be killed: %s", error)
        looking = await stack.enter_async_context(trio.open_nursery())
        looking.start_soon(commands.begin, existing)
        try:
            yield commands
        finally:
            looking.cancel_scope.cancel(reason="no command comes any more")
