"""Turns: one round trip each; their packet, usage and telemetry (SPEC 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import apsw
import msgspec

from plurnk.errors import NotFound
from plurnk.rules.rails import Mark
from plurnk.rules.telemetry import Telemetry, flat, late
from plurnk.store import loops, packets
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.query import query
from plurnk.wire.notifications import TelemetryEvent, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAnswer:
    """What a turn's row gets when the provider has answered. ``told``: of its telemetry, what it has not shown."""

    model: str | None = None
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    told: tuple[Telemetry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnd:
    """What a turn's row gets when it ends.

    ``told`` and ``telemetry`` are for the next turn to show, once; ``told`` were announced by ``tell`` already.
    ``mark``: what it was to the rails; None: it was not a model's, or nothing came of it.
    """

    status: int
    reason: str | None = None
    told: tuple[Telemetry, ...] = ()
    telemetry: tuple[Telemetry, ...] = ()
    mark: Mark | None = None


def begin(tx: Tx, loop: Loop) -> TurnRef:
    """Insert the next turn of the loop, at 102."""
    seq = loops.turns_of(tx.db, loop.id) + 1
    rows = query(
        tx.db,
        "INSERT INTO turns (loop_id, seq, status, started_at) VALUES (?, ?, 102, ?) RETURNING id",
        (loop.id, seq, tx.now),
    )
    return TurnRef(
        session_id=loop.session_id,
        run_id=loop.run_id,
        loop_id=loop.id,
        turn_id=rows[0][0],
        loop_seq=loop.seq,
        turn_seq=seq,
    )


def answered(tx: Tx, turn: TurnRef, answer: TurnAnswer) -> None:
    """Write what the answer has cost, before anything is done of it: the money is spent."""
    usage = answer.usage
    tx.db.execute(
        "UPDATE turns SET model = ?, finish_reason = ?, prompt_tokens = ?, completion_tokens = ?,"
        " cached_tokens = ?, reasoning_tokens = ?, cost_pico = ?, telemetry = ? WHERE id = ?",
        (
            answer.model,
            answer.finish_reason,
            usage.prompt,
            usage.completion,
            usage.cached,
            usage.reasoning,
            usage.cost_pico,
            msgspec.json.encode(answer.told).decode(),
            turn.turn_id,
        ),
    )


def tell(tx: Tx, turn: TurnRef, event: Telemetry) -> None:
    """Announce something of a turn that is open. Should the turn be cut off, the next one shows it."""
    rows = query(tx.db, "SELECT telemetry FROM turns WHERE id = ?", (turn.turn_id,))
    told = msgspec.json.encode((*_decoded(rows), event)).decode()
    tx.db.execute("UPDATE turns SET telemetry = ? WHERE id = ?", (told, turn.turn_id))
    tx.announce(turn.session_id, TelemetryEvent(loop_id=turn.loop_id, event=flat(event)))


def end(tx: Tx, turn: TurnRef, ended: TurnEnd) -> bool:
    """Write the turn's end and announce its telemetry. The first end wins: False when it had one."""
    tx.db.execute(
        "UPDATE turns SET status = ?, reason = ?, ended_at = ?, telemetry = ?, fingerprint = ?, fault = ?"
        " WHERE id = ? AND ended_at IS NULL",
        (
            ended.status,
            ended.reason,
            tx.now,
            msgspec.json.encode((*ended.told, *ended.telemetry)).decode(),
            ended.mark and ended.mark.fingerprint,
            ended.mark and ended.mark.fault,
            turn.turn_id,
        ),
    )
    if not tx.db.changes():
        return False
    for event in ended.telemetry:
        tx.announce(turn.session_id, TelemetryEvent(loop_id=turn.loop_id, event=flat(event)))
    return True


def close_open(tx: Tx, loop_id: int, status: int, reason: str | None) -> None:
    """End a turn of the loop that was cut off."""
    tx.db.execute(
        "UPDATE turns SET status = ?, reason = ?, ended_at = ? WHERE loop_id = ? AND ended_at IS NULL",
        (status, reason, tx.now, loop_id),
    )


def last_end(db: apsw.Connection, loop_id: int) -> tuple[int, str | None]:
    """Status and reason of the loop's last turn; of a loop that has had none, as if it went on."""
    rows = query(db, "SELECT status, reason FROM turns WHERE loop_id = ? ORDER BY seq DESC LIMIT 1", (loop_id,))
    return (int(rows[0][0]), rows[0][1]) if rows else (102, None)


def marks(db: apsw.Connection, loop_id: int, last: int) -> list[Mark]:
    """What the last turns of the loop were to the rails, at most so many, oldest first."""
    rows = query(
        db,
        "SELECT fingerprint, fault FROM turns WHERE loop_id = ? AND fingerprint IS NOT NULL ORDER BY seq DESC LIMIT ?",
        (loop_id, last),
    )
    return [Mark(*row) for row in reversed(rows)]


def telemetry_before(db: apsw.Connection, turn: TurnRef) -> tuple[Telemetry, ...]:
    """What the turn before this one left to be told; where that was cut off before it was answered, what it was told.

    So it goes back to the last turn that a model has answered, in which it has read what came before.
    """
    rows = query(
        db,
        "SELECT telemetry, seq FROM turns WHERE loop_id = ?1 AND seq < ?2 AND seq >= (SELECT coalesce(max(seq), 0)"
        " FROM turns WHERE loop_id = ?1 AND seq < ?2 AND packet IS NOT NULL) ORDER BY seq",
        (turn.loop_id, turn.turn_seq),
    )
    return tuple(late(event, turn.turn_seq - 1 - row[1]) for row in rows for event in _decoded([row]))


def _decoded(rows: list[Any]) -> tuple[Telemetry, ...]:
    return msgspec.json.decode(rows[0][0], type=tuple[Telemetry, ...]) if rows else ()


def packet(db: apsw.Connection, session_id: int, turn_id: int) -> bytes:
    """The stored packet of a turn of this session, as JSON.

    Raises:
        NotFound: no such turn in the session, or it has no packet (a client's turn, or one that was cut off).
    """
    rows = query(
        db,
        "SELECT l.run_id, t.packet, t.packet_refs FROM turns t JOIN loops l ON l.id = t.loop_id"
        " JOIN runs r ON r.id = l.run_id WHERE t.id = ? AND r.session_id = ?",
        (turn_id, session_id),
    )
    if not rows or rows[0][1] is None:
        raise NotFound(f"turn {turn_id} has no packet")
    return packets.whole(db, *rows[0])


def last_counted(db: apsw.Connection, turn: TurnRef) -> tuple[int, int]:
    """What the packet of the loop's last answered turn has taken: as we count, and as the provider did; 0, 0: none."""
    rows = query(
        db,
        "SELECT asked_tokens, prompt_tokens FROM turns WHERE loop_id = ? AND seq < ? AND prompt_tokens > 0"
        " ORDER BY seq DESC LIMIT 1",
        (turn.loop_id, turn.turn_seq),
    )
    return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)
