"""The streams of all sessions. The daemon tells a client of one session at a time, so each is visited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plurnk.cli.workspace import all_sessions, attach, named
from plurnk.client import Client, ClientError, RequestError
from plurnk.wire.answers import SessionRow, SubscriptionView

# Two short questions for each: a quarter of a second for as many. What runs is in one of the last used.
SESSIONS_VISITED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    session: SessionRow
    view: SubscriptionView


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``left_out``: older sessions that were not visited."""

    streams: tuple[Stream, ...]
    left_out: int


async def find_streams(client: Client, session_name: str | None, *, closed_too: bool = False) -> Found:
    """Return the streams of that session, or of the newest sessions; newest session first, oldest stream first.

    The client is attached to the last session visited.

    Raises:
        ClientError: there is no session of that name.
    """
    sessions = await all_sessions(client)
    if session_name is not None:
        one = named(session_name, sessions)
        if one is None:
            raise ClientError(f"there is no session {session_name!r}")
        sessions = [one]
    found: list[Stream] = []
    for session in sessions[:SESSIONS_VISITED]:
        try:
            await attach(client, session)
            views = await client.subscriptions(closed_too=closed_too)
        except RequestError:
            continue  # it was deleted meanwhile
        found += [Stream(session=session, view=view) for view in views]
    return Found(streams=tuple(found), left_out=max(0, len(sessions) - SESSIONS_VISITED))
