"""Sums as people read them."""

from __future__ import annotations

from typing import Final

from plurnk.wire.notifications import Usage

PICO: Final = 1_000_000_000_000


def money(pico: int) -> str:
    """Write pico-USD as dollars: to the cent, small sums with as many digits as say something."""
    dollars = pico / PICO
    return f"${dollars:.2f}" if pico == 0 or dollars >= 0.01 else f"${dollars:.6f}"


def spent(usage: Usage) -> str:
    """Write the tokens, and what they cost where prices are known; empty where none were counted."""
    if not (usage.prompt or usage.completion):
        return ""
    tokens = f"{usage.prompt:,} tokens in, {usage.completion:,} out"
    return f"{tokens}, {money(usage.cost_pico)}" if usage.cost_pico else tokens
