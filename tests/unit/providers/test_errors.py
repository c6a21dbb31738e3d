"""What a provider's failure carries (SPEC 3.8)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from plurnk.errors import UpstreamFailed
from plurnk.providers.errors import ProviderFailed, error_message, excerpt, is_transient, retry_after_s, told_delay_s


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
    assert is_transient(status) is transient


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
        ({"details": [{"retryDelay": "0.25s"}, {"retryDelay": "9s"}]}, 0.25),
        ({"details": [{"retryDelay": "soon"}, {"retryDelay": 3}, "retryDelay", {"retryDelay": "-1s"}]}, None),
        ({"details": {"retryDelay": "3s"}}, None),
        ({"error": "3s"}, None),
        ("3s", None),
    ],
)
def test_how_long_to_wait_may_stand_in_the_error(error: Any, seconds: float | None) -> None:
    assert told_delay_s(error) == seconds


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
