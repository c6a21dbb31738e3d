"""Asking a provider: the packet out, the answer read while it streams in (SPEC 3.3, 3.8)."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from plurnk.engine.workshop import Workshop
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import ErrorItem, Item, ParseError, Statement, StatementItem, TextItem
from plurnk.language.parser import Parser
from plurnk.plugins.api import Completion, GenerateRequest, Provider
from plurnk.rules.telemetry import ProviderRetry
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import TurnDelta

PARSE_INLINE_CHARS: int = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: statements, what stood between them, and what could not be read."""

    completion: Completion
    statements: tuple[Statement, ...]
    prose: str
    errors: tuple[ParseError, ...]
    retries: tuple[ProviderRetry, ...] = ()


async def ask(shop: Workshop, turn: TurnRef, provider: Provider, request: GenerateRequest) -> Answer:
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
