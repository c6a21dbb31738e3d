"""What a provider's failure carries (SPEC 3.8)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from plurnk.errors import UpstreamFailed
from plurnk.providers.errors import (
    ProviderFailed,
    error_message,
    excerpt,
    may_succeed_later,
    retry_after_s,
    told_delay_s,
)


def test_a_failure_is_a_502_with_what_a_retry_needs() -> None:
    failed = ProviderFailed("why", http_status=429, retry_after_s=1.5, transient=True)
    assert isinstance(failed, UpstreamFailed)
    assert (failed.status, failed.detail, failed.http_status, failed.retry_after_s, failed.transient) == (
        502,
        "why",
        429,
        1.5,
        True,
    )


@pytest.mark.parametrize(
    ("status", "transient"),
    [(400, False), (401, False), (404, False), (408, True), (429, True), (500, True), (529, True)],
)
def test_which_statuses_may_pass(status: int, transient: bool) -> None:
    assert may_succeed_later(status, {}, None) is transient


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("Sun, 06 Nov 2044 08:49:40 GMT", 3.0),
        ("Sun, 06 Nov 2044 08:49:40 -0000", 3.0),
        ("Sun, 06 Nov 2044 08:49:30 GMT", 0.0),
        ("-1", None),
        ("", None),
        ("7,7", None),
        ("\u0667", None),
        ("Fri, 31 Dec 9999 23:59:59 +2359", 251_040_179_482.0),
        ("Mon, 01 Jan 0001 00:00:00 -2359", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 +9999", None),
        ("soon", None),
        ("9" * 400, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2044, 11, 6, 8, 49, 37, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"error": {"details": [{"@type": "x"}, {"retryDelay": "34s"}]}}, 34.0),
        ([{"error": {"details": [{"retryDelay": "34s"}]}}], 34.0),
        ({"details": [{"retryDelay": "0.25s"}, {"retryDelay": "9s"}]}, 0.25),
        ({"details": [{"retryDelay": "soon"}, {"retryDelay": 3}, "retryDelay", {"retryDelay": "-1s"}]}, None),
        ({"details": {"retryDelay": "3s"}}, None),
        ({"error": "3s"}, None),
        ("3s", None),
    ],
)
def test_how_long_to_wait_may_stand_in_the_error(error: Any, seconds: float | None) -> None:
    assert told_delay_s(error) == seconds


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (None, True),
        ("insufficient_quota", True),
        ({"error": {"code": "rate_limit_exceeded", "type": "tokens"}}, True),
        ({"error": {"code": 429, "details": [{"violations": [{"quotaId": "PerMinute"}, 3]}, {"violations": 3}]}}, True),
        ({"error": {"code": None, "type": "insufficient_quota"}}, False),
        ({"error": {"code": "billing_not_active", "type": ["x"]}}, False),
        ([{"error": {"details": [{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}]}}], False),
    ],
)
def test_what_is_used_up_does_not_pass(error: Any, transient: bool) -> None:
    assert may_succeed_later(429, {}, error) is transient
    assert may_succeed_later(None, {}, error) is transient


def test_errors_in_errors_without_end_are_none_of_a_kind() -> None:
    nested: Any = "insufficient_quota"
    for _ in range(5000):
        nested = {"error": nested}
    assert may_succeed_later(429, {}, nested)


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad key s3cret!", "bad key [key]!"),
        ("Authorization: Bearer abc.def was refused", "Authorization: [key] was refused"),
        ("Incorrect API key provided: sk-pr***9zQ.", "Incorrect API key provided: [key]"),
        ("API key AIzaSyB-1_x expired", "API key [key] expired"),
        ("several\n  lines", "several lines"),
        ("x" * 295 + " s3cret and more", "x" * 295 + " [key…"),
        ("x" * 296 + "s3cret", "x" * 296 + "[key…"),
    ],
)
def test_an_excerpt_is_one_short_line_without_the_key(text: str, shown: str) -> None:
    assert excerpt(text, "s3cret") == shown


@pytest.mark.spec("3.8-key-never-leaks")
def test_a_key_that_is_none_does_not_spoil_the_words() -> None:
    assert excerpt("k: thinking is not ok (k)", "k") == "[key]: thinking is not ok ([key])"


def test_without_a_key_nothing_is_taken_out() -> None:
    assert excerpt("a b", "") == "a b"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "why", "code": 1}}, "why"),
        ({"error": "why"}, "why"),
        ({"message": "why"}, "why"),
        ("why", "why"),
        ({"detail": [1]}, '{"detail":[1]}'),
        (None, "null"),
    ],
)
def test_the_message_of_an_error_body(body: Any, message: str) -> None:
    assert error_message(body) == message
