"""How long to wait before a provider is asked again (SPEC 3.8)."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
_DOUBLINGS: Final = 16
"""More change nothing, and a float has an end."""


def pause_s(failed: int, *, luck: float, retry_after_s: float | None = None) -> float:
    """The pause after attempt number ``failed`` (from 1); ``luck`` is a random number from 0 to 1.

    Full jitter: anything up to a bound that doubles, so that loops which failed together do not come back together.
    What the provider asks for with ``Retry-After`` comes on top of that, for the same reason.
    """
    bound_s = min(FIRST_S * 2.0 ** min(failed - 1, _DOUBLINGS), LONGEST_S)
    # Not max(): a plugin may come with nan, which is not to be slept.
    asked_s = retry_after_s if retry_after_s is not None and retry_after_s > 0 else 0.0
    return asked_s + luck * bound_s
