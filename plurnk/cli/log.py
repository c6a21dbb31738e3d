"""``plurnk log``: the rows of a run."""

from __future__ import annotations

import argparse
import sys
from typing import Final

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.rows import row
from plurnk.cli.workspace import attach_to_existing
from plurnk.client import Client
from plurnk.wire.answers import LogReadResult
from plurnk.wire.notifications import LogEntry, LogEntryAdded, LogEntryUpdated
from plurnk.wire.params import LogReadParams

_PAGE: Final = 1000


def main(options: argparse.Namespace) -> int:
    def show(entry: LogEntry) -> None:
        print(msgspec.json.encode(entry).decode() if options.json else row(entry))

    async def work(client: Client) -> int:
        # Attached first, so that nothing falls between what is read and what comes.
        attached = await attach_to_existing(client, options.session, options.run)
        last = 0
        while True:
            page: LogReadResult = await client.call(
                "log.read", LogReadParams(run_id=attached.run_id, since_id=last, limit=_PAGE)
            )
            for entry in page.entries:
                show(entry)
                last = entry.id
            if len(page.entries) < _PAGE:
                break
        if not options.follow:
            return OK
        sys.stdout.flush()
        async for heard in client.notifications():
            match heard:
                case LogEntryAdded(entry=entry) if entry.run_id == attached.run_id and entry.id > last:
                    show(entry)
                case LogEntryUpdated(entry=entry) if entry.run_id == attached.run_id:
                    show(entry)  # what was proposed has its answer
                case _:
                    continue
            sys.stdout.flush()
        return OK

    return with_daemon(options, work, failed=FAILED)
