"""What the providers over HTTP have in common: their settings, their estimates, and one request a turn (SPEC 3.8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from plurnk.content.tokens import estimate_tokens
from plurnk.plugins.api import Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.providers.refusals import Refusals
from plurnk.providers.settings import Prices, shown_url


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProvider(ABC):
    """One model of one server. A vendor's class says how a request is posted, and what the events of the answer are.

    What may hold a key has no part in a ``repr``, not even in one that a subclass makes of its own.
    """

    settings: ProviderSettings = field(repr=False)
    url: str = field(repr=False)
    key: str = field(repr=False)
    context_size: int | None
    temperature: float | None
    prices: Prices
    refusals: Refusals

    def __repr__(self) -> str:
        """Without the key, which a traceback or a log would show."""
        return f"{type(self).__name__}({self.model!r}, {shown_url(self.url)!r})"

    @property
    def model(self) -> str:
        return self.settings.model

    def count_tokens(self, text: str) -> int:
        """An estimate, characters / 4: the vendors count over the network only, or by vocabularies to be downloaded."""
        return estimate_tokens(text)

    def cost_for(self, usage: Usage) -> int:
        """By the alias's prices; no wire tells any."""
        return self.prices.cost_for(usage)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        """Ask, as the contract says. No time limit is set here: to load a model may take minutes.

        Raises:
            ProviderFailed: from entering the block or from the iterator.
        """
        posting = self.refusals.opened(lambda: self._posting(request), lambda: self._plainer(request))
        async with posting as events, aclosing(self._items(events)) as items:
            yield items

    @abstractmethod
    def _posting(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Post the request; the block has the events of its answer."""

    def _plainer(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """As ``_posting``, without what a server may refuse and can be left out."""
        return self._posting(replace(request, reasoning_tokens=0))

    @abstractmethod
    def _items(self, events: AsyncIterator[str]) -> AsyncGenerator[Delta | Completion, None]:
        """What the events come to."""
