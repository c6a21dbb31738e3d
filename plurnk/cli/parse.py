"""``plurnk parse``: a text's items as JSON (SPEC 1.5)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from plurnk.cli.exits import FAILED, OK
from plurnk.errors import Malformed, NotFound
from plurnk.language.ast import ErrorItem
from plurnk.language.parser import parse


def main(options: argparse.Namespace) -> int:
    result = parse(_read(options.file))
    print(msgspec.json.encode(result).decode())
    broken = result.unparsed_tail is not None or any(isinstance(item, ErrorItem) for item in result.items)
    return FAILED if broken else OK


def _read(name: str) -> str:
    try:
        return (sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()).decode()
    except OSError as error:
        raise NotFound(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{name} is not UTF-8: {error}") from error
