"""What a server may refuse of a request: it is left out then, or the setting that is behind it is named (SPEC 3.8)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, TypeAlias, TypeVar

from plurnk.plugins.api import ProviderSettings
from plurnk.providers.errors import ProviderFailed

T = TypeVar("T")
Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[T]]

logger = logging.getLogger(__name__)

_REFUSING: Final = frozenset({400, 422})


class Refusals:
    """Of one provider. A word is how errors call a part of a request.

    ``extra``: of the part that is better left out than insisted on. ``options``: of those that a setting of the alias
    is behind, whose name is that word in capitals.
    """

    def __init__(self, settings: ProviderSettings, *, extra: str, options: tuple[str, ...] = ("temperature",)) -> None:
        self._settings = settings
        self._extra = extra
        self._options = options
        self._is_refused = False

    @asynccontextmanager
    async def opened(self, whole: Opening[T], without: Opening[T]) -> AsyncIterator[T]:
        """Open ``whole``; or ``without``, without the extra, once that has been refused.

        Raises:
            ProviderFailed: as they raise it, with the setting that may be behind it.
        """
        async with AsyncExitStack() as stack:
            try:
                opened = await self._open(stack, whole, without)
            except ProviderFailed as failed:
                named = [f"PLURNK_MODEL_{self._settings.alias}__{word.upper()}" for word in self._options_in(failed)]
                if not named:
                    raise
                said = f"{failed.detail}; {' and '.join(named)} may mend that"
                raise ProviderFailed(said, http_status=failed.http_status) from None
            yield opened

    async def _open(self, stack: AsyncExitStack, whole: Opening[T], without: Opening[T]) -> T:
        if not self._is_refused:
            try:
                return await stack.enter_async_context(whole())
            except ProviderFailed as failed:
                if not _names(failed, self._extra):
                    raise
                logger.warning("model %r is asked without %s: %s", self._settings.alias, self._extra, failed.detail)
                self._is_refused = True
        return await stack.enter_async_context(without())

    def _options_in(self, failed: ProviderFailed) -> list[str]:
        return [word for word in self._options if _names(failed, word)]


def _names(failed: ProviderFailed, word: str) -> bool:
    return failed.http_status in _REFUSING and word in failed.detail.lower()
