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
from plurnk.cli.workspace import (
    Visited,
    all_sessions,
    attach,
    named,
    say_what_was_left_out,
    visit_these,
)
from plurnk.client import Client, ClientError
from plurnk.wire.answers import FileVersion, SessionRow

_HEADS: Final = ("VERSION", "SESSION", "HELD UNTIL", "SIZE", "CONTENT")
_NUMBERS: Final = frozenset({"VERSION", "SIZE"})
_SHOWN_OF_HASH_CHARS: Final = 12


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        kept = await versions_of(client, options.path, options.session)
        if options.json:
            for session, version in kept.found:
                print(msgspec.json.encode({"session": session.name, **msgspec.to_builtins(version)}).decode())
        elif kept.found:
            print(table(kept.found, width=width_of_output()), end="")
        else:
            where = "" if options.session is None else f" in session {options.session}"
            print(f"nothing that was accepted{where} has written to {options.path}", file=sys.stderr)
        say_what_was_left_out(kept.left_out)
        return OK

    return with_daemon(options, work, failed=FAILED)


async def versions_of(client: Client, path: str, session_name: str | None) -> Visited[FileVersion]:
    """Return what is kept of a file in the session of that name, or in the newest on its project; newest first.

    Raises:
        ClientError: there is no session of that name, or none on a project that the file is in.
        RequestError: the session of that name has no project, or the file is not in it.
    """

    async def look(session: SessionRow) -> Sequence[FileVersion]:
        return await client.file_history(target_of(path, session.project_root))

    sessions = await all_sessions(client)
    if session_name is not None:
        one = named(session_name, sessions)
        if one is None:
            raise ClientError(f"there is no session {session_name!r}")
        await attach(client, one)
        return Visited([(one, version) for version in await look(one)], 0)
    on_its_project = [session for session in sessions if is_in(path, session.project_root)]
    if not on_its_project:
        raise ClientError(f"no session has a project with {path} in it")
    kept = await visit_these(client, on_its_project, look)
    # No two have one number, whatever their session.
    return Visited(sorted(kept.found, key=lambda found: found[1].version, reverse=True), kept.left_out)


def is_in(path: str, root: str | None) -> bool:
    """Tell whether ``path``, which is relative to this directory, is in the project there."""
    return root is not None and Path(path).resolve().is_relative_to(Path(root).resolve())


def target_of(path: str, root: str | None) -> str:
    """Return ``path``, which is relative to this directory, as the project names it; else as it is."""
    if root is None or not is_in(path, root):
        return path
    return str(Path(path).resolve().relative_to(Path(root).resolve()))


def table(versions: Sequence[tuple[SessionRow, FileVersion]], *, width: int | None) -> str:
    rows = [
        (
            str(version.version),
            session.name,
            version.at,
            "–" if version.bytes is None else size(version.bytes),
            "not there" if version.sha256 is None else version.sha256[:_SHOWN_OF_HASH_CHARS],
        )
        for session, version in versions
    ]
    return laid_out(_HEADS, rows, numbers=_NUMBERS, width=width)
