"""``plurnk restore``: have a file hold again what it held."""

from __future__ import annotations

import argparse
import sys

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.foreground import Foreground, in_foreground
from plurnk.cli.history import target_of
from plurnk.cli.rows import printable
from plurnk.cli.workspace import attach_to_existing
from plurnk.client import Client


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        attached = await attach_to_existing(client, options.session, None)
        target = target_of(options.path, attached.project_root)

        async def restore(_foreground: Foreground) -> int:
            result = await client.file_restore(target, options.version)
            if result.status >= 400:
                print(printable(f"plurnk: {result.status} {result.error}"), file=sys.stderr)
                return FAILED
            print(printable(f"{result.status} {target}"))
            return OK

        return await in_foreground(client, attached.name, restore, yolo=options.yolo)

    return with_daemon(options, work, failed=FAILED)
