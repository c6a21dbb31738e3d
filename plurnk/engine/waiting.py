"""Between two turns of a loop: settle for what the last one started, park until something happens (SPEC 3.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from plurnk.store import loops, subscriptions
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot

PARK = 202


@dataclass(frozen=True, slots=True)
class Wait:
    """What a loop waits for after a turn; decided in the transaction that ends the turn.

    ``settles``: streams that the turn started are live. ``parks``: the turn asked to wait until something happens,
    and there is something that can. ``in_vain``: it asked, and there is nothing.
    """

    turn_id: int
    settles: bool = False
    parks: bool = False
    in_vain: bool = False


def wait_after(db: Snapshot, turn: TurnRef, status: int) -> Wait:
    """What there is to wait for after a turn that ends now, with this status."""
    settles = bool(subscriptions.open_of_turn(db, turn.turn_id))
    if status != PARK:
        return Wait(turn.turn_id, settles=settles)
    live = bool(subscriptions.open_of_run(db, turn.run_id))
    in_vain = not live and not _has_news(db, turn.run_id, turn.loop_id)
    return Wait(turn.turn_id, settles=settles, parks=live, in_vain=in_vain)


def has_settled(db: Snapshot, turn_id: int, loop_id: int) -> bool:
    """Tell whether a loop that settles goes on: what the turn started has concluded, or a prompt has come."""
    return not subscriptions.open_of_turn(db, turn_id) or bool(loops.pending(db, loop_id))


def is_over(db: Snapshot, run_id: int, loop_id: int) -> bool:
    """Tell whether a loop that is parked goes on: a stream has concluded, a prompt has come, or nothing is live."""
    return _has_news(db, run_id, loop_id) or not subscriptions.open_of_run(db, run_id)


def _has_news(db: Snapshot, run_id: int, loop_id: int) -> bool:
    return subscriptions.has_untold(db, run_id) or bool(loops.pending(db, loop_id))


class Bell:
    """Says that it is time to look again."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def look_until(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Look now, and again each time that the bell rings, until ``look`` is content."""
        while True:
            # New before the look: what rings while it looks is not missed.
            rung = self._rung = trio.Event()
            if await look():
                return
            await rung.wait()
