"""op.*: the same operations as a model's, with the statement built from params, so any content survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.errors import Malformed
from plurnk.language.ast import (
    Copy,
    Edit,
    ErrorItem,
    Exec,
    Find,
    Hide,
    Move,
    Read,
    Send,
    SendBody,
    Show,
    Statement,
    StatementItem,
)
from plurnk.language.matchers import parse_matcher
from plurnk.language.parser import parse
from plurnk.language.targets import parse_target
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.wire import answers, params
from plurnk.wire.params import line_marker
from plurnk.wire.results import OpResult

PARSE_INLINE_CHARS: int = 4096
"""Longer texts are parsed on a thread: the worst of them take some 10 ms for so many characters."""


async def _operations(client: Client, statements: Sequence[Statement]) -> ClientLoop:
    if any(isinstance(statement, Exec) for statement in statements):
        client.state.engine.check_takes_work()
    return await client.state.operations()


async def do(client: Client, statement: Statement) -> OpResult:
    operations = await _operations(client, [statement])
    results, _turn_id = await operations.run([statement])
    return results[0]


async def _select(
    client: Client,
    op: type[Find | Read | Show | Hide],
    target: str,
    asked: params.OpFindParams | params.OpTargetParams,
) -> OpResult:
    return await do(
        client,
        op(
            target=parse_target(target),
            body=parse_matcher(asked.matcher) if asked.matcher else None,
            signal=asked.tags,
            line_marker=line_marker(asked.line_range),
        ),
    )


async def find(client: Client, asked: params.OpFindParams) -> OpResult:
    return await _select(client, Find, asked.scope, asked)


async def read(client: Client, asked: params.OpTargetParams) -> OpResult:
    return await _select(client, Read, asked.target, asked)


async def show(client: Client, asked: params.OpTargetParams) -> OpResult:
    return await _select(client, Show, asked.target, asked)


async def hide(client: Client, asked: params.OpTargetParams) -> OpResult:
    return await _select(client, Hide, asked.target, asked)


async def edit(client: Client, asked: params.OpEditParams) -> OpResult:
    return await do(
        client,
        Edit(
            target=parse_target(asked.target),
            body=asked.content,
            signal=asked.tags,
            line_marker=line_marker(asked.line_range),
        ),
    )


async def _transfer(client: Client, asked: params.OpTransferParams, op: type[Copy | Move]) -> OpResult:
    return await do(
        client,
        op(
            target=parse_target(asked.source),
            body=parse_target(asked.destination) if asked.destination is not None else None,
            signal=asked.tags,
            line_marker=line_marker(asked.line_range),
        ),
    )


async def copy(client: Client, asked: params.OpTransferParams) -> OpResult:
    return await _transfer(client, asked, Copy)


async def move(client: Client, asked: params.OpTransferParams) -> OpResult:
    return await _transfer(client, asked, Move)


async def send(client: Client, asked: params.OpSendParams) -> OpResult:
    body = SendBody(raw=asked.body, json=_json(asked.body)) if asked.body is not None else None
    recipient = parse_target(asked.recipient) if asked.recipient is not None else None
    return await do(client, Send(signal=asked.status, target=recipient, body=body))


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


async def execute(client: Client, asked: params.OpExecParams) -> OpResult:
    """EXEC, answered when its proposal is resolved: the address of a command that runs, or why it does not."""
    cwd = parse_target(asked.cwd) if asked.cwd else None
    return await do(client, Exec(signal=asked.runtime, target=cwd, body=asked.command))


async def dispatch(client: Client, asked: params.OpDispatchParams) -> OpResult:
    return await do(client, asked.statement)


async def parse_and_do(client: Client, asked: params.OpParseParams) -> answers.OpParseResult:
    """The statements of a text, as one turn; what could not be read is told beside what was done."""
    if len(asked.text) <= PARSE_INLINE_CHARS:
        parsed = parse(asked.text)
    else:
        parsed = await trio.to_thread.run_sync(parse, asked.text)
    statements = [item.statement for item in parsed.items if isinstance(item, StatementItem)]
    errors = tuple(item.error for item in parsed.items if isinstance(item, ErrorItem))
    limit = client.state.engine.limits.max_commands
    if len(statements) > limit:
        raise Malformed(f"text: expected at most {limit} statements; got {len(statements)}")
    operations = await _operations(client, statements)
    results, turn_id = await operations.run(statements)
    return answers.OpParseResult(results=tuple(results), errors=errors, turn_id=turn_id, loop_id=operations.loop_id)


HANDLERS: Mapping[str, Handler[Client]] = {
    "op.find": find,
    "op.read": read,
    "op.show": show,
    "op.hide": hide,
    "op.edit": edit,
    "op.copy": copy,
    "op.move": move,
    "op.send": send,
    "op.exec": execute,
    "op.dispatch": dispatch,
    "op.parse": parse_and_do,
}
