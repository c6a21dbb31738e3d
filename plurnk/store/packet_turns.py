"""The turn whose packet is asked for, by its id or by its coordinates (SPEC 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from plurnk.errors import NotFound
from plurnk.store.query import query


@dataclass(frozen=True, slots=True)
class PacketTurn:
    """A turn that has a packet."""

    id: int
    loop_seq: int
    turn_seq: int


_FROM = "FROM turns t JOIN loops l ON l.id = t.loop_id JOIN runs r ON r.id = l.run_id"
_SELECT = f"SELECT t.id, l.seq, t.seq, t.packet IS NOT NULL, l.origin, t.ended_at, r.created_at {_FROM}"


def by_id(db: apsw.Connection, session_id: int, turn_id: int) -> PacketTurn:
    """The turn of this session.

    Raises:
        NotFound: it has no such turn, or that has no packet.
    """
    found = _one(db, "t.id = ? AND r.session_id = ?", turn_id, session_id)
    if found is None:
        raise NotFound(f"no turn {turn_id} in this session")
    return found


def at(db: apsw.Connection, run_id: int, loop_seq: int, turn_seq: int) -> PacketTurn:
    """The turn with these coordinates.

    Raises:
        NotFound: the run has no such turn, or that has no packet.
    """
    found = _one(db, "r.id = ? AND l.seq = ? AND t.seq = ?", run_id, loop_seq, turn_seq)
    if found is None:
        turns = _count(db, run_id, loop_seq)
        raise NotFound(f"no turn {loop_seq}/{turn_seq}; the loop has {turns} turn{'' if turns == 1 else 's'}")
    return found


def last(db: apsw.Connection, run_id: int, loop_seq: int | None) -> PacketTurn:
    """The last turn of the run, or of one of its loops, that has a packet.

    Raises:
        NotFound: there is no such loop, or no such turn.
    """
    found = _one(
        db,
        "r.id = ? AND (?2 IS NULL OR l.seq = ?2) AND t.packet IS NOT NULL ORDER BY t.id DESC LIMIT 1",
        run_id,
        loop_seq,
    )
    if found is None and loop_seq is not None:
        _count(db, run_id, loop_seq)
        raise NotFound(f"no turn of loop {loop_seq} has a packet")
    if found is None:
        raise NotFound("no turn of this run has a packet: no model has answered in it yet")
    return found


def _one(db: apsw.Connection, where: str, *values: int | None) -> PacketTurn | None:
    rows = query(db, f"{_SELECT} WHERE {where}", values)
    if not rows:
        return None
    turn_id, loop_seq, turn_seq, has_packet, origin, ended_at, run_created_at = rows[0]
    if has_packet:
        return PacketTurn(turn_id, loop_seq, turn_seq)
    turn = f"turn {loop_seq}/{turn_seq} has no packet"
    if origin == "client":
        raise NotFound(f"{turn}: it is a client's, no model was asked")
    if ended_at is None:
        raise NotFound(f"{turn} yet: the model has not answered")
    if ended_at <= run_created_at:
        raise NotFound(f"{turn}: it was copied by run.fork, and the run that it comes from has it")
    raise NotFound(f"{turn}: it was cut off before the model had answered")


def _count(db: apsw.Connection, run_id: int, loop_seq: int) -> int:
    """How many turns the loop has had.

    Raises:
        NotFound: the run has no such loop.
    """
    counts = "SELECT seq, (SELECT count(*) FROM turns WHERE loop_id = loops.id) FROM loops WHERE run_id = ?"
    turns: dict[int, int] = dict(query(db, counts, (run_id,)))
    if loop_seq not in turns:
        raise NotFound(f"no loop {loop_seq}; " + (f"the last is {max(turns)}" if turns else "the run has had none yet"))
    return turns[loop_seq]
