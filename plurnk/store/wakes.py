"""What the end of a stream does to its run: nothing, a row in the next turn, or a loop of its own (SPEC 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plurnk.store import loops
from plurnk.store.database import Tx
from plurnk.store.subscriptions import CANCELLED, Subscription
from plurnk.wire.notifications import WakeAction

WAKE_LIMIT = "wake_limit"
"""The reason of a loop that is one too many."""


@dataclass(frozen=True, slots=True)
class WakeRules:
    """``has_provider``: of a model alias (None: the daemon's own); may be asked on any thread.

    ``max_wakes``: loops in a row that streams may open without a prompt of a person's.
    """

    has_provider: Callable[[str | None], bool]
    max_wakes: int


def wake(
    tx: Tx, subscription: Subscription, *, status: int, summary: str, rules: WakeRules
) -> tuple[WakeAction, int | None]:
    """Decide what follows from the end of a stream, and queue the loop that it opens, if it does; returns its id.

    Part of the unit that closes the subscription: no loop can end in between without having seen it, or begin
    without it. That loop works under the settings of the one that started the stream, if ``see_to_limit`` lets it.
    """
    if status == CANCELLED:
        return "skipped-aborted", None
    if subscription.loop_id is None:
        return "skipped-no-provider", None
    starter = loops.get(tx.db, subscription.loop_id)
    # Nobody said which model should go on for a client, and under which rules.
    if starter.origin == "client" or not rules.has_provider(starter.alias):
        return "skipped-no-provider", None
    if loops.live(tx.db, subscription.run_id) is not None:
        return "no-op-active-loop", None
    return "opened-loop", loops.open_woken(tx, starter, prompt=summary, woken_by=subscription.id)


def see_to_limit(tx: Tx, loop_id: int, rules: WakeRules) -> None:
    """End a loop that was opened just now at once, if it is one too many in a row.

    No turn of it tells of the stream, so the first one that a person's prompt brings does.
    """
    if loops.wakes(tx.db, loop_id) > rules.max_wakes:
        loops.end(tx, loop_id, loops.ENDED_EARLY, WAKE_LIMIT)
