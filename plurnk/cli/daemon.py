"""Reaching the daemon, and starting one in the background when none answers."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias, cast

import trio

from plurnk.cli.arguments import flags_of
from plurnk.cli.settings import settings_of
from plurnk.client import Client, ClientError, Refused, RequestError, Unreachable, open_client
from plurnk.config import Settings

# A start takes a third of a second; the recovery of a large database after a crash may take much longer.
START_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.02
_SHOWN_OF_LOG_LINES: Final = 5
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

Work: TypeAlias = Callable[[Client], Awaitable[int]]


def with_daemon(options: argparse.Namespace, work: Work, *, failed: int) -> int:
    """Run ``work`` with a client, starting a daemon if need be.

    Returns its exit code, or ``failed`` after a sentence on standard error.
    """
    settings = settings_of(options)

    async def all_of_it() -> int:
        try:
            where = await _reach(settings, options)
        except OSError as error:
            raise Unreachable(f"no daemon can be started: {error}") from error
        async with open_client(where, token=token_of(settings)) as client:
            return await work(client)

    try:
        return trio.run(all_of_it)
    except (ClientError, RequestError, BaseExceptionGroup) as raised:
        # Several tasks may have met with the end of the daemon, each in its way.
        errors = list(_leaves(raised))
        if strange := [error for error in errors if not isinstance(error, ClientError | RequestError)]:
            raise (strange[0] if len(strange) == 1 else raised) from None
        print(f"plurnk: {errors[0]}", file=sys.stderr)
        return failed


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for inner in cast("tuple[BaseException, ...]", error.exceptions):
        yield from _leaves(inner)


async def _reach(settings: Settings, options: argparse.Namespace) -> str | Path:
    """Return where a daemon answers; one is started now if none does.

    Raises:
        Unreachable: none answers and none could be started.
    """
    if where := await answering(settings):
        return where
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with _alone(settings.state_dir / "start.lock"):
        # Another command may have started one while we waited for it.
        if where := await answering(settings):
            return where
        log = settings.state_dir / "daemon.log"
        print(f"plurnk: starting the daemon; it logs to {log}", file=sys.stderr)
        child = _spawn(log, options)
        with trio.move_on_after(START_S):
            while True:
                ended = _has_ended(child)
                if where := await answering(settings):
                    return where
                if ended:
                    raise Unreachable(f"the daemon could not start; {log} ends with:\n{_tail(log)}")
                await trio.sleep(_LOOK_EVERY_S)
        raise Unreachable(f"the daemon did not answer within {START_S:g} s of its start; see {log}")


async def answering(settings: Settings) -> str | Path | None:
    """Try the socket, then the address that the daemon leaves beside its database.

    Raises:
        Refused: a daemon answers and does not let us in.
    """
    for where in _addresses(settings):
        try:
            async with open_client(where, token=token_of(settings)):
                return where
        except Refused:
            raise
        except Unreachable:
            continue
    return None


def _addresses(settings: Settings) -> list[str | Path]:
    found: list[str | Path] = []
    if settings.socket_path is not None and settings.socket_path.exists():
        found.append(settings.socket_path)
    with suppress(FileNotFoundError):
        found.append(settings.url_path.read_text("utf-8").strip())
    return found


def token_of(settings: Settings) -> str | None:
    """Return the daemon's token where it wants one: a stranger on its old port has no business with it."""
    wanted = settings.auth == "token" or settings.host not in _LOOPBACK
    return settings.token_path.read_text("utf-8").strip() if wanted and settings.token_path.exists() else None


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """Hold the lock on ``path``, so that of two commands at once one starts the daemon and both use it."""
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await trio.sleep(_LOOK_EVERY_S)
            else:
                break
        yield


def _spawn(log: Path, options: argparse.Namespace) -> int:
    """Start ``plurnk serve`` in a session of its own, with our configuration; it outlives us.

    Not by ``subprocess``, which wants to see the end of what it started; ``-P``, as this directory's modules are
    none of the daemon's business.
    """
    command = [sys.executable, "-P", "-m", "plurnk", "serve"]
    if options.config is not None:
        command += ["--config", options.config]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    environment = {**os.environ, **flags_of(options)}
    return os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsid=True)


def _has_ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-_SHOWN_OF_LOG_LINES:]
    return "\n".join(f"  {line}" for line in lines) or "  nothing"
