"""How a provider fails: one exception that carries what a decision to try again needs (SPEC 3.8)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from plurnk.errors import UpstreamFailed

EXCERPT_CHARS: Final = 300

MIN_KEY_CHARS: Final = 6
"""Of a key that a vendor has given out; those have 20 and more."""

_TRANSIENT: Final = frozenset({408, 429})
_SPENT: Final = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
"""Types and codes of errors that come as 429 though only money or the next month mends them."""
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


def may_succeed_later(http_status: int | None, headers: Mapping[str, str], error: Any) -> bool:
    """Whether a request that was answered so may succeed later: 408, 429, 5xx, and a mishap in mid-stream (None).

    Not if ``error`` says that money, or a day's quota, is used up; and ``x-should-retry``, where a vendor says it,
    goes before all.
    """
    match headers.get("x-should-retry"):
        case "true":
            return True
        case "false":
            return False
        case _:
            by_status = http_status is None or http_status in _TRANSIENT or http_status >= 500
            return by_status and not _is_spent(error)


def _is_spent(error: Any) -> bool:
    inner = _inner(error)
    kinds = {kind for kind in (inner.get("code"), inner.get("type")) if isinstance(kind, str)}
    return bool(kinds & _SPENT) or any("PerDay" in quota for detail in _details(error) for quota in _quotas(detail))


def _inner(error: Any) -> Mapping[object, Any]:
    """What has the facts: an error comes in an object, or that in a list, or as it is."""
    match error:
        case {"error": {**inner}} | [{"error": {**inner}}, *_]:
            return inner
        case {**inner}:
            return inner
        case _:
            return {}


def _details(error: Any) -> list[Any]:
    match _inner(error):
        case {"details": [*details]}:
            return details
        case _:
            return []


def _quotas(detail: Any) -> Iterator[str]:
    """The quotas that are used up, as Google names them."""
    match detail:
        case {"violations": [*violations]}:
            for violation in violations:
                match violation:
                    case {"quotaId": str(quota)}:
                        yield quota
                    case _:
                        pass
        case _:
            pass


def asked_to_wait_s(headers: Mapping[str, str], error: Any) -> float | None:
    """The seconds that an answer asks to wait: in headers, or in the error, as Google's do."""
    milliseconds = headers.get("retry-after-ms", "")
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", milliseconds):
        return float(milliseconds) / 1000
    asked_s = retry_after_s(headers.get("retry-after"), datetime.now(UTC))
    return told_delay_s(error) if asked_s is None else asked_s


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None when it is missing or makes no sense."""
    if header is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", header):
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)  # "-0000": UTC, of unknown origin.
    return max((at - now).total_seconds(), 0.0)


def told_delay_s(error: Any) -> float | None:
    """The seconds that an error asks to wait in its details, as Google's do, which have no header for it."""
    for detail in _details(error):
        match detail:
            case {"retryDelay": str(delay)} if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?s", delay):
                return float(delay.removesuffix("s"))
            case _:
                pass
    return None


def excerpt(text: str, secret: str) -> str:
    """What fits into one sentence of what a provider wrote: never ``secret``, nor what looks like a key.

    Providers quote the key that they were sent, whole or masked. What local servers get as a key, "x" or "none", is
    taken out only where it is a word of its own, or sentences could not be read.
    """
    if len(secret) >= MIN_KEY_CHARS:
        text = text.replace(secret, "[key]")
    elif secret:
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "[key]", text)
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
        transient=may_succeed_later(http_status, {}, error),
    )
