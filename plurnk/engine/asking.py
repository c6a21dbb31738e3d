"""Asking a provider: the packet out, the answer read while it streams in, once more if that may help (SPEC 3.3, 3.8).

How a provider's failure is taken:

- A ``ProviderFailed`` that is ``transient`` is tried again. Any other ``UpstreamFailed`` is final: it does not say that
  the same request may succeed later, and each costs money. So is what is no ``UpstreamFailed``, a bug of the provider.
- An answer that ends without its ``Completion`` was cut off, and is tried again. One that has come whole is taken,
  however the provider fails after that.
- An attempt that stalls is not cut short: a model that thinks, or that reads a long packet on a slow machine, looks
  like that for minutes. It has what ``fetch_timeout_s`` leaves for all attempts of the turn.
- What a provider raises while it is cancelled does not make that a failure; a bug among it is logged.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import random
from typing import cast

import trio

from plurnk.engine.workshop import Workshop
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import ErrorItem, Item, ParseError, Statement, StatementItem, TextItem
from plurnk.language.parser import Parser
from plurnk.plugins.api import Completion, Delta, GenerateRequest, Provider
from plurnk.providers.errors import ProviderFailed, excerpt
from plurnk.rules.backoff import pause_s
from plurnk.rules.telemetry import ProviderRetry, provider_retry
from plurnk.store import turns
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import TurnDelta

logger = logging.getLogger(__name__)

PARSE_INLINE_CHARS: int = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: statements, what stood between them, and what could not be read."""

    completion: Completion
    statements: tuple[Statement, ...]
    prose: str
    errors: tuple[ParseError, ...]
    retries: tuple[ProviderRetry, ...] = ()


async def ask(
    shop: Workshop, turn: TurnRef, provider: Provider, request: GenerateRequest, *, luck: Callable[[], float] = random
) -> Answer:
    """Send the packet and read the answer. A retry is told before it is waited for; ``luck`` is a number from 0 to 1.

    Raises:
        UpstreamFailed: for good; the detail has the cause of the last attempt, and how many there were.

    Cancelled: the provider has closed its stream.
    """
    deadline = trio.current_time() + shop.limits.fetch_timeout_s
    retries: list[ProviderRetry] = []
    while True:
        attempt = len(retries) + 1
        try:
            answer = await _try(shop, turn, provider, request, attempt=attempt, deadline=deadline)
            return replace(answer, retries=tuple(retries))
        except ProviderFailed as error:
            failed = error
        except UpstreamFailed as error:
            failed = ProviderFailed(error.detail)
        wait_s = pause_s(attempt, luck=luck(), retry_after_s=failed.retry_after_s)
        hopeless = not failed.transient or attempt > shop.limits.provider_retries
        if hopeless or trio.current_time() + wait_s >= deadline:
            raise UpstreamFailed(_for_good(failed, attempt)) from failed
        cause = excerpt(failed.detail, "")
        retries.append(provider_retry(attempt=attempt + 1, status=failed.http_status, wait_s=wait_s, cause=cause))
        await _tell(shop, turn, retries[-1])
        await trio.sleep(wait_s)


def _for_good(failed: ProviderFailed, attempts: int) -> str:
    said = [excerpt(failed.detail, "")]
    if failed.retry_after_s is not None:
        said.append(f"it asks to wait {failed.retry_after_s:.0f} s")
    if attempts > 1:
        said.append(f"tried {attempts} times")
    return "; ".join(said)


async def _tell(shop: Workshop, turn: TurnRef, retry: ProviderRetry) -> None:
    """Say that it is asked again, and that the deltas of the attempt before are void."""
    logger.warning("loop %d: %s", turn.loop_id, retry.message)
    await shop.store.write(lambda tx: turns.tell(tx, turn, retry))
    _pass_on(shop, turn, retry.attempt, Delta(kind="content", text=""))


def _pass_on(shop: Workshop, turn: TurnRef, attempt: int, delta: Delta) -> None:
    told = TurnDelta(loop_id=turn.loop_id, turn_id=turn.turn_id, attempt=attempt, kind=delta.kind, text=delta.text)
    shop.bus.tell(turn.session_id, told)


async def _try(
    shop: Workshop, turn: TurnRef, provider: Provider, request: GenerateRequest, *, attempt: int, deadline: float
) -> Answer:
    """Ask once.

    Raises:
        UpstreamFailed: there is no answer.
        Whatever else the provider raises.
    """
    hearing = _Hearing()
    patience = trio.CancelScope(deadline=deadline)
    try:
        with patience:
            async with _ungrouped(turn), provider.generate(request) as items:
                async for item in items:
                    if isinstance(item, Completion):
                        hearing.completion = item
                        continue
                    _pass_on(shop, turn, attempt, item)
                    if item.kind == "content":
                        await hearing.read(item.text)
    except UpstreamFailed as error:
        if hearing.completion is None:
            raise
        logger.warning("loop %d: the provider failed after its answer: %s", turn.loop_id, excerpt(error.detail, ""))
    if hearing.completion is None and patience.cancelled_caught:
        raise ProviderFailed(f"no answer within {shop.limits.fetch_timeout_s:g} s")
    if hearing.completion is None:
        raise ProviderFailed("the answer has no end", transient=True)
    return hearing.answer(hearing.completion)


@asynccontextmanager
async def _ungrouped(turn: TurnRef) -> AsyncIterator[None]:
    """Raise what a provider raises, alone if its group is of one; while it is cancelled, only ``Cancelled``."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as raised:
        errors = [error for error in _leaves(raised) if not isinstance(error, trio.Cancelled)]
        if trio.current_effective_deadline() == -math.inf:
            if not all(isinstance(error, UpstreamFailed) for error in errors):
                logger.exception("loop %d: the provider failed while it was cancelled", turn.loop_id)
            await trio.lowlevel.checkpoint_if_cancelled()  # noqa: ASYNC120 – it is discarded on purpose
        if isinstance(raised, BaseExceptionGroup) and len(errors) == 1:
            raise errors[0] from errors[0].__cause__
        raise


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("tuple[BaseException, ...]", error.exceptions):
            yield from _leaves(inner)
    else:
        yield error


class _Hearing:
    """One attempt's answer, as far as it has come."""

    def __init__(self) -> None:
        self.completion: Completion | None = None
        self._parser = Parser()
        self._items: list[Item] = []

    async def read(self, text: str) -> None:
        """Parse a delta; a gigantic one on a thread, since the worst texts take some 10 ms for 4,096 characters."""
        if len(text) <= PARSE_INLINE_CHARS:
            self._items += self._parser.feed(text)
        else:
            self._items += await trio.to_thread.run_sync(self._parser.feed, text)

    def answer(self, completion: Completion) -> Answer:
        items = [*self._items, *self._parser.close().items]
        return Answer(
            completion,
            tuple(item.statement for item in items if isinstance(item, StatementItem)),
            "".join(item.text for item in items if isinstance(item, TextItem)).strip(),
            tuple(item.error for item in items if isinstance(item, ErrorItem)),
        )
