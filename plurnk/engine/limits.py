"""The numbers that the engine goes by; defaults are SPEC 7.3's."""

from __future__ import annotations

from dataclasses import dataclass

from plurnk.rules.rails import Rails


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_turns: int = 999
    max_commands: int = 99
    max_strikes: int = 3
    min_cycles: int = 3
    max_cycle_period: int = 4
    max_wakes: int = 16
    loop_timeout_s: float = 86_400.0
    settle_s: float = 2.0
    park_s: float = 3600.0
    kill_grace_s: float = 2.0
    fetch_timeout_s: float = 600.0
    provider_retries: int = 4
    read_max_chars: int = 262_144
    preview_chars: int = 256
    match_timeout_s: float = 2.0
    reasoning_tokens: int = 0
    proposal_timeout_s: float = 300.0

    @property
    def rails(self) -> Rails:
        return Rails(max_strikes=self.max_strikes, min_cycles=self.min_cycles, max_cycle_period=self.max_cycle_period)
