"""``plurnk op``: operations by hand."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.foreground import Foreground, in_foreground
from plurnk.cli.rows import printable, why
from plurnk.cli.workspace import all_sessions, attach, create, named
from plurnk.client import Client
from plurnk.errors import Malformed
from plurnk.language.ast import (
    Copy,
    Edit,
    Exec,
    LocalTarget,
    Move,
    Send,
    Statement,
    StatementItem,
    Target,
    TextItem,
    UrlTarget,
)
from plurnk.language.parser import parse
from plurnk.language.targets import FILE, canonical
from plurnk.wire.answers import OpParseResult
from plurnk.wire.params import OpParseParams, SessionSetRootParams
from plurnk.wire.results import OpResult


def main(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.statements == "-" else options.statements
    # The daemon parses for itself and answers without the targets.
    parsed = parse(text)
    statements = [item.statement for item in parsed.items if isinstance(item, StatementItem)]
    if parsed.unparsed_tail is None and all(isinstance(item, TextItem) for item in parsed.items):
        raise Malformed("there is no statement, such as <<READ(known://a)::READ; plurnk op --help has more")
    root = None if options.root is None else str(Path(options.root).resolve())

    async def work(client: Client) -> int:
        await _enter(client, options.session, root)

        async def operate() -> OpParseResult:
            answer: OpParseResult = await client.call("op.parse", OpParseParams(text=text))
            return answer

        async def see_through(foreground: Foreground) -> int:
            """Stay until the commands that are started have ended."""
            answer = await operate()
            await foreground.ask_no_more()
            _show_all(statements, answer, options)
            started = [] if options.detach else [result for result in answer.results if result.entry]
            return await foreground.see_out(started, shown=not options.json) or _failed(answer)

        if any(map(_may_propose, statements)):
            return await in_foreground(client, options.session, see_through, yolo=options.yolo)
        answer = await operate()
        _show_all(statements, answer, options)
        return _failed(answer)

    return with_daemon(options, work, failed=FAILED)


async def _enter(client: Client, name: str, root: str | None) -> None:
    """Attach to the session, made if there is none. ``root`` None: it keeps what it has."""
    session = named(name, await all_sessions(client))
    if session is None:
        await create(client, name, root)
        return
    await attach(client, session)
    if root is not None:
        await client.call("session.set_root", SessionSetRootParams(project_root=root))


def _may_propose(statement: Statement) -> bool:
    """Tell whether somebody may have to accept it: what runs a command, or writes to a file."""
    match statement:
        case Exec():
            return True
        case Copy() | Move():
            return _is_file(statement.target) or _is_file(statement.body)
        case Edit() | Send():
            return _is_file(statement.target)
        case _:
            return False


def _is_file(target: Target | None) -> bool:
    return isinstance(target, LocalTarget) or (isinstance(target, UrlTarget) and target.scheme == FILE)


def _show_all(statements: list[Statement], answer: OpParseResult, options: argparse.Namespace) -> None:
    if options.json:
        print(msgspec.json.encode(answer).decode())
    else:
        for statement, result in zip(statements, answer.results, strict=True):
            _show(statement, result, detach=options.detach)
    sys.stdout.flush()
    for error in answer.errors:
        print(f"plurnk: line {error.line}, column {error.column}: {error.message}", file=sys.stderr)


def _failed(answer: OpParseResult) -> int:
    return FAILED if answer.errors or any(result.status >= 400 for result in answer.results) else OK


def _show(statement: Statement, result: OpResult, *, detach: bool) -> None:
    """Print the status and the target, then what came: content as it is, with a newline if it ends without.

    Standard output is a command's own while it is followed; its address goes to standard error.
    """
    if isinstance(statement, Exec) and result.entry is not None:
        print(f"{result.status} {result.entry}" if not detach else result.entry, file=None if detach else sys.stderr)
        return
    target = "" if statement.target is None else canonical(statement.target)
    reason = why(result.error or "", result.outcome)
    print(" ".join(part for part in (str(result.status), target, reason) if part))
    if result.content:
        content = printable(result.content) if sys.stdout.isatty() else result.content
        print(content, end="" if content.endswith("\n") else "\n")
