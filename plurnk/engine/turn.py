"""One round trip with a model: packet out, statements back, each done in order (SPEC 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from plurnk.engine.asking import Answer, ask
from plurnk.engine.doing import Done, do
from plurnk.engine.packets import Built, ContextExceeded
from plurnk.engine.run_texts import RunTexts
from plurnk.engine.workshop import Job, Workshop
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import Edit, Exec, UrlTarget
from plurnk.language.targets import localized, parse_target
from plurnk.plugins.api import ChannelContent, EntryContent, EntryStorage, Provider
from plurnk.plugins.api import Usage as Tokens
from plurnk.rules import packet, telemetry
from plurnk.rules.conclusions import how
from plurnk.rules.fitting import Folds
from plurnk.rules.packet import Assistant, Packet
from plurnk.store import conclusions, entries, log, loops, packets, subscriptions, turns
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.subscriptions import DONE, Subscription
from plurnk.store.turns import TurnAnswer, TurnEnd
from plurnk.wire.notifications import Usage
from plurnk.wire.results import OpResult


async def run_turn(shop: Workshop, job: Job) -> Done:
    """Run the loop's next turn to its end.

    Raises:
        ContextExceeded: the prompt does not fit; the turn has ended 413.
        UpstreamFailed: the provider failed; the turn has ended 500.

    Cancelled: the turn's row is still open; what was dispatched is committed.
    """
    turn = await shop.store.write(partial(_begin, job.loop, shop.prompts))
    built: Built | None = None
    try:
        built = await _build(shop, job, turn)
        if built.folds is not None:
            await shop.store.write(partial(_fold, turn, built.folds, built.packet))
        answer = await ask(shop, turn, job.provider, built.request)
    except (ContextExceeded, UpstreamFailed) as error:
        failed = error
    else:
        await shop.store.write(partial(_answered, turn, built, answer, job.provider))
        return await do(shop, job, turn, answer)
    await shop.store.write(partial(_fail, turn, built, failed))
    raise failed


def _fold(turn: TurnRef, folds: Folds, asked: Packet, tx: Tx) -> None:
    packets.fold(tx, turn.run_id, folds)
    turns.tell(tx, turn, asked.user.telemetry.errors[-1])


def _fail(turn: TurnRef, asked: Built | None, failed: ContextExceeded | UpstreamFailed, tx: Tx) -> None:
    if asked is not None:
        packets.put(tx, turn, asked.packet, asked.pieces)
    if isinstance(failed, ContextExceeded):
        end = TurnEnd(status=413, reason="context_exceeded")
    else:
        told = telemetry.ProviderError(message=f"{telemetry.sentence(failed.detail)}.")
        end = TurnEnd(status=500, reason="provider_error", telemetry=(told,))
    turns.end(tx, turn, end)


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
    built = await _read_on(shop, build)
    if not built.orders:
        return built
    await shop.previews.make(built.orders)
    return await _read_on(shop, build)


async def _read_on(shop: Workshop, build: Callable[..., Built | RunTexts]) -> Built:
    """``build``, in as many snapshots as it takes to read the log: an old one would be in the way of the writer."""
    built: Built | RunTexts | None = None
    while not isinstance(built, Built):
        built = await shop.store.read(partial(build, begun=built))
    return built


def _answered(turn: TurnRef, asked: Built, answer: Answer, provider: Provider, tx: Tx) -> None:
    completion = answer.completion
    assistant = Assistant(
        tokens=completion.usage.completion or provider.count_tokens(completion.content),
        content=completion.content,
        ops=tuple(map(localized, answer.statements)),
        reasoning="\n\n".join(filter(None, [completion.reasoning, answer.prose])),
    )
    packets.put(tx, turn, packet.with_answer(asked.packet, assistant, completion.raw), asked.pieces)
    got = TurnAnswer(
        model=completion.model or provider.model,
        finish_reason=completion.finish_reason,
        usage=_usage(provider, completion.usage),
        told=answer.retries,
    )
    turns.answered(tx, turn, got)


def _usage(provider: Provider, tokens: Tokens) -> Usage:
    return Usage(
        prompt=tokens.prompt,
        completion=tokens.completion,
        cached=tokens.cached,
        reasoning=tokens.reasoning,
        cost_pico=provider.cost_for(tokens),
    )
