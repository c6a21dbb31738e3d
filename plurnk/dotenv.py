"""Reads ``.env`` files: ``KEY=VALUE`` lines, quotes, comments, ``export``; nothing is interpolated."""

from __future__ import annotations

import re
from typing import Final

_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
_QUOTED: Final = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")(?:\s+\#.*)?""")
_COMMENT: Final = re.compile(r"\s#")
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(text: str) -> tuple[dict[str, str], list[int]]:
    r"""Return the variables of ``text``, and the numbers (from 1) of the lines that nobody understands.

    Single quotes keep everything; double quotes know ``\n``, ``\r``, ``\t``, and a backslash before any other
    character stands for that character. Without quotes, ``#`` after a space begins a comment. The last of two
    equal keys wins.
    """
    found: dict[str, str] = {}
    strange: list[int] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        assignment = _ASSIGNMENT.fullmatch(stripped)
        value = None if assignment is None else _value(assignment[2])
        if assignment is None or value is None:
            strange.append(number)
        else:
            found[assignment[1]] = value
    return found, strange


def _value(raw: str) -> str | None:
    stripped = raw.strip()
    if not stripped.startswith(("'", '"')):
        return _COMMENT.split(raw, maxsplit=1)[0].strip()
    quoted = _QUOTED.fullmatch(stripped)
    if quoted is None:
        return None
    single, double = quoted.groups()
    return single if double is None else _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), double)
