"""What the end of a stream does to its run: nothing, a row in the next turn, or a loop of its own (SPEC 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from plurnk.store import loops
from plurnk.store.database import Tx
from plurnk.store.subscriptions import CANCELLED, Subscription
from plurnk.wire.notifications import WakeAction

HasProvider: TypeAlias = Callable[[str | None], bool]
"""Tells whether a model alias (None: the daemon's own) has a provider. May be asked on any thread."""


def wake(
    tx: Tx, subscription: Subscription, *, status: int, summary: str, has_provider: HasProvider
) -> tuple[WakeAction, int | None]:
    """Decide what follows from the end of a stream, and queue the loop that it opens, if it does; returns its id.

    Part of the unit that closes the subscription: no loop can end in between without having seen it, or begin
    without it. That loop works under the settings of the one that started the stream.
    """
    if status == CANCELLED:
        return "skipped-aborted", None
    if subscription.loop_id is None:
        return "skipped-no-provider", None
    starter = loops.get(tx.db, subscription.loop_id)
    # Nobody said which model should go on for a client, and under which rules.
    if starter.origin == "client" or not has_provider(starter.alias):
        return "skipped-no-provider", None
    if loops.live(tx.db, subscription.run_id) is not None:
        return "no-op-active-loop", None
    return "opened-loop", loops.open_woken(tx, starter, prompt=summary, woken_by=subscription.id)
