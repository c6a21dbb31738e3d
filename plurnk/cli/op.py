"""``plurnk op``: operations by hand."""

from __future__ import annotations

import argparse
import sys

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.rows import printable
from plurnk.cli.workspace import all_sessions, attach, create, named
from plurnk.client import Client
from plurnk.language.ast import Statement, StatementItem
from plurnk.language.parser import parse
from plurnk.language.targets import canonical
from plurnk.wire.answers import OpParseResult
from plurnk.wire.params import OpParseParams
from plurnk.wire.results import OpResult


def main(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.statements == "-" else options.statements
    # The daemon parses for itself and answers without the targets.
    statements = [item.statement for item in parse(text).items if isinstance(item, StatementItem)]

    async def work(client: Client) -> int:
        session = named(options.session, await all_sessions(client))
        if session is None:
            await create(client, options.session, None)
        else:
            await attach(client, session)
        answer: OpParseResult = await client.call("op.parse", OpParseParams(text=text))
        if options.json:
            print(msgspec.json.encode(answer).decode())
        else:
            for statement, result in zip(statements, answer.results, strict=True):
                _show(statement, result)
        sys.stdout.flush()
        for error in answer.errors:
            print(f"plurnk: line {error.line}, column {error.column}: {error.message}", file=sys.stderr)
        return FAILED if answer.errors or any(result.status >= 400 for result in answer.results) else OK

    return with_daemon(options, work, failed=FAILED)


def _show(statement: Statement, result: OpResult) -> None:
    """Print the status and the target, then what came: content as it is, with a newline if it ends without."""
    target = "" if statement.target is None else canonical(statement.target)
    print(" ".join(part for part in (str(result.status), target, result.error or "") if part))
    if result.content:
        content = printable(result.content) if sys.stdout.isatty() else result.content
        print(content, end="" if content.endswith("\n") else "\n")
