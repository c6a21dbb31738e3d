"""``plurnk serve``: the daemon in the foreground."""

from __future__ import annotations

import argparse

import trio

from plurnk.cli.exits import OK
from plurnk.cli.settings import load
from plurnk.server.daemon import serve


def main(options: argparse.Namespace) -> int:
    trio.run(serve, load(options))
    return OK
