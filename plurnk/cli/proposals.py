"""``plurnk proposals``: what waits to be accepted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.measures import span
from plurnk.cli.pending import Pending, find_proposal, find_proposals
from plurnk.cli.reviewing import has_colours, review, subject
from plurnk.cli.tables import laid_out, width_of_output
from plurnk.cli.workspace import say_what_was_left_out
from plurnk.client import Client

_HEADS: Final = ("ID", "SESSION", "AGE", "OP", "WHAT")
_NUMBERS: Final = frozenset({"ID", "AGE"})


def main(options: argparse.Namespace) -> int:
    async def one(client: Client) -> int:
        pending = await find_proposal(client, options.id, options.session)
        if options.json:
            _print_json(pending)
        else:
            print(review(pending.view, colours=has_colours(sys.stdout), whole=True))
        return OK

    async def all_of_them(client: Client) -> int:
        found = await find_proposals(client, options.session)
        if options.json:
            for pending in found.proposals:
                _print_json(pending)
        elif found.proposals:
            print(table(found.proposals, datetime.now(UTC), width=width_of_output()), end="")
        else:
            print("nothing waits to be accepted", file=sys.stderr)
        say_what_was_left_out(found.left_out)
        return OK

    return with_daemon(options, all_of_them if options.id is None else one, failed=FAILED)


def _print_json(pending: Pending) -> None:
    value = {"session": pending.session.name, **msgspec.to_builtins(pending.view)}
    print(msgspec.json.encode(value).decode())


def table(proposals: Sequence[Pending], now: datetime, *, width: int | None) -> str:
    """Lay them out; what they are about is cut where the line is."""
    return laid_out(_HEADS, [_row(pending, now) for pending in proposals], numbers=_NUMBERS, width=width)


def _row(pending: Pending, now: datetime) -> tuple[str, ...]:
    view = pending.view
    age_s = (now - datetime.fromisoformat(view.at)).total_seconds()
    return str(view.log_entry_id), pending.session.name, span(age_s), view.op, subject(view)
