"""The proposals of all sessions, found and answered by their number alone, which no two of them share."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from plurnk.cli.reviewing import digest_of
from plurnk.cli.rows import printable
from plurnk.cli.workspace import attach, visit
from plurnk.client import Client, ClientError
from plurnk.wire.answers import LoopResolveResult, ProposalView, SessionRow
from plurnk.wire.params import Decision, Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A proposal that waits, and where."""

    session: SessionRow
    view: ProposalView


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``left_out``: older sessions that were not visited."""

    proposals: tuple[Pending, ...]
    left_out: int


async def find_proposals(client: Client, session_name: str | None) -> Found:
    """Return what waits in that session, or in the newest sessions; newest session first, oldest proposal first.

    Raises:
        ClientError: there is no session of that name.
    """
    visited = await visit(client, session_name, client.proposals)
    proposals = tuple(Pending(session=session, view=view) for session, view in visited.found)
    return Found(proposals=proposals, left_out=visited.left_out)


async def find_proposal(client: Client, row_id: int, session_name: str | None) -> Pending:
    """Return the one of that number, with the client attached to its session.

    Raises:
        ClientError: it does not wait, or not there.
    """
    found = await find_proposals(client, session_name)
    for pending in found.proposals:
        if pending.view.log_entry_id == row_id:
            await attach(client, pending.session)
            return pending
    raise ClientError(f"no proposal {row_id} waits for an answer; plurnk proposals lists those that do")


async def answer(
    client: Client,
    pending: Pending,
    decision: Decision,
    *,
    body: str | None = None,
    outcome: str | None = None,
    grant: Grant | None = None,
) -> LoopResolveResult:
    """Decide on what was found and on nothing else, should it be another one by now."""
    return await client.resolve(
        pending.view.log_entry_id, decision, body=body, outcome=outcome, grant=grant, digest=digest_of(pending.view)
    )


def say_why_not(resolved: LoopResolveResult) -> None:
    """Tell on standard error what came in the way."""
    why = resolved.error or resolved.outcome or "it was refused"
    print(printable(f"plurnk: {resolved.status} {why}"), file=sys.stderr)
