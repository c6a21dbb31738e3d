"""Every command and option, with the texts that teach them. Imports nothing that a mere ``--help`` does not need."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from typing import Any, Final

from plurnk import __version__
from plurnk.cli.arguments_of_proposals import OF_PROPOSALS
from plurnk.cli.flags import Command, as_json, positive, settings
from plurnk.config import VARIABLES

# `run --max-turns` is a parameter of that one loop.
_OWN_OF_RUN: Final = frozenset({"PLURNK_MAX_TURNS"})


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plurnk",
        description="A local daemon through which language models work for people.",
        epilog=_examples(
            ("plurnk run 'What does this project do?'", "work on a prompt; starts the daemon if none answers"),
            ("plurnk sessions", "what was worked on, newest first"),
            ("plurnk log", "what was done in the newest session"),
            ("plurnk COMMAND --help", "a command, with examples"),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"plurnk {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.summary,
            description=command.description,
            epilog=_examples(*command.examples),
            formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=30),
            allow_abbrev=False,
        )
        command.arguments(added)
    return parser


def _examples(*examples: tuple[str, str]) -> str:
    width = max(len(example) for example, _ in examples)
    return "examples:\n" + "\n".join(f"  {example:{width}}  {meaning}" for example, meaning in examples)


def _serve(parser: argparse.ArgumentParser) -> None:
    settings(parser, shown=True)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what to do; - reads it from standard input")
    parser.add_argument("--session", metavar="NAME", help="work in this session, made if there is none [a new one]")
    parser.add_argument("--alias", metavar="ALIAS", help="the model, as in PLURNK_MODEL_<ALIAS> [PLURNK_MODEL]")
    parser.add_argument("--max-turns", metavar="N", type=positive, help="turns at most [PLURNK_MAX_TURNS]")
    manner = parser.add_mutually_exclusive_group()
    manner.add_argument("--yolo", action="store_true", help="accept every proposal without asking")
    manner.add_argument("--ask", action="store_true", help="change nothing outside of the session's own notes")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--root", metavar="DIR", help="the project's directory [the current one]")
    place.add_argument("--headless", action="store_true", help="no project directory at all")
    as_json(parser, "print every event as one line of JSON instead of the answer")
    settings(parser, shown=False, without=_OWN_OF_RUN)


def _op(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("statements", metavar="STATEMENTS", help="one or more statements; - reads standard input")
    parser.add_argument("--session", metavar="NAME", default="cli", help="made if there is none [cli]")
    parser.add_argument("--root", metavar="DIR", help="from now on the session's project directory [as it is]")
    parser.add_argument("--yolo", action="store_true", help="accept what is proposed without asking")
    parser.add_argument("--detach", action="store_true", help="print the addresses of commands and leave them running")
    as_json(parser, "print the raw results, and how each command ended")
    settings(parser, shown=False)


def _parse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="the text; - is standard input [-]")


def _log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", metavar="NAME", help="[the newest]")
    parser.add_argument("--run", metavar="NAME", help="a run of the session [its first]")
    parser.add_argument("--follow", action="store_true", help="go on with new rows as they come, until Ctrl-C")
    as_json(parser, "print every row as one line of JSON")
    settings(parser, shown=False)


def _packet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place",
        metavar="LOOP[/TURN]",
        nargs="?",
        type=_coordinates,
        default=(None, None),
        help="as in plurnk log, whose rows begin LOOP/TURN/… [the last turn]",
    )
    parser.add_argument("--session", metavar="NAME", help="[the newest]")
    parser.add_argument("--run", metavar="NAME", help="a run of the session [its first]")
    as_json(parser, "print it as it is stored, as one line of JSON")
    settings(parser, shown=False)


def _coordinates(text: str) -> tuple[int, int | None]:
    loop, slash, turn = text.partition("/")
    try:
        return positive(loop), positive(turn) if slash else None
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected LOOP/TURN, such as 1/2, or LOOP; got {text!r}") from None


def _ps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are over, too")
    parser.add_argument("--session", metavar="NAME", help="[the newest 100 sessions]")
    as_json(parser, "print every stream as one line of JSON")
    settings(parser, shown=False)


def _kill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET|ID", help="its address, such as exec://sh-1 or sh-1, or its number")
    parser.add_argument("--session", metavar="NAME", help="[whichever of the newest 100 has it]")
    settings(parser, shown=False)


def _doctor(parser: argparse.ArgumentParser) -> None:
    as_json(parser, "print it as one JSON object")
    settings(parser, shown=False)


def _sessions(parser: argparse.ArgumentParser) -> None:
    as_json(parser, "print every session as one line of JSON")
    settings(parser, shown=False)


def _config(parser: argparse.ArgumentParser) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print it as one JSON object")
    form.add_argument("--reference", action="store_true", help="print what every variable means, as Markdown")
    settings(parser, shown=True)


COMMANDS: Final[Mapping[str, Command]] = {
    "run": Command(
        "work on a prompt and print the answer",
        "Give a prompt to a model, watch it work on standard error, and get the answer alone on standard output.\n"
        "Starts the daemon if none answers; the work goes on there even if you leave.\n\n"
        "Commands that the model wants to run and changes to files are shown and asked about; --yolo accepts\n"
        "them, and where there is neither a terminal nor --yolo they are rejected. Of the answers, edit opens\n"
        "the command or the file's new text in $VISUAL or $EDITOR, always accepts what is like it from then on\n"
        "(plurnk approvals), and view shows all of a long diff in $PAGER.\n\n"
        "Ctrl-C cancels the loop, a second one leaves at once.\n"
        "Exit code: 0 done, 2 turn limit, 3 any other end, 130 cancelled by Ctrl-C.",
        (
            ("plurnk run 'Explain src/main.c'", "in a new session on the current directory"),
            ("plurnk run --session notes 'And the tests?'", "go on in a session"),
            ("git diff | plurnk run --ask -", "the prompt from a pipe, and no changes to files"),
            ("plurnk run --json 'Hello' | jq .method", "the events, for programs"),
        ),
        _run,
    ),
    "op": Command(
        "do operations by hand",
        "Carry out statements as a model would, in a session of your own, and print each result:\n"
        "status, target, content. Exit code: 0 if every status is below 400 and all could be read, else 1.\n\n"
        "What writes to a file shows the diff and asks, an EXEC the command. Then what that writes is passed on\n"
        "as it comes, and the exit code is the command's. Ctrl-C ends the command, a second one leaves it running.\n"
        "Without a terminal and without --yolo it is rejected.",
        (
            ("plurnk op '<<EDIT(known://a):x:EDIT <<READ(known://a)::READ'", "write a note and read it"),
            ("plurnk op '<<FIND(known://**)::FIND'", "the addresses of all notes"),
            ("plurnk op --session notes - < statements.txt", "in a certain session"),
            ("plurnk op --root . '<<EXEC:make test:EXEC'", "run a command in this directory, in the sandbox"),
            ("plurnk op --root . '<<MOVE(a.txt):b.txt:MOVE'", "rename a file, once you have seen what changes"),
            ("plurnk op --yolo --detach '<<EXEC:make:EXEC'", "start one and go; plurnk ps shows it"),
        ),
        _op,
    ),
    "log": Command(
        "print what was done",
        "Print the log of a session's run, a row for each operation:\n"
        "loop/turn/operation, the operation, its target, its status.",
        (
            ("plurnk log", "of the newest session"),
            ("plurnk log --session notes --follow", "and go on as it grows"),
        ),
        _log,
    ),
    "packet": Command(
        "show what a model was sent",
        "Print the packet of a turn as it was sent: the system message, then the user message, then what the model\n"
        "answered; and how much of the system message was that of the turn before, which providers may have cached.\n"
        "The table in the user message says which part takes how many tokens.\n"
        "Exit code: 0, or 1 if there is no such turn, or no model was asked in it.",
        (
            ("plurnk packet", "of the last turn of the newest session"),
            ("plurnk packet 1/2 --session notes", "of the second turn of the first loop, as plurnk log numbers them"),
            ("plurnk packet 3", "of the last turn of the third loop"),
            ("plurnk packet 1/2 --json | jq .system.log", "the rows of the log in it, for programs"),
        ),
        _packet,
    ),
    "ps": Command(
        "list the commands that run",
        "List the streams that are live, of all sessions: commands, mostly.",
        (
            ("plurnk ps", "what runs now"),
            ("plurnk ps --all --session notes", "all that a session has run"),
            ("plurnk ps --json | jq .target", "for programs"),
        ),
        _ps,
    ),
    "kill": Command(
        "end a command",
        "End a stream: TERM to all of its processes, KILL to those that stay. Nothing of it is left when this\n"
        "returns. Exit code: 0 if it has ended, 1 if there is none.",
        (
            ("plurnk kill exec://sh-1", "as plurnk ps shows it"),
            ("plurnk kill sh-1 --session notes", "where several sessions have one"),
        ),
        _kill,
    ),
    **OF_PROPOSALS,
    "sessions": Command(
        "list the sessions",
        "List the sessions, newest first.",
        (("plurnk sessions", "a table"), ("plurnk sessions --json | jq .name", "for programs")),
        _sessions,
    ),
    "serve": Command(
        "run the daemon in the foreground",
        "Run the daemon until TERM or Ctrl-C. Its address is printed as one line on standard output.\n"
        "'plurnk run' starts one in the background when none answers.",
        (
            ("plurnk serve", "on the default port and socket"),
            ("plurnk serve --port 0 --db-path /tmp/try.db", "on any free port, with a database to try things"),
        ),
        _serve,
    ),
    "config": Command(
        "show the configuration",
        "Print every setting's effective value and where it came from. Secrets are masked.\n"
        "Defaults < $XDG_CONFIG_HOME/plurnk/plurnk.env < ./.env < .env.NAME (--config) < environment < flags.",
        (
            ("plurnk config", "what holds here"),
            ("plurnk config --config work", "with .env.work"),
            ("PLURNK_PORT=0 plurnk config | grep PORT", "where a value comes from"),
        ),
        _config,
    ),
    "doctor": Command(
        "find out what does not work",
        "Look at the configuration, the files, the daemon, the model and the sandbox, and say what each sandbox\n"
        "profile really enforces on this machine. Starts nothing. Exit code: 0 if all is well, else 1.",
        (("plurnk doctor", "for people"), ("plurnk doctor --json | jq .sandbox", "for programs")),
        _doctor,
    ),
    "parse": Command(
        "parse statements",
        "Parse a text and print its items as JSON. Exit code: 0 for a clean parse, else 1.",
        (
            ("plurnk parse statements.txt", "a file"),
            ("echo '<<READ(known://a)::READ' | plurnk parse", "standard input"),
        ),
        _parse,
    ),
}


def flags_of(options: argparse.Namespace) -> Mapping[str, str]:
    """Return the settings that were given as flags, by variable."""
    given: dict[str, Any] = vars(options)
    return {name: given[name] for name in VARIABLES if name in given}
