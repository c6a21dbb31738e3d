"""The commands about what waits to be accepted, what is accepted by itself, and what was written then."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from plurnk.cli.flags import Command, as_json, positive, settings

_ANY_SESSION: Final = "[whichever of the newest 100 has it]"
_ON_ITS_PROJECT: Final = "[the newest 100 on the file's project]"
_FILE: Final = "the file; with --session also as its project names it"


def _proposals(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", type=positive, help="all of this one, with its diff")
    parser.add_argument("--session", metavar="NAME", help="[the newest 100 sessions]")
    as_json(parser, "print every proposal as one line of JSON")
    settings(parser, shown=False)


def _accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=positive, help="its number, as plurnk proposals shows it")
    manner = parser.add_mutually_exclusive_group()
    manner.add_argument(
        "--body", metavar="FILE", help="another command, the file's whole new text or another diff; - is standard input"
    )
    manner.add_argument("--always", action="store_true", help="accept what is like it from now on, too")
    parser.add_argument("--grant-network", action="store_true", help="let the command use the network")
    parser.add_argument("--session", metavar="NAME", help=_ANY_SESSION)
    settings(parser, shown=False)


def _reject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=positive, help="its number, as plurnk proposals shows it")
    parser.add_argument("reason", metavar="REASON", nargs="*", help="why; the model reads it")
    parser.add_argument("--session", metavar="NAME", help=_ANY_SESSION)
    settings(parser, shown=False)


def _approvals(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--remove", metavar="ID", type=positive, help="ask about such things again")
    form.add_argument("--json", action="store_true", help="print every approval as one line of JSON")
    parser.add_argument("--session", metavar="NAME", help="[the newest 100 sessions]")
    settings(parser, shown=False)


def _history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help=_FILE)
    parser.add_argument("--session", metavar="NAME", help=_ON_ITS_PROJECT)
    as_json(parser, "print every version as one line of JSON")
    settings(parser, shown=False)


def _restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help=_FILE)
    parser.add_argument("version", metavar="VERSION", type=positive, help="its number, as plurnk history shows it")
    parser.add_argument("--session", metavar="NAME", help=_ON_ITS_PROJECT)
    parser.add_argument("--yolo", action="store_true", help="do it without asking")
    settings(parser, shown=False)


OF_PROPOSALS: Final[Mapping[str, Command]] = {
    "proposals": Command(
        "list what waits to be accepted",
        "List what waits to be accepted, of all sessions: commands to run, and changes to files.",
        (
            ("plurnk proposals", "all that waits"),
            ("plurnk proposals 17", "one of them in full, with its diff"),
            ("plurnk proposals --json | jq .logEntryId", "for programs"),
        ),
        _proposals,
    ),
    "accept": Command(
        "accept a proposal",
        "Have a proposal carried out, and print what became of it. Nothing else than what waits now under that\n"
        "number can be accepted by this. Exit code: 0 if it was done, 1 if it was refused or does not wait.\n\n"
        "--always adds a standing approval for its session, as narrow as can be: of a file's change that one\n"
        "file, of a command its first two words in the same sandbox, and no command with ; | && or the like.",
        (
            ("plurnk accept 17", "as it was proposed"),
            ("plurnk accept 17 --body better.diff", "changed"),
            ("echo 'make check' | plurnk accept 17 --body -", "another command"),
            ("plurnk accept 17 --grant-network", "this once with the network"),
            ("plurnk accept 17 --always", "and its like from now on"),
        ),
        _accept,
    ),
    "reject": Command(
        "reject a proposal",
        "Have a proposal not carried out. The model goes on and is told why, if you say why.\n"
        "Exit code: 0 if it is rejected, 1 if it does not wait.",
        (("plurnk reject 17", "no"), ("plurnk reject 17 use the existing helper", "no, and why")),
        _reject,
    ),
    "approvals": Command(
        "list what is accepted without asking",
        "List the standing approvals, of all sessions: what [a]lways and 'plurnk accept --always' have added.\n"
        "Exit code: 0, or 1 if there is none to remove.",
        (
            ("plurnk approvals", "all of them"),
            ("plurnk approvals --remove 3", "be asked again"),
        ),
        _approvals,
    ),
    "history": Command(
        "list what a file held before",
        "List what a file held before each write that was accepted, newest first, in all sessions on its project.",
        (
            ("plurnk history src/main.c", "there may be nothing at that path now"),
            ("plurnk history --session notes src/main.c", "in one session only"),
        ),
        _history,
    ),
    "restore": Command(
        "go back to what a file held",
        "Have a file hold again what it held before a write. Shows the diff and asks, as any change to a file\n"
        "does, and is in the history itself. Exit code: 0 if it was done, else 1.",
        (
            ("plurnk restore src/main.c 4", "the version 4 that plurnk history lists"),
            ("plurnk restore --yolo src/main.c 4", "without asking"),
        ),
        _restore,
    ),
}
