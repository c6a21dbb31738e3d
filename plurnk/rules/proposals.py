"""Proposals as a table: what becomes of an operation that waits to be accepted (SPEC 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from plurnk.errors import Conflict

State: TypeAlias = Literal["proposed", "resolved", "failed", "cancelled"]


class Event(Enum):
    """What can happen to a proposal."""

    APPLIED = "accept, applied"
    REFUSED = "accept, apply refused or raised"
    REJECTED = "reject"
    CANCELLED = "cancel"
    ABANDONED = "loop cancelled, session gone"
    EXPIRED = "timeout"


@dataclass(frozen=True, slots=True)
class Move:
    """Where an event leads. ``status`` and ``outcome`` None: the operation's own."""

    state: State
    status: int | None
    outcome: str | None


TABLE: Final[Mapping[State, Mapping[Event, Move]]] = MappingProxyType(
    {
        "proposed": {
            Event.APPLIED: Move("resolved", None, None),
            Event.REFUSED: Move("failed", None, "apply_failed"),
            Event.REJECTED: Move("failed", 400, "rejected"),
            Event.CANCELLED: Move("cancelled", 499, "cancelled"),
            Event.ABANDONED: Move("cancelled", 499, "loop_cancelled"),
            Event.EXPIRED: Move("cancelled", 499, "timeout"),
        },
        "resolved": {},
        "failed": {},
        "cancelled": {},
    }
)


def move(state: State, event: Event) -> Move:
    """Where ``event`` leads from ``state``.

    Raises:
        Conflict: nowhere, as it is decided already.
    """
    found = TABLE[state].get(event)
    if found is None:
        raise Conflict(f"it is {state} already")
    return found


WRITE_CONFLICT: Final = "write_conflict"
"""The outcome where what was accepted is not what would be done by now."""

DEFAULT_OUTCOMES: Final = frozenset(
    {WRITE_CONFLICT, *(move.outcome for move in TABLE["proposed"].values() if move.outcome is not None)}
)
"""What an outcome is where nobody has said more."""
