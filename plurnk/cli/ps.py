"""``plurnk ps``: what runs, a row for each stream."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.measures import size, span
from plurnk.cli.rows import first_line
from plurnk.cli.streams import Stream, find_streams
from plurnk.cli.tables import laid_out, width_of_output
from plurnk.cli.workspace import say_what_was_left_out
from plurnk.client import Client
from plurnk.wire.answers import SubscriptionView

_HEADS: Final = ("TARGET", "STATE", "TIME", "STDOUT", "STDERR", "SESSION", "COMMAND")
_NUMBERS: Final = frozenset({"TIME", "STDOUT", "STDERR"})


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        found = await find_streams(client, options.session, closed_too=options.all)
        if options.json:
            for stream in found.streams:
                value = {"session": stream.session.name, **msgspec.to_builtins(stream.view)}
                print(msgspec.json.encode(value).decode())
        else:
            print(table(found.streams, datetime.now(UTC), width=width_of_output()), end="")
        say_what_was_left_out(found.left_out)
        return OK

    return with_daemon(options, work, failed=FAILED)


def table(streams: Sequence[Stream], now: datetime, *, width: int | None) -> str:
    """Lay them out; the command is cut where the line is."""
    return laid_out(_HEADS, [_row(stream, now) for stream in streams], numbers=_NUMBERS, width=width)


def _row(stream: Stream, now: datetime) -> tuple[str, ...]:
    view = stream.view
    ended = now if view.closed_at is None else datetime.fromisoformat(view.closed_at)
    elapsed = (ended - datetime.fromisoformat(view.opened_at)).total_seconds()
    return (
        view.target,
        state(view),
        span(elapsed),
        size(view.stdout_bytes),
        size(view.stderr_bytes),
        stream.session.name,
        first_line(view.handle),
    )


def state(view: SubscriptionView) -> str:
    """Return in a word or two how it is, or how it ended."""
    if view.close_status is None:
        return "awaits input" if view.awaiting_input else "running"
    if view.close_status == 499:
        return "cancelled"
    if view.signal is not None:
        return view.signal
    if view.exit_code is not None:
        return f"exit {view.exit_code}"
    return "ended" if view.close_status == 200 else f"failed {view.close_status}"
