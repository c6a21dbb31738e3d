"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

from plurnk.config import VARIABLES


class Command(NamedTuple):
    """``arguments`` adds the options; ``plurnk.cli.<name>.main`` is what they are given to."""

    summary: str
    description: str
    examples: tuple[tuple[str, str], ...]
    arguments: Callable[[argparse.ArgumentParser], None]


def settings(parser: argparse.ArgumentParser, *, shown: bool, without: frozenset[str] = frozenset()) -> None:
    """Give every variable its flag. Where they are not what the command is about, the help only mentions them."""
    group = parser.add_argument_group(
        "configuration",
        "Each is a variable, too (--db-path is PLURNK_DB_PATH); a flag beats it."
        if shown
        else "Every setting has a flag; 'plurnk config --help' lists them.",
    )
    group.add_argument("--config", metavar="NAME", help="read the file .env.NAME of this directory, too")
    for name, variable in VARIABLES.items():
        if name not in without:
            text = f"{variable.help} [{variable.default or 'empty'}]".replace("%", "%%")
            group.add_argument(
                variable.flag,
                dest=name,
                metavar="VALUE",
                default=argparse.SUPPRESS,
                help=text if shown else argparse.SUPPRESS,
            )


def as_json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more; got {text!r}")
    return int(text)
