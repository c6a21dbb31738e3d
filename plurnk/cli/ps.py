"""``plurnk ps``: what runs, a row for each stream."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.measures import size, span
from plurnk.cli.rows import first_line, printable
from plurnk.cli.streams import Stream, find_streams
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
            print(table(found.streams, datetime.now(UTC), width=_width()), end="")
        if found.left_out:
            sys.stdout.flush()
            print(f"plurnk: {found.left_out} older sessions were not looked at; --session NAME does", file=sys.stderr)
        return OK

    return with_daemon(options, work, failed=FAILED)


def _width() -> int | None:
    """Return how wide a line may be; a pipe takes any."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(streams: Sequence[Stream], now: datetime, *, width: int | None) -> str:
    """Lay them out; the last column is cut where the line is."""
    rows = [_HEADS, *(_row(stream, now) for stream in streams)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [
        "  ".join(
            f"{cell:>{wide}}" if head in _NUMBERS else f"{cell:{wide}}"
            for head, cell, wide in zip(_HEADS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    if width is not None:
        lines = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _row(stream: Stream, now: datetime) -> tuple[str, ...]:
    view = stream.view
    ended = now if view.closed_at is None else datetime.fromisoformat(view.closed_at)
    elapsed = (ended - datetime.fromisoformat(view.opened_at)).total_seconds()
    cells = (
        view.target,
        state(view),
        span(elapsed),
        size(view.stdout_bytes),
        size(view.stderr_bytes),
        stream.session.name,
        first_line(view.handle),
    )
    return tuple(printable(cell).replace("\n", " ") for cell in cells)


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
