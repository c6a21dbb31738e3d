"""``plurnk approvals``: what is accepted without asking, and the end of that."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import msgspec

from plurnk.cli.approving import in_words
from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.rows import printable
from plurnk.cli.tables import laid_out, width_of_output
from plurnk.cli.workspace import Visited, attach, say_what_was_left_out, visit
from plurnk.client import Client
from plurnk.wire.answers import ApprovalView

_HEADS: Final = ("ID", "SESSION", "SINCE", "ACCEPTS")


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        visited = await visit(client, options.session, client.approvals)
        if options.remove is not None:
            return await _remove(client, visited, options.remove)
        if options.json:
            for session, view in visited.found:
                print(msgspec.json.encode({"session": session.name, **msgspec.to_builtins(view)}).decode())
        elif visited.found:
            rows = [(str(view.id), session.name, view.created_at, in_words(view)) for session, view in visited.found]
            print(laid_out(_HEADS, rows, numbers={"ID"}, width=width_of_output()), end="")
        else:
            print("nothing is accepted without asking", file=sys.stderr)
        say_what_was_left_out(visited.left_out)
        return OK

    return with_daemon(options, work, failed=FAILED)


async def _remove(client: Client, visited: Visited[ApprovalView], approval_id: int) -> int:
    for session, view in visited.found:
        if view.id == approval_id:
            await attach(client, session)
            if await client.remove_approval(approval_id):
                print(printable(f"asked about again: {in_words(view)}"))
                return OK
    print(f"plurnk: there is no approval {approval_id}; plurnk approvals lists those that are", file=sys.stderr)
    return FAILED
