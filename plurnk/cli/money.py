"""Sums as people read them."""

from __future__ import annotations

from typing import Final

PICO: Final = 1_000_000_000_000


def money(pico: int) -> str:
    """Write pico-USD as dollars: to the cent, small sums with as many digits as say something."""
    dollars = pico / PICO
    return f"${dollars:.2f}" if pico == 0 or dollars >= 0.01 else f"${dollars:.6f}"
