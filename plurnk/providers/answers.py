"""What all wires do alike with an answer that streams in: add it up within a bound, and let its response end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec
import trio

from plurnk.plugins.api import Delta
from plurnk.providers.errors import ProviderFailed

MAX_ANSWER_CHARS: Final = 16 << 20
"""Of content and reasoning together: a model that repeats itself for ever must not fill the memory."""

LINGER_S: Final = 1.0
"""How long the end of the response is waited for after its last event, so that the connection can be
used again; what comes late costs a new connection, nothing else."""

MAX_TOKENS: Final = 10**8
"""Of one kind in one answer. More is a mistake of the server's, and would not fit the books when priced."""


def counted(tokens: int | None) -> int:
    """A number of tokens as a provider reported it, or 0; never one that the books cannot hold."""
    return min(max(tokens or 0, 0), MAX_TOKENS)


def overlay(totals: msgspec.Struct, told: msgspec.Struct | None) -> None:
    """Take over into ``totals`` what is told anew; what is left out, None, stands."""
    for name in told.__struct_fields__ if told is not None else ():
        if (value := getattr(told, name)) is not None:
            setattr(totals, name, value)


class AnswerText:
    """The deltas of one answer, added up; owned by the task that reads them."""

    def __init__(self) -> None:
        self._texts: dict[Literal["content", "reasoning"], list[str]] = {"content": [], "reasoning": []}
        self._chars = 0

    @property
    def content(self) -> str:
        return "".join(self._texts["content"])

    @property
    def reasoning(self) -> str:
        return "".join(self._texts["reasoning"])

    def take(self, kind: Literal["content", "reasoning"], text: str) -> list[Delta]:
        """Add ``text``; the delta to pass on, none when it is empty.

        Raises:
            ProviderFailed: that is more than an answer may have.
        """
        if not text:
            return []
        self._chars += len(text)
        if self._chars > MAX_ANSWER_CHARS:
            raise ProviderFailed(f"the provider's answer has more than {MAX_ANSWER_CHARS} characters")
        self._texts[kind].append(text)
        return [Delta(kind=kind, text=text)]


async def linger(events: AsyncIterator[Any]) -> None:
    """Wait for the end of a response whose last event of interest has come; not for long, and never fails."""
    with trio.move_on_after(LINGER_S), suppress(ProviderFailed):
        await anext(events, None)
