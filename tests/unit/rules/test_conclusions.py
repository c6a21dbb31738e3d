"""The one line that says how a stream ended."""

from __future__ import annotations

from typing import Any

import pytest

from plurnk.rules.conclusions import Ended, how, summary


def ended(**changed: Any) -> Ended:
    values: dict[str, Any] = {
        "address": "exec://sh-3",
        "status": 500,
        "detail": None,
        "exit_code": None,
        "signal": None,
    }
    values |= {"duration_ms": 12_345, **changed}
    return Ended(**values)


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (
            ended(exit_code=1, bytes_by_channel={"stdout": 1204, "stderr": 33}),
            "exec://sh-3 ended with exit code 1 after 12.3 s; 1,204 bytes on stdout, 33 on stderr",
        ),
        (
            ended(status=200, exit_code=0, bytes_by_channel={"stdout": 1, "stderr": 0}),
            "exec://sh-3 ended with exit code 0 after 12.3 s; 1 byte on stdout, 0 on stderr",
        ),
        (
            ended(exit_code=1, detail="The sandbox has no network", bytes_by_channel={"stdout": 0}),
            "exec://sh-3 ended with exit code 1 after 12.3 s; 0 bytes on stdout. The sandbox has no network",
        ),
        (ended(exit_code=139, signal="SIGSEGV"), "exec://sh-3 was ended by SIGSEGV after 12.3 s"),
        (ended(status=499, detail="SEND[499]"), "exec://sh-3 was cancelled: SEND[499], after 12.3 s"),
        (ended(status=504, detail="it had 60 s"), "exec://sh-3 ran over its time limit: it had 60 s, after 12.3 s"),
        (ended(detail="daemon_restart"), "exec://sh-3 failed (500): daemon_restart, after 12.3 s"),
        (ended(status=413, detail="two\n\tlines "), "exec://sh-3 failed (413): two lines , after 12.3 s"),
        (ended(status=200), "exec://sh-3 ended after 12.3 s"),
    ],
)
def test_the_line_says_what_happened(end: Ended, line: str) -> None:
    assert summary(end) == line
    assert "\n" not in summary(end)


@pytest.mark.parametrize(
    ("duration_ms", "said"),
    [(0, "0.0 s"), (59_949, "59.9 s"), (59_999, "1 min 0 s"), (61_000, "1 min 1 s"), (3_723_400, "1 h 2 min 3 s")],
)
def test_a_duration_is_said_as_people_say_it(duration_ms: int, said: str) -> None:
    assert summary(ended(status=200, duration_ms=duration_ms)) == f"exec://sh-3 ended after {said}"


def test_how_is_the_line_without_numbers() -> None:
    assert how(ended(exit_code=2)) == "ended with exit code 2"
    assert how(ended(status=499, detail="shutdown")) == "was cancelled: shutdown"
