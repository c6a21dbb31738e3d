"""One round trip with a model: packet out, statements back, each done in order (SPEC 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from plurnk.engine.bus import Bus
from plurnk.engine.dispatch import Asker, Dispatcher
from plurnk.engine.file_tiles import FileTiles
from plurnk.engine.limits import Limits
from plurnk.engine.packets import Built, PacketMaker
from plurnk.engine.previews import Previews
from plurnk.engine.waiting import Wait, wait_after
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import Edit, ErrorItem, Exec, Item, ParseError, Statement, StatementItem, TextItem, UrlTarget
from plurnk.language.parser import Parser
from plurnk.language.targets import localized, parse_target
from plurnk.plugins.api import ChannelContent, Completion, EntryContent, EntryStorage, GenerateRequest, Provider
from plurnk.plugins.api import Usage as Tokens
from plurnk.rules import packet, telemetry
from plurnk.rules.conclusions import how
from plurnk.rules.packet import Assistant, Packet
from plurnk.rules.telemetry import Telemetry
from plurnk.store import conclusions, entries, log, loops, subscriptions, turns
from plurnk.store.database import Store, Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.subscriptions import DONE, Subscription
from plurnk.store.turns import TurnEnd
from plurnk.streams.live import Streams
from plurnk.wire.notifications import LogEntry, TurnDelta, Usage
from plurnk.wire.results import OpResult

CARRY_ON, NO_OPS = 102, 422
PARSE_INLINE_CHARS: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What turns are made with. ``prompts`` is the scheme ``plurnk://``, where prompts become entries."""

    store: Store
    dispatcher: Dispatcher
    streams: Streams
    bus: Bus
    limits: Limits
    packets: PacketMaker
    previews: Previews
    tiles: FileTiles
    prompts: EntryStorage


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: statements, what stood between them, and what could not be read."""

    completion: Completion
    statements: tuple[Statement, ...]
    prose: str
    errors: tuple[ParseError, ...]


def turn_status(rows: Sequence[LogEntry]) -> int:
    """The last broadcast SEND's code, else 102; 422 when nothing was done."""
    said = [row.signal for row in rows if row.op == "SEND" and row.pathname is None and row.status_rx < 400]
    return said[-1] if said else CARRY_ON if rows else NO_OPS


@dataclass(frozen=True, slots=True)
class Job:
    """A loop being worked on: by whom it is answered, and under which rules its statements are done."""

    loop: Loop
    provider: Provider
    asker: Asker


@dataclass(frozen=True, slots=True)
class Done:
    """A turn that has ended, and what its loop waits for before the next one."""

    status: int
    wait: Wait


async def run_turn(shop: Workshop, job: Job) -> Done:
    """Run the loop's next turn to its end.

    Raises:
        UpstreamFailed: the provider failed; the turn has ended 500.

    Cancelled: the turn's row is still open; what was dispatched is committed.
    """
    turn = await shop.store.write(partial(_begin, job.loop, shop.prompts))
    built = await _build(shop, job, turn)
    failure: UpstreamFailed
    try:
        answer = await _ask(shop, turn, job.provider, built.request)
    except UpstreamFailed as error:
        failure = error
    else:
        return await _do(shop, job, turn, built.packet, answer)
    told = telemetry.ProviderError(message=f"The provider failed: {failure.detail}.")
    end = TurnEnd(status=500, reason="provider_error", packet=msgspec.json.encode(built.packet), telemetry=(told,))
    await shop.store.write(lambda tx: turns.end(tx, turn, end))
    raise failure


def _begin(loop: Loop, prompts: EntryStorage, tx: Tx) -> TurnRef:
    """The turn's row, and a system row for each prompt and each end of a stream that it is the first to show."""
    turn = turns.begin(tx, loop)
    if turn.turn_seq == 1:
        _show_prompt(tx, turn, prompts, f"prompt/{loop.id}", loop.prompt)
    for number, prompt in enumerate(loops.show_pending(tx, loop.id, turn.turn_id), 1):
        suffix = f"-{number}" if number > 1 else ""
        _show_prompt(tx, turn, prompts, f"prompt/{loop.id}/{turn.turn_seq}{suffix}", prompt)
    for stream in subscriptions.tell(tx, loop.run_id):
        _show_end(tx, turn, stream)
    return turn


def _show_prompt(tx: Tx, turn: TurnRef, prompts: EntryStorage, path: str, prompt: str) -> None:
    content = EntryContent(channels={"body": ChannelContent(mimetype="text/markdown", data=prompt.encode())})
    entry_id = prompts.write_entry(tx, turn, "system", path, content)
    statement = Edit(target=UrlTarget(raw=f"plurnk://{path}", scheme="plurnk", pathname=path), body=prompt)
    log.add(tx, turn, statement, origin="system", result=OpResult(status=201, entry_id=entry_id, channel="body"))


def _show_end(tx: Tx, turn: TurnRef, stream: Subscription) -> None:
    """One row for the end of a stream: its status, and how it came to it unless all went well."""
    ended = conclusions.ending(tx.db, stream)
    result = OpResult(
        status=ended.status,
        error=None if ended.status == DONE else how(ended),
        entry_id=stream.entry_id,
        subscription_id=stream.id,
    )
    log.add(tx, turn, Exec(target=parse_target(ended.address)), origin="system", result=result)


async def _build(shop: Workshop, job: Job, turn: TurnRef) -> Built:
    """The packet; if it orders previews, it is built again when they are made."""
    paths = await shop.store.read(lambda db: entries.indexed_files(db, job.loop.run_id))
    tiles = await shop.tiles.look_at(job.asker.project_root, paths)
    build = partial(shop.packets.build, job.provider, job.loop, turn, tiles)
    built = await shop.store.read(build)
    if not built.orders:
        return built
    await shop.previews.make(built.orders)
    return await shop.store.read(build)


async def _ask(shop: Workshop, turn: TurnRef, provider: Provider, request: GenerateRequest) -> Answer:
    """Send the packet; read the answer while it streams in."""
    parser = Parser()
    items: list[Item] = []
    completion: Completion | None = None
    with trio.move_on_after(shop.limits.fetch_timeout_s) as patience:
        async with provider.generate(request) as deltas:
            async for delta in deltas:
                if isinstance(delta, Completion):
                    completion = delta
                    continue
                told = TurnDelta(loop_id=turn.loop_id, turn_id=turn.turn_id, kind=delta.kind, text=delta.text)
                shop.bus.tell(turn.session_id, told)
                if delta.kind == "content":
                    items += await _parse(parser, delta.text)
    if patience.cancelled_caught:
        raise UpstreamFailed(f"no answer within {shop.limits.fetch_timeout_s:g} s")
    if completion is None:
        raise UpstreamFailed("the answer has no end")
    items += parser.close().items
    return Answer(
        completion,
        tuple(item.statement for item in items if isinstance(item, StatementItem)),
        "".join(item.text for item in items if isinstance(item, TextItem)).strip(),
        tuple(item.error for item in items if isinstance(item, ErrorItem)),
    )


async def _parse(parser: Parser, text: str) -> list[Item]:
    """Feed a delta; a gigantic one on a thread, since the worst texts take some 10 ms for 4,096 characters."""
    if len(text) <= PARSE_INLINE_CHARS:
        return parser.feed(text)
    return await trio.to_thread.run_sync(parser.feed, text)


async def _do(shop: Workshop, job: Job, turn: TurnRef, asked: Packet, answer: Answer) -> Done:
    """Do the statements in order; the last one's transaction also ends the turn."""
    provider = job.provider
    todo = answer.statements[: shop.limits.max_commands]
    rows: list[LogEntry] = []
    ends: list[Done] = []  # the last one counts: what is undone is done again

    def end(tx: Tx, last: LogEntry | None = None) -> None:
        rows_done = rows if last is None else [*rows, last]
        status = turn_status(rows_done)
        wait = wait_after(tx.db, turn, status)
        ends.append(Done(status, wait))
        ended = TurnEnd(
            status=status,
            packet=msgspec.json.encode(_answered(asked, answer, provider)),
            model=answer.completion.model or provider.model,
            finish_reason=answer.completion.finish_reason,
            usage=_usage(provider, answer.completion.usage),
            telemetry=_telemetry(answer, rows_done, wait),
        )
        turns.end(tx, turn, ended)

    for number, statement in enumerate(todo, 1):
        also = end if number == len(todo) else None
        row, _result = await shop.dispatcher.dispatch(turn, statement, job.asker, also=also)
        rows.append(row)
    if not todo:
        await shop.store.write(end)
    return ends[-1]


def _answered(asked: Packet, answer: Answer, provider: Provider) -> Packet:
    completion = answer.completion
    assistant = Assistant(
        tokens=completion.usage.completion or provider.count_tokens(completion.content),
        content=completion.content,
        ops=tuple(map(localized, answer.statements)),
        reasoning="\n\n".join(filter(None, [completion.reasoning, answer.prose])),
    )
    return packet.with_answer(asked, assistant, completion.raw)


def _usage(provider: Provider, tokens: Tokens) -> Usage:
    return Usage(
        prompt=tokens.prompt,
        completion=tokens.completion,
        cached=tokens.cached,
        reasoning=tokens.reasoning,
        cost_pico=provider.cost_for(tokens),
    )


def _telemetry(answer: Answer, rows: Sequence[LogEntry], wait: Wait) -> tuple[Telemetry, ...]:
    """What the next turn is told of this one."""
    events: list[Telemetry] = [telemetry.action_failure(row) for row in rows if row.status_rx >= 400]
    events += telemetry.parse_failures(answer.errors, answer.completion.content)
    emitted = len(answer.statements)
    if emitted > len(rows):
        events.append(telemetry.max_commands(emitted=emitted, dropped=emitted - len(rows)))
    if not emitted:
        events.append(telemetry.NoOps())
    if wait.in_vain:
        events.append(telemetry.NothingToWaitFor())
    return tuple(events)
