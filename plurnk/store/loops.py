"""Loops, their queue, and prompts that come while one is live (SPEC 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import apsw

from plurnk.errors import NotFound
from plurnk.store.database import Tx
from plurnk.store.query import integer, query
from plurnk.wire.notifications import LoopStarted, LoopTerminated, Usage

QUEUED, RUNNING, DONE, ENDED_EARLY = 100, 102, 200, 499
LoopOrigin = Literal["model", "client"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``flags`` is JSON text; ``persona`` and ``alias`` None: the run's or the daemon's."""

    id: int
    session_id: int
    run_id: int
    seq: int
    origin: LoopOrigin
    status: int
    reason: str | None
    prompt: str
    flags: str
    alias: str | None
    persona: str | None
    max_turns: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A prompt and the settings it came with; None: whatever a live loop has, else the default."""

    prompt: str
    flags: str | None = None
    alias: str | None = None
    persona: str | None = None
    max_turns: int | None = None
    queue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """``alias``: the model of a loop that names none."""

    flags: str
    max_turns: int
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """``turn_seq``: the turn at which an injected prompt is shown at the earliest."""

    action: Literal["injected_next_turn", "enqueued_new_loop"]
    loop_id: int
    turn_seq: int | None = None


_COLUMNS = (
    "l.id, r.session_id, l.run_id, l.seq, l.origin, l.status, l.reason, l.prompt, l.flags, l.alias, l.persona,"
    " l.max_turns, l.error"
)
_SELECT = f"SELECT {_COLUMNS} FROM loops l JOIN runs r ON r.id = l.run_id"


def _loop(row: tuple[Any, ...]) -> Loop:
    return Loop(**dict(zip(Loop.__slots__, row, strict=True)))


def get(db: apsw.Connection, loop_id: int) -> Loop:
    """Return the loop.

    Raises:
        NotFound: there is no such loop.
    """
    rows = query(db, f"{_SELECT} WHERE l.id = ?", (loop_id,))
    if not rows:
        raise NotFound(f"no loop {loop_id}")
    return _loop(rows[0])


def live(db: apsw.Connection, run_id: int) -> Loop | None:
    """The loop that the run's driver has, or takes next."""
    rows = query(
        db,
        f"{_SELECT} WHERE l.run_id = ? AND l.origin = 'model' AND l.status IN (100, 102)"
        " ORDER BY l.status DESC, l.seq LIMIT 1",
        (run_id,),
    )
    return _loop(rows[0]) if rows else None


def submit(tx: Tx, run_id: int, submission: Submission, defaults: Defaults) -> Submitted:
    """Inject into the live loop, or enqueue a new one: decided here, in one write unit, so that no
    prompt can fall between a loop that just ended and one that never started.
    """
    loop = live(tx.db, run_id)
    if loop is None or submission.queue or _asks_for_others(submission, loop, defaults):
        return Submitted(action="enqueued_new_loop", loop_id=_enqueue(tx, run_id, submission, defaults))
    return inject(tx, loop, submission.prompt)


def inject(tx: Tx, loop: Loop, prompt: str) -> Submitted:
    """Give the loop a prompt of a person's, from which on its wakes are counted."""
    tx.db.execute("UPDATE loops SET wakes = 0 WHERE id = ?", (loop.id,))
    tx.db.execute("INSERT INTO injections (loop_id, prompt) VALUES (?, ?)", (loop.id, prompt))
    return Submitted(action="injected_next_turn", loop_id=loop.id, turn_seq=turns_of(tx.db, loop.id) + 1)


def _asks_for_others(submission: Submission, loop: Loop, defaults: Defaults) -> bool:
    return any(
        asked is not None and asked != has
        for asked, has in (
            (submission.flags, loop.flags),
            (submission.alias, loop.alias or defaults.alias),
            (submission.persona, loop.persona),
            (submission.max_turns, loop.max_turns),
        )
    )


def _enqueue(tx: Tx, run_id: int, submission: Submission, defaults: Defaults) -> int:
    return _insert(
        tx,
        run_id,
        origin="model",
        status=QUEUED,
        prompt=submission.prompt,
        flags=submission.flags or defaults.flags,
        alias=submission.alias,
        persona=submission.persona,
        max_turns=submission.max_turns or defaults.max_turns,
    )


def _insert(tx: Tx, run_id: int, **columns: Any) -> int:
    names = ", ".join(columns)
    return integer(
        tx.db,
        f"INSERT INTO loops (run_id, seq, created_at, {names}) VALUES (?,"
        f" (SELECT coalesce(max(seq), 0) + 1 FROM loops WHERE run_id = ?1), ?, {', '.join('?' * len(columns))})"
        " RETURNING id",
        (run_id, tx.now, *columns.values()),
    )


def claim(tx: Tx, run_id: int) -> Loop | None:
    """The loop to drive now: one that a crash interrupted, else the lowest queued, which is then 102."""
    loop = live(tx.db, run_id)
    if loop is None or loop.status == RUNNING:
        return loop
    tx.db.execute("UPDATE loops SET status = 102, started_at = ? WHERE id = ?", (tx.now, loop.id))
    tx.announce(loop.session_id, LoopStarted(loop_id=loop.id, run_id=run_id, prompt=loop.prompt, origin=loop.origin))
    return get(tx.db, loop.id)


def end(tx: Tx, loop_id: int, status: int, reason: str | None, *, error: str | None = None) -> bool:
    """Write the terminal status and announce it. The first end wins: False when it had ended before.

    ``error``: a sentence that says more than ``reason``. Prompts that no turn showed become a new queued loop with
    the same settings.
    """
    loop = get(tx.db, loop_id)
    if loop.status not in (QUEUED, RUNNING):
        return False
    tx.db.execute(
        "UPDATE loops SET status = ?, reason = ?, error = ?, ended_at = ? WHERE id = ?",
        (status, reason, error, tx.now, loop_id),
    )
    tx.announce(
        loop.session_id,
        LoopTerminated(
            loop_id=loop_id,
            run_id=loop.run_id,
            final_status=status,
            hit_max_turns=reason == "max_turns",
            reason=reason,
            usage=usage(tx.db, loop_id),
            error=error,
        ),
    )
    _requeue_unshown(tx, loop)
    return True


def _requeue_unshown(tx: Tx, loop: Loop) -> None:
    unshown = pending(tx.db, loop.id)
    if not unshown:
        return
    (_first_id, prompt), *rest = unshown
    settings = Submission(
        prompt=prompt, flags=loop.flags, alias=loop.alias, persona=loop.persona, max_turns=loop.max_turns
    )
    new_id = _enqueue(tx, loop.run_id, settings, Defaults(flags=loop.flags, max_turns=loop.max_turns))
    tx.db.execute("DELETE FROM injections WHERE id = ?", (_first_id,))
    tx.db.executemany("UPDATE injections SET loop_id = ? WHERE id = ?", [(new_id, row_id) for row_id, _ in rest])


def pending(db: apsw.Connection, loop_id: int) -> list[tuple[int, str]]:
    """Injected prompts that no turn has shown, in order: (id, prompt)."""
    rows = query(db, "SELECT id, prompt FROM injections WHERE loop_id = ? AND turn_id IS NULL ORDER BY id", (loop_id,))
    return [(row_id, prompt) for row_id, prompt in rows]


def show_pending(tx: Tx, loop_id: int, turn_id: int) -> list[str]:
    """Give the waiting prompts to this turn, in order."""
    prompts = [prompt for _id, prompt in pending(tx.db, loop_id)]
    tx.db.execute("UPDATE injections SET turn_id = ? WHERE loop_id = ? AND turn_id IS NULL", (turn_id, loop_id))
    return prompts


def prompts(db: apsw.Connection, loop: Loop) -> list[str]:
    """The loop's prompt and all that were injected and shown, in order."""
    rows = query(db, "SELECT prompt FROM injections WHERE loop_id = ? AND turn_id IS NOT NULL ORDER BY id", (loop.id,))
    return [loop.prompt, *(str(prompt) for (prompt,) in rows)]


def drop(tx: Tx, run_id: int, loop_id: int, reason: str) -> bool:
    """End a loop of the run if it is still queued; False when it is not, or is not there.

    Prompts that wait for it become a loop of their own.
    """
    rows = query(
        tx.db,
        "SELECT 1 FROM loops WHERE id = ? AND run_id = ? AND origin = 'model' AND status = 100",
        (loop_id, run_id),
    )
    return bool(rows) and end(tx, loop_id, ENDED_EARLY, reason)


def drop_queued(tx: Tx, run_id: int, reason: str) -> list[int]:
    """End every queued loop of the run; returns their ids. Prompts that wait for them or the live one are dropped too.

    Else the end of the live loop, which is to follow, would queue one for what waits for it.
    """
    ids = [
        int(loop_id)
        for (loop_id,) in query(
            tx.db, "SELECT id FROM loops WHERE run_id = ? AND origin = 'model' AND status = 100 ORDER BY seq", (run_id,)
        )
    ]
    tx.db.execute(
        "DELETE FROM injections WHERE turn_id IS NULL AND loop_id IN (SELECT id FROM loops WHERE run_id = ?)", (run_id,)
    )
    for loop_id in ids:
        end(tx, loop_id, ENDED_EARLY, reason)
    return ids


def open_client_loop(tx: Tx, run_id: int, *, flags: str, max_turns: int) -> Loop:
    """A loop driven by a client's own operations; it has no prompt and no driver."""
    loop_id = _insert(
        tx,
        run_id,
        origin="client",
        status=RUNNING,
        prompt="",
        flags=flags,
        max_turns=max_turns,
        started_at=tx.now,
    )
    loop = get(tx.db, loop_id)
    tx.announce(loop.session_id, LoopStarted(loop_id=loop_id, run_id=run_id, prompt="", origin="client"))
    return loop


def open_woken(tx: Tx, starter: Loop, *, prompt: str, woken_by: int) -> int:
    """Queue a loop that the end of a stream opens, with the settings of the loop that started the stream.

    It is one more in a row than the model's loop before it in the run.
    """
    before = integer(
        tx.db,
        "SELECT wakes FROM loops WHERE run_id = ? AND origin = 'model' ORDER BY seq DESC LIMIT 1",
        (starter.run_id,),
    )
    return _insert(
        tx,
        starter.run_id,
        origin="model",
        status=QUEUED,
        prompt=prompt,
        flags=starter.flags,
        alias=starter.alias,
        persona=starter.persona,
        max_turns=starter.max_turns,
        woken_by=woken_by,
        wakes=before + 1,
    )


def wakes(db: apsw.Connection, loop_id: int) -> int:
    """How many loops in a row streams have opened, this one included; 0: a person's prompt did."""
    return integer(db, "SELECT wakes FROM loops WHERE id = ?", (loop_id,))


def turns_of(db: apsw.Connection, loop_id: int) -> int:
    """How many turns the loop has had."""
    return integer(db, "SELECT coalesce(max(seq), 0) FROM turns WHERE loop_id = ?", (loop_id,))


def turn_ids(db: apsw.Connection, loop_id: int) -> list[int]:
    return [int(i) for (i,) in query(db, "SELECT id FROM turns WHERE loop_id = ? ORDER BY seq", (loop_id,))]


def usage(db: apsw.Connection, loop_id: int) -> Usage:
    """The sum over the loop's turns."""
    rows = query(
        db,
        "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(cached_tokens), 0),"
        " coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_pico), 0) FROM turns WHERE loop_id = ?",
        (loop_id,),
    )
    prompt, completion, cached, reasoning, cost = rows[0]
    return Usage(prompt=prompt, completion=completion, cached=cached, reasoning=reasoning, cost_pico=cost)


def runs_with_work(db: apsw.Connection) -> list[int]:
    """Runs that have a loop queued or running: the ones to drive after a start."""
    rows = query(
        db, "SELECT DISTINCT run_id FROM loops WHERE origin = 'model' AND status IN (100, 102) ORDER BY run_id"
    )
    return [int(run_id) for (run_id,) in rows]
