"""Choosing a session and attaching to it."""

from __future__ import annotations

from typing import Final

from plurnk.client import Client, ClientError
from plurnk.wire.answers import SessionAttachResult, SessionCreateResult, SessionListResult, SessionRow
from plurnk.wire.params import SessionAttachParams, SessionCreateParams, SessionListParams

_PAGE: Final = 1000


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


async def attach(client: Client, session: SessionRow, run_name: str | None = None) -> SessionAttachResult:
    result: SessionAttachResult = await client.call(
        "session.attach", SessionAttachParams(id=session.id, run_name=run_name)
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
