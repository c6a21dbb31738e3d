"""``plurnk op``: operations by hand."""

from __future__ import annotations

import argparse
import sys
from itertools import zip_longest

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.workspace import all_sessions, attach, create, named
from plurnk.client import Client
from plurnk.config import Settings
from plurnk.language.ast import ErrorItem, ParseResult, Statement, StatementItem
from plurnk.language.parser import parse
from plurnk.language.targets import canonical
from plurnk.wire.answers import OpParseResult
from plurnk.wire.params import OpParseParams
from plurnk.wire.results import OpResult


def main(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.statements == "-" else options.statements
    # The daemon parses for itself; here it is for the targets and for the errors, with their places.
    parsed = parse(text)

    async def work(client: Client, _settings: Settings) -> int:
        session = named(options.session, await all_sessions(client))
        if session is None:
            await create(client, options.session, None)
        else:
            await attach(client, session)
        answer: OpParseResult = await client.call("op.parse", OpParseParams(text=text))
        if options.json:
            print(msgspec.json.encode(answer).decode())
        else:
            _show(parsed, answer)
        clean = not answer.errors and parsed.unparsed_tail is None
        return OK if clean and all(result.status < 400 for result in answer.results) else FAILED

    return with_daemon(options, work, failed=FAILED)


def _show(parsed: ParseResult, answer: OpParseResult) -> None:
    statements = [item.statement for item in parsed.items if isinstance(item, StatementItem)]
    for statement, result in zip_longest(statements, answer.results):
        if result is not None:
            _show_result(statement, result)
    sys.stdout.flush()
    for item in parsed.items:
        if isinstance(item, ErrorItem):
            error = item.error
            print(f"plurnk: line {error.line}, column {error.column}: {error.message}", file=sys.stderr)
    if (tail := parsed.unparsed_tail) is not None:
        print(f"plurnk: line {tail.from_.line}, column {tail.from_.column}: {tail.reason}", file=sys.stderr)


def _show_result(statement: Statement | None, result: OpResult) -> None:
    """Print the status and the target, then what came: content as it is, with a newline if it ends without."""
    target = "" if statement is None or statement.target is None else canonical(statement.target)
    print(" ".join(part for part in (str(result.status), target, result.error or "") if part))
    if result.content:
        print(result.content, end="" if result.content.endswith("\n") else "\n")
