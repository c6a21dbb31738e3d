"""``plurnk sessions``: a table, newest first."""

from __future__ import annotations

import argparse

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.money import money
from plurnk.cli.workspace import all_sessions
from plurnk.client import Client


def main(options: argparse.Namespace) -> int:
    async def work(client: Client) -> int:
        sessions = await all_sessions(client)
        if options.json:
            for session in sessions:
                print(msgspec.json.encode(session).decode())
            return OK
        heads = ("NAME", "CREATED", "COST", "ROOT")
        rows = [(s.name, s.created_at, money(s.cost_pico), s.project_root or "–") for s in sessions]
        widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(3)]
        for name, created, cost, root in [heads, *rows]:
            print(f"{name:{widths[0]}}  {created:{widths[1]}}  {cost:>{widths[2]}}  {root}")
        return OK

    return with_daemon(options, work, failed=FAILED)
