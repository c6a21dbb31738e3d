"""``plurnk history``: what a file held before each accepted write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.measures import size
from plurnk.cli.tables import laid_out, width_of_output
from plurnk.cli.workspace import attach_to_existing
from plurnk.client import Client
from plurnk.wire.answers import FileVersion

_HEADS: Final = ("VERSION", "HELD UNTIL", "SIZE", "CONTENT")
_NUMBERS: Final = frozenset({"VERSION", "SIZE"})
_SHOWN_OF_HASH_CHARS: Final = 12


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        attached = await attach_to_existing(client, options.session, None)
        target = target_of(options.path, attached.project_root)
        versions = await client.file_history(target)
        if options.json:
            for version in versions:
                print(msgspec.json.encode(version).decode())
        elif versions:
            print(table(versions, width=width_of_output()), end="")
        else:
            print(f"nothing was written to {target} in session {attached.name}", file=sys.stderr)
        return OK

    return with_daemon(options, work, failed=FAILED)


def target_of(path: str, root: str | None) -> str:
    """Return ``path``, which is relative to this directory, as the project names it; else as it is."""
    if root is None:
        return path
    file, folder = Path(path).resolve(), Path(root).resolve()
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else path


def table(versions: Sequence[FileVersion], *, width: int | None) -> str:
    rows = [
        (
            str(version.version),
            version.at,
            "–" if version.bytes is None else size(version.bytes),
            "not there" if version.sha256 is None else version.sha256[:_SHOWN_OF_HASH_CHARS],
        )
        for version in versions
    ]
    return laid_out(_HEADS, rows, numbers=_NUMBERS, width=width)
