"""How much of a model's context a packet may take (SPEC 3.4)."""

from __future__ import annotations

from typing import Final

ANSWER_TOKENS: Final = 16_384
"""Room for the answer at most; at least a quarter of a small context."""

_WORST_ESTIMATE: Final = 4
"""More than this many times our own count we do not believe that a packet has taken."""


def packet_limit(context_size: int, reasoning_tokens: int, *, estimated: int = 0, counted: int = 0) -> int:
    """Tokens, as we count them, that a packet may have: what is left beside the answer and its reasoning.

    ``estimated`` and ``counted``: what the last packet has taken as we count, and as the provider did (0: not known).
    Where the provider counts more than we do, we count on that.
    """
    reserve = min(context_size // 4, ANSWER_TOKENS) + min(context_size // 4, reasoning_tokens)
    limit = context_size - reserve
    if counted > estimated > 0:
        limit = max(limit * estimated // counted, limit // _WORST_ESTIMATE)
    return limit


def read_limit_chars(context_size: int | None, read_max_chars: int) -> int:
    """Characters that one READ returns: about a quarter of the context at most, so that what is read can be seen."""
    return read_max_chars if context_size is None else min(read_max_chars, max(context_size, 1))
