"""What the moving line of a terminal says: the time, the turn, the cost, and what is heard of the model."""

from __future__ import annotations

from typing import Final

from plurnk.cli.money import money
from plurnk.wire.notifications import LogEntry, TurnDelta

QUIET_S: Final = 10.0
"""Shorter silences are not worth a word."""


class Progress:
    """Plain state; moments are seconds of one clock. A model's answer counts until what it says is done."""

    def __init__(self, now_s: float) -> None:
        self._began_s = self._heard_s = now_s
        self._turn = 0
        self._turn_id = 0
        self._cost_pico = 0
        self._attempt = 0
        self._chars = {"reasoning": 0, "content": 0}

    def heard(self, now_s: float) -> None:
        """Something has come, whatever it is."""
        self._heard_s = now_s

    def cost(self, pico: int) -> None:
        self._cost_pico = pico

    def row(self, entry: LogEntry) -> None:
        """Something was done: what the model had to say has come whole."""
        self._turn, self._turn_id = entry.turn_seq, entry.turn_id
        self._begin(0)

    def delta(self, delta: TurnDelta) -> None:
        """Count a piece of an answer. Another attempt, or the first piece of another turn, begins anew."""
        if delta.turn_id != self._turn_id:
            self._turn, self._turn_id = self._turn + 1, delta.turn_id
            self._begin(delta.attempt)
        if delta.attempt != self._attempt:
            self._begin(delta.attempt)
        self._chars[delta.kind] += len(delta.text)

    def _begin(self, attempt: int) -> None:
        self._attempt = attempt
        self._chars = {"reasoning": 0, "content": 0}

    def line(self, now_s: float) -> str:
        parts = [f"{now_s - self._began_s:.0f} s"]
        parts += [f"turn {self._turn}"] if self._turn else []
        parts += [money(self._cost_pico)] if self._cost_pico else []
        if answer := self._chars["content"]:
            parts.append(f"it answers, {answer:,} characters")
        elif thought := self._chars["reasoning"]:
            parts.append(f"it thinks, {thought:,} characters")
        quiet_s = now_s - self._heard_s
        parts += [f"nothing new for {quiet_s:.0f} s"] if quiet_s >= QUIET_S else []
        return " · ".join(parts)
