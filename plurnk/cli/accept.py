"""``plurnk accept``: have a proposal carried out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from plurnk.cli.approving import in_words, narrowest
from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.pending import Pending, answer, find_proposal, say_why_not
from plurnk.cli.reviewing import summary
from plurnk.cli.rows import printable, row
from plurnk.client import Client
from plurnk.errors import Malformed
from plurnk.wire.answers import LogReadResult
from plurnk.wire.params import Grant, LogReadParams


def main(options: argparse.Namespace) -> int:
    body = None if options.body is None else _text_of(options.body)
    grant = Grant(network=True) if options.grant_network else None

    async def work(client: Client) -> int:
        pending = await find_proposal(client, options.id, options.session)
        if options.always and not await _stand(client, pending):
            return FAILED
        resolved = await answer(client, pending, "accept", body=body, grant=grant)
        if resolved.status >= 400:
            say_why_not(resolved)
            return FAILED
        print(await _what_became_of(client, pending))
        return OK

    return with_daemon(options, work, failed=FAILED)


def _text_of(file: str) -> str:
    """Return the text as it is, its ends of lines included.

    Raises:
        Malformed: it cannot be read.
    """
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()
    except OSError as error:
        raise Malformed(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{file} is no text in UTF-8, beginning with byte {error.start}") from error


async def _stand(client: Client, pending: Pending) -> bool:
    """Have its like accepted from now on; False: nothing narrow would do that."""
    approval = narrowest(pending.view)
    if approval is None:
        print("plurnk: nothing narrow would accept this one always; without --always it is accepted", file=sys.stderr)
        return False
    added = await client.add_approval(approval)
    print(printable(f"accepted from now on: {in_words(added)}"))
    print(f"  plurnk approvals --remove {added.id} ends that")
    return True


async def _what_became_of(client: Client, pending: Pending) -> str:
    """Return its row of the log, where a command has its address."""
    row_id = pending.view.log_entry_id
    page: LogReadResult = await client.call("log.read", LogReadParams(since_id=row_id - 1, limit=1))
    done = next((entry for entry in page.entries if entry.id == row_id), None)
    return f"accepted: {summary(pending.view) if done is None else row(done)}"
