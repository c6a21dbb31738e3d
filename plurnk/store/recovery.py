"""The truth after a crash (SPEC 7.2): what the last daemon left open is closed, and said so."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from plurnk.rules.telemetry import Interrupted
from plurnk.store import conclusions, log, loops, subscriptions
from plurnk.store.database import Tx
from plurnk.store.query import query
from plurnk.store.wakes import WakeRules


@dataclass(frozen=True, slots=True)
class Recovered:
    """``runs``: those with work to drive; ``turns``, ``loops`` and ``streams``: how many were cut off."""

    runs: tuple[int, ...]
    turns: int
    loops: int
    streams: int


_INTERRUPTED = msgspec.json.encode(Interrupted()).decode()


def recover(tx: Tx, *, resume: bool, rules: WakeRules) -> Recovered:
    """Close what a daemon that was killed left open. Run once, before anybody can ask for anything.

    Streams become 500 ``daemon_restart``, their bytes kept; the next turn of their run is told, and a run with
    nothing to do is woken when ``resume``. Turns without an end become 500 ``interrupted``, and the next turn of
    their loop is told; what a loop proposed that goes on stays open, the rest is answered 499, for its waiter is
    gone. Client loops end 200, for their clients are gone. Model loops stay as they are when ``resume``, else they end
    499 ``interrupted``; queued loops are kept either way.
    """
    db = tx.db
    streams = subscriptions.close_all(tx, detail="daemon_restart")
    for stream in streams:
        conclusions.announce(tx, stream, (), rules, may_wake=resume)
    db.execute(
        "UPDATE turns SET status = 500, reason = 'interrupted', ended_at = ?,"
        " telemetry = json_insert(telemetry, '$[#]', json(?)) WHERE ended_at IS NULL",
        (tx.now, _INTERRUPTED),
    )
    turns = db.changes()
    log.abandon_unresumed(tx, resume=resume)
    running = query(db, "SELECT id, origin FROM loops WHERE status = 102 ORDER BY id")
    for loop_id, origin in running:
        if origin == "client":
            loops.end(tx, int(loop_id), loops.DONE, None)
        elif not resume:
            loops.end(tx, int(loop_id), loops.ENDED_EARLY, "interrupted")
    return Recovered(tuple(loops.runs_with_work(db)), turns, len(running), len(streams))
