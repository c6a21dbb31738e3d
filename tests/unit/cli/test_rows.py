"""Rows of the log, sums, and what a terminal is spared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from plurnk.cli.money import money
from plurnk.cli.rows import answer_of, broadcast, glyph, printable, row, target_of
from plurnk.wire.notifications import LogEntry
from tests.support.log_entries import log_entry


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"op": "EDIT", "scheme": "known", "pathname": "a/b", "status_rx": 201}, "1/2/3 EDIT known://a/b 201"),
        ({"op": "READ", "pathname": "src/x.c", "status_rx": 200}, "1/2/3 READ src/x.c 200"),
        (
            {"op": "READ", "scheme": "exec", "pathname": "sh-1", "fragment": "stderr"},
            "1/2/3 READ exec://sh-1#stderr 200",
        ),
        ({"op": "SEND", "signal": 102}, "1/2/3 SEND[102] 200"),
        ({"op": "HIDE", "scheme": "exec", "pathname": "sh-1", "signal": 499}, "1/2/3 HIDE[499] exec://sh-1 200"),
        (
            {"op": "EDIT", "scheme": "log", "pathname": "1", "status_rx": 403, "rx": {"error": "no"}},
            "1/2/3 EDIT log://1 403 no",
        ),
        (
            {
                "op": "READ",
                "scheme": "https",
                "hostname": "a.example",
                "port": 8443,
                "pathname": "/x",
                "params": {"q": "1"},
            },
            "1/2/3 READ https://a.example:8443/x?q=1 200",
        ),
        ({"op": "READ", "pathname": "a\x1b[2Jb\nc", "status_rx": 404}, "1/2/3 READ a�[2Jb c 404"),
        (
            {"op": "MOVE", "pathname": "a", "tx": {"body": {"kind": "local", "raw": "b"}}, "status_rx": 201},
            "1/2/3 MOVE a → b 201",
        ),
        ({"op": "MOVE", "pathname": "a", "tx": {"body": None}}, "1/2/3 MOVE a 200"),
        (
            {"op": "EDIT", "pathname": "a", "status_rx": 409, "rx": {"error": "changed"}, "outcome": "write_conflict"},
            "1/2/3 EDIT a 409 changed",
        ),
        ({"op": "EXEC", "tx": {"body": "make all"}, "status_rx": 202}, "1/2/3 EXEC 202: make all"),
        (
            {"op": "EXEC", "tx": {"body": "make"}, "status_rx": 102, "rx": {"entry": "exec://sh-1", "command": "true"}},
            "1/2/3 EXEC 102 exec://sh-1: true",
        ),
        (
            {
                "op": "EXEC",
                "tx": {"body": "make"},
                "status_rx": 400,
                "rx": {"error": "it was rejected"},
                "outcome": "rejected: never",
            },
            "1/2/3 EXEC 400: make (it was rejected: never)",
        ),
        (
            {
                "op": "EXEC",
                "tx": {"body": "make"},
                "status_rx": 499,
                "rx": {"error": "nobody answered in time"},
                "outcome": "timeout",
            },
            "1/2/3 EXEC 499: make (nobody answered in time)",
        ),
        (
            {
                "op": "EXEC",
                "signal": "python",
                "pathname": "src",
                "tx": {"body": "print(1)\nprint(2)"},
                "status_rx": 102,
                "rx": {"entry": "exec://python-1"},
            },
            "1/2/3 EXEC[python] src 102 exec://python-1: print(1)…",
        ),
        (
            {
                "op": "EXEC",
                "origin": "system",
                "scheme": "exec",
                "pathname": "sh-1",
                "status_rx": 500,
                "rx": {"error": "ended with exit code 1"},
            },
            "1/2/3 EXEC exec://sh-1 500 ended with exit code 1",
        ),
    ],
)
def test_a_row(fields: dict[str, Any], shown: str) -> None:
    assert row(log_entry(**fields)) == shown


def send(signal: int | None, text: str, **fields: Any) -> LogEntry:
    return log_entry(op="SEND", signal=signal, tx={"body": {"raw": text, "json": None}}, **fields)


def test_the_answer_is_a_broadcast_with_200() -> None:
    assert answer_of(send(200, "so be it")) == "so be it"
    assert answer_of(send(102, "not yet")) is None
    assert answer_of(send(200, "to a process", scheme="exec", pathname="sh-1")) is None
    assert answer_of(send(200, "refused", status_rx=403)) is None
    assert answer_of(msgspec.structs.replace(send(200, ""), tx={"body": None})) == ""


def test_only_a_send_to_nobody_is_a_broadcast() -> None:
    assert broadcast(send(102, "x")) == "x"
    assert broadcast(send(102, "x", pathname="a.txt")) is None
    assert broadcast(log_entry(op="EDIT")) is None


def test_a_target_keeps_its_one_spelling() -> None:
    assert target_of(log_entry(op="SEND")) == ""
    assert target_of(log_entry(op="READ", scheme="file", pathname="a.txt")) == "a.txt"


def test_every_status_has_a_sign() -> None:
    assert [glyph(status).sign for status in (102, 200, 202, 304, 404, 499, 500)] == ["…", "✓", "?", "=", "✗", "■", "✗"]


def test_a_terminal_gets_no_orders() -> None:
    assert printable("a\tb\n\x1b]0;evil\x07\x9b\x7f\r") == "a\tb\n�]0;evil����"


@pytest.mark.parametrize(
    ("pico", "shown"), [(0, "$0.00"), (1_230_000_000_000, "$1.23"), (10_000_000_000, "$0.01"), (1_500_000, "$0.000002")]
)
def test_a_sum(pico: int, shown: str) -> None:
    assert money(pico) == shown
