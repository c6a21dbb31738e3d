"""Choosing a session and attaching to it, or to one after the other."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from plurnk.client import Client, ClientError, RequestError
from plurnk.wire.answers import SessionAttachResult, SessionCreateResult, SessionListResult, SessionRow
from plurnk.wire.params import SessionAttachParams, SessionCreateParams, SessionListParams

T = TypeVar("T")

_PAGE: Final = 1000
# Two short questions for each: a quarter of a second for as many. What is under way is in one of the last used.
SESSIONS_VISITED: Final = 100


async def all_sessions(client: Client) -> list[SessionRow]:
    """Return every session, newest first."""
    found: list[SessionRow] = []
    while True:
        before = found[-1].id if found else None
        page: SessionListResult = await client.call("session.list", SessionListParams(limit=_PAGE, before=before))
        found += page.sessions
        if len(page.sessions) < _PAGE:
            return found


def named(name: str, sessions: list[SessionRow]) -> SessionRow | None:
    return next((session for session in sessions if session.name == name), None)


async def attach(
    client: Client, session: SessionRow, run_name: str | None = None, *, deltas: bool = False
) -> SessionAttachResult:
    result: SessionAttachResult = await client.call(
        "session.attach", SessionAttachParams(id=session.id, run_name=run_name, deltas=deltas)
    )
    return result


async def create(client: Client, name: str | None, root: str | None) -> SessionCreateResult:
    """Make a session, and be attached to it. ``name`` None: the daemon finds one."""
    result: SessionCreateResult = await client.call("session.create", SessionCreateParams(name=name, project_root=root))
    return result


async def attach_to_existing(client: Client, name: str | None, run_name: str | None) -> SessionAttachResult:
    """Attach to the session called ``name``, or to the newest.

    Raises:
        ClientError: there is none.
    """
    sessions = await all_sessions(client)
    session = (sessions[0] if sessions else None) if name is None else named(name, sessions)
    if session is None:
        raise ClientError("there is no session yet" if name is None else f"there is no session {name!r}")
    return await attach(client, session, run_name)


class Visited(NamedTuple, Generic[T]):
    """``left_out``: older sessions that were not visited."""

    found: list[tuple[SessionRow, T]]
    left_out: int


async def visit(client: Client, name: str | None, look: Callable[[], Awaitable[Iterable[T]]]) -> Visited[T]:
    """Return what ``look`` finds in the session of that name, or in the newest ones; newest session first.

    Raises:
        ClientError: there is no session of that name.
    """
    sessions = await all_sessions(client)
    if name is not None:
        one = named(name, sessions)
        if one is None:
            raise ClientError(f"there is no session {name!r}")
        sessions = [one]
    return await visit_these(client, sessions, lambda _session: look())


async def visit_these(
    client: Client, sessions: Sequence[SessionRow], look: Callable[[SessionRow], Awaitable[Iterable[T]]]
) -> Visited[T]:
    """Return what ``look`` finds in the first of these sessions, as ``visit`` does.

    The daemon tells a client of one session at a time. The client is attached to the last one visited.
    """
    found: list[tuple[SessionRow, T]] = []
    for session in sessions[:SESSIONS_VISITED]:
        try:
            await attach(client, session)
            found += [(session, each) for each in await look(session)]
        except RequestError:
            continue  # it was deleted meanwhile
    return Visited(found, max(0, len(sessions) - SESSIONS_VISITED))


def say_what_was_left_out(sessions: int) -> None:
    if sessions:
        sys.stdout.flush()
        print(f"plurnk: {sessions} older sessions were not looked at; --session NAME does", file=sys.stderr)
