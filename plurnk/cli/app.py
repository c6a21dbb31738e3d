"""From the command line to a command's module, which is imported when it is wanted and not before."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from plurnk.cli.arguments import build_parser
from plurnk.cli.exits import FAILED, INTERRUPTED, OTHER
from plurnk.config import BadConfiguration
from plurnk.errors import PlurnkError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what a person can mend is said in a sentence, without a traceback."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    failed = OTHER if options.command == "run" else FAILED
    command = importlib.import_module(f"plurnk.cli.{options.command}")
    try:
        code: int = command.main(options)
        sys.stdout.flush()
    except BadConfiguration as error:
        parser.exit(failed, "plurnk: the configuration has values that cannot be used:\n" + _indented(error.detail))
    except PlurnkError as error:
        parser.exit(failed, f"plurnk: {error.detail}\n")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _indented(lines: str) -> str:
    return "".join(f"  {line}\n" for line in lines.splitlines())
