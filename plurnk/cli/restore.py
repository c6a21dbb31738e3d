"""``plurnk restore``: have a file hold again what it held."""

from __future__ import annotations

import argparse
import sys

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.foreground import Foreground, in_foreground
from plurnk.cli.history import target_of, versions_of
from plurnk.cli.rows import printable, why
from plurnk.cli.workspace import attach
from plurnk.client import Client, ClientError
from plurnk.wire.answers import SessionRow


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        session = await _session_with(client, options.path, options.version, options.session)
        target = target_of(options.path, (await attach(client, session)).project_root)

        async def restore(foreground: Foreground) -> int:
            result = await client.file_restore(target, options.version)
            await foreground.ask_no_more()
            if result.status >= 400:
                print(printable(f"plurnk: {result.status} {why(result.error or '', result.outcome)}"), file=sys.stderr)
                return FAILED
            print(printable(f"{result.status} {target}"))
            return OK

        return await in_foreground(client, session.name, restore, yolo=options.yolo)

    return with_daemon(options, work, failed=FAILED)


async def _session_with(client: Client, path: str, number: int, session_name: str | None) -> SessionRow:
    """Return the session that has that version.

    Raises:
        ClientError: none has.
    """
    kept = await versions_of(client, path, session_name)
    for session, version in kept.found:
        if version.version == number:
            return session
    raise ClientError(f"there is no version {number} of {path}; plurnk history lists those that are kept")
