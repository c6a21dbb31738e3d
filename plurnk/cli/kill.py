"""``plurnk kill``: end a stream."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.rows import printable
from plurnk.cli.streams import Stream, find_streams
from plurnk.cli.workspace import attach
from plurnk.client import Client
from plurnk.language.targets import canonical, parse_target

_FOUND: Final = 200
_CANCELLED: Final = 499


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        found = await find_streams(client, options.session)
        meant = matching(found.streams, options.target)
        if len(meant) != 1:
            print(f"plurnk: {_why_not(options.target, meant)}", file=sys.stderr)
            return FAILED
        stream = meant[0]
        await attach(client, stream.session)
        ended = await client.cancel_subscription(stream.view.id)
        if ended.status != _FOUND:
            print(printable(f"plurnk: {ended.error}"), file=sys.stderr)
            return FAILED
        how = "cancelled" if ended.close_status == _CANCELLED else f"had ended with {ended.close_status}"
        print(f"{stream.view.target} {how}")
        return OK

    return with_daemon(options, work, failed=FAILED)


def matching(streams: Sequence[Stream], wanted: str) -> list[Stream]:
    """Return those that ``wanted`` names: the number of a subscription, an address, or ``sh-1`` for ``exec://sh-1``."""
    if wanted.isdecimal():
        return [stream for stream in streams if stream.view.id == int(wanted)]
    target = canonical(parse_target(wanted if "://" in wanted else f"exec://{wanted}"))
    return [stream for stream in streams if target == stream.view.target]


def _why_not(wanted: str, meant: Sequence[Stream]) -> str:
    if not meant:
        return f"no stream {wanted} is live; plurnk ps lists those that are"
    sessions = ", ".join(stream.session.name for stream in meant)
    return f"{wanted} is live in several sessions ({sessions}); --session NAME says which, or its number: " + ", ".join(
        str(stream.view.id) for stream in meant
    )
