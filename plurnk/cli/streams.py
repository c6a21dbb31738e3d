"""The streams of all sessions."""

from __future__ import annotations

from dataclasses import dataclass

from plurnk.cli.workspace import visit
from plurnk.client import Client
from plurnk.wire.answers import SessionRow, SubscriptionView


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
    visited = await visit(client, session_name, lambda: client.subscriptions(closed_too=closed_too))
    streams = tuple(Stream(session=session, view=view) for session, view in visited.found)
    return Found(streams=streams, left_out=visited.left_out)
