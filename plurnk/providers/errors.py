"""How a provider fails: one exception that carries what a decision to try again needs (SPEC 3.8)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from plurnk.errors import UpstreamFailed

EXCERPT_CHARS: Final = 300

_TRANSIENT: Final = frozenset({408, 429})
_TOKEN_LIKE: Final = re.compile(r"(?i)\bbearer\s+\S+|\bsk-[\w*.-]+|\baiza[\w*.-]+")


class ProviderFailed(UpstreamFailed):
    """The provider refused, failed or broke off.

    ``http_status`` is the provider's own (None: it did not get so far), ``retry_after_s`` what it asked
    for, ``transient`` whether the same request may succeed later.
    """

    def __init__(
        self,
        detail: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        transient: bool = False,
    ) -> None:
        super().__init__(detail)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.transient = transient


def is_transient(http_status: int) -> bool:
    """Whether a request that was answered so may succeed later: 408, 429 and 5xx."""
    return http_status in _TRANSIENT or http_status >= 500


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None when it is missing or makes no sense."""
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", header):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)  # "-0000": UTC, of unknown origin.
    return max((at - now).total_seconds(), 0.0)


def told_delay_s(error: Any) -> float | None:
    """The seconds that an error asks to wait in its details, as Google's do, which have no header for it."""
    match error:
        case {"error": {"details": [*details]}} | {"details": [*details]}:
            pass
        case _:
            return None
    for detail in details:
        match detail:
            case {"retryDelay": str(delay)} if re.fullmatch(r"\d{1,9}(\.\d{1,9})?s", delay):
                return float(delay.removesuffix("s"))
            case _:
                pass
    return None


def excerpt(text: str, secret: str) -> str:
    """What fits into one sentence of what a provider wrote: never ``secret``, nor what looks like a key.

    Providers quote the key that they were sent, whole or masked.
    """
    if secret:
        text = text.replace(secret, "[key]")
    line = " ".join(_TOKEN_LIKE.sub("[key]", text).split())
    return line if len(line) <= EXCERPT_CHARS else f"{line[:EXCERPT_CHARS]}…"


def error_message(value: Any) -> str:
    """The sentence in an error body, whose shape differs by vendor; the whole as JSON if there is none."""
    match value:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)} | str(message):
            return message
        case [{"error": {"message": str(message)}}, *_]:  # A stream of JSON is a list, of errors, too.
            return message
        case _:
            pass
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return "(nested too deeply to be shown)"


def reported(error: Any, secret: str, *, http_status: int | None) -> ProviderFailed:
    """An error that came in mid-stream. Without a status of its own it is a mishap of the server's: transient."""
    return ProviderFailed(
        f"the provider reported an error: {excerpt(error_message(error), secret)}",
        http_status=http_status,
        retry_after_s=told_delay_s(error),
        transient=http_status is None or is_transient(http_status),
    )
