"""Telemetry events as flat objects (SPEC 3.5)."""

from __future__ import annotations

import pytest

from plurnk.language.ast import ParseError
from plurnk.rules import telemetry
from plurnk.rules.telemetry import ActionFailure, NoOps, NothingToWaitFor, Telemetry, flat, parse_failures
from tests.support.log_entries import log_entry


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            ActionFailure(message="why", coordinate="1/2/3", op="READ", status=404, target="known://x"),
            {"kind": "action_failure", "coordinate": "1/2/3", "op": "READ", "status": 404, "target": "known://x"},
        ),
        (NoOps(), {"kind": "no_ops"}),
        (telemetry.no_ops("end_turn"), {"kind": "no_ops", "message": NoOps().message}),
        (
            telemetry.no_ops("RECITATION"),
            {
                "kind": "no_ops",
                "message": "The turn had no statement: the provider cut the answer off, as RECITATION.",
            },
        ),
        (telemetry.max_commands(emitted=100, dropped=1), {"kind": "max_commands", "emitted": 100, "dropped": 1}),
        (
            telemetry.strike(streak=1, max_strikes=3, reason="no statement"),
            {"kind": "strike", "streak": 1, "maxStrikes": 3, "reason": "no statement"},
        ),
        (telemetry.cycle(period=2, cycles=3), {"kind": "cycle", "period": 2, "cycles": 3}),
        (telemetry.sudden_death(remaining=2), {"kind": "sudden_death", "remaining": 2}),
        (telemetry.budget_folded(rows=2, tokens=9), {"kind": "budget_folded", "rows": 2, "tokens": 9}),
        (
            telemetry.provider_retry(attempt=2, status=429, wait_s=1.25, cause="no"),
            {"kind": "provider_retry", "attempt": 2, "status": 429, "waitMs": 1250},
        ),
        (
            telemetry.provider_retry(attempt=2, status=None, wait_s=0, cause="no"),
            {"kind": "provider_retry", "attempt": 2, "status": None, "waitMs": 0},
        ),
        (NothingToWaitFor(), {"kind": "nothing_to_wait_for"}),
    ],
)
def test_each_kind_is_flat_and_has_a_message(event: Telemetry, expected: dict[str, object]) -> None:
    assert flat(event) == expected | {"message": event.message}
    assert event.message


def test_a_failure_without_a_target_is_told_by_its_operation() -> None:
    row = log_entry(op="EXEC", status_rx=400, rx={"error": "it was rejected"})
    assert telemetry.action_failure(row).message == "EXEC: it was rejected"


def test_a_parse_error_comes_with_what_stands_there() -> None:
    error = ParseError(line=2, column=3, source="lexer", message="expected ')'")
    assert [flat(event) for event in parse_failures([error], "first\nsecond line\nthird")] == [
        {
            "kind": "parse_error",
            "message": "expected ')'",
            "line": 2,
            "column": 3,
            "source": "lexer",
            "snippet": "ond line",
        }
    ]


def test_an_error_at_the_end_of_input_has_an_empty_snippet() -> None:
    error = ParseError(line=9, column=0, source="parser", message="got end of input")
    assert parse_failures([error], "x")[0].snippet == ""


def test_garbage_does_not_fill_the_packet() -> None:
    errors = [ParseError(line=1, column=n, source="lexer", message=f"error {n}") for n in range(100)]
    events = parse_failures(errors, "x" * 1000)
    assert [event.message for event in events[-2:]] == ["error 18", "81 more statements could not be parsed."]
    assert len(events) == 20
    assert {len(event.snippet) for event in events} == {80}
    assert parse_failures([], "x") == ()


def test_a_retry_says_why_and_when() -> None:
    retry = telemetry.provider_retry(attempt=3, status=429, wait_s=12.34, cause="the provider answered 429: slow down")
    assert retry.message == "The provider answered 429: slow down; attempt 3 follows in 12.3 s."
