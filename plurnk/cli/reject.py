"""``plurnk reject``: have a proposal not carried out."""

from __future__ import annotations

import argparse
from typing import Final

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.pending import answer, find_proposal, say_why_not
from plurnk.cli.reviewing import summary
from plurnk.cli.rows import REJECTED
from plurnk.client import Client

_NOT_DONE: Final = {404, 409, 503}


def main(options: argparse.Namespace) -> int:
    reason = " ".join(options.reason)

    async def work(client: Client) -> int:
        pending = await find_proposal(client, options.id, options.session)
        resolved = await answer(client, pending, "reject", outcome=f"{REJECTED}: {reason}" if reason else None)
        if resolved.status in _NOT_DONE:
            say_why_not(resolved)
            return FAILED
        print(f"rejected: {summary(pending.view)}")
        return OK

    return with_daemon(options, work, failed=FAILED)
