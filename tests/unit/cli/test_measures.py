"""Times and sizes as people read them."""

from __future__ import annotations

import pytest

from plurnk.cli.measures import size, span


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-0.2, "0.0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (12.7, "12 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7810, "2 h 10 min"),
        (86_400, "1 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_span(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (1023, "1,023"),
        (1024, "1.0 KiB"),
        (12_000, "12 KiB"),
        (5 * 1024**2, "5.0 MiB"),
        (2048 * 1024**4, "2,048 TiB"),
    ],
)
def test_a_size(count: int, shown: str) -> None:
    assert size(count) == shown
