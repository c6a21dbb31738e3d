"""The packets of a run's turns as they are kept: each text once, however many turns have sent it (SPEC 3.4).

A turn has what is its own (``turns.packet``) and says which of the run's texts stand where (``turns.packet_refs``).
Texts of the log have numbers of their own, so those of a long log are one range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias

import apsw
import msgspec

from plurnk.rules.fitting import Folds
from plurnk.rules.packet import Packet
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.query import integer, query

Part: TypeAlias = Literal["log", "other"]
PARTS: Final[tuple[Part, ...]] = ("log", "other")

DIGEST_BYTES: Final = 16

_EMPTY: Final = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text with its number, which counts from 1 in its part of the run's texts, without holes."""

    number: int
    digest: bytes
    text: str


class Refs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the texts of a packet stand: by number; those of a list as ranges, first and last included."""

    definition: int
    persona: int
    prompt: int
    index: tuple[tuple[int, int], ...] = ()
    log: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """How a packet is kept: ``refs``, and the texts, in each part by number, of which some may be kept already."""

    refs: Refs
    texts: dict[Part, Sequence[Text]]


def digest(text: str) -> bytes:
    """What two texts have in common only if they are the same."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """``numbers``, which are positive, in their order, as ranges of such as follow on each other."""
    found: list[tuple[int, int]] = []
    first = following = 0
    for number in numbers:
        if number != following:
            if following:
                found.append((first, following - 1))
            first = number
        following = number + 1
    return (*found, (first, following - 1)) if following else ()


def kept(db: apsw.Connection, run_id: int, part: Part) -> dict[bytes, int]:
    """The digests of the run's texts, and their numbers."""
    rows = query(db, "SELECT digest, number FROM packet_texts WHERE run_id = ? AND part = ?", (run_id, part))
    return {bytes(found): int(number) for found, number in rows}


def last_number(db: apsw.Connection, run_id: int, part: Part) -> int:
    """The highest number of a text that is kept; 0: there is none."""
    return integer(
        db, "SELECT coalesce(max(number), 0) FROM packet_texts WHERE run_id = ? AND part = ?", (run_id, part)
    )


def put(tx: Tx, turn: TurnRef, packet: Packet, pieces: Pieces) -> None:
    """Keep the packet of a turn, and those of its texts that are new."""
    for part in PARTS:
        last = last_number(tx.db, turn.run_id, part)
        tx.db.executemany(
            "INSERT INTO packet_texts (run_id, part, number, digest, text) VALUES (?, ?, ?, ?, ?)",
            [
                (turn.run_id, part, text.number, text.digest, text.text)
                for text in pieces.texts[part]
                if text.number > last
            ],
        )
    system = msgspec.structs.replace(packet.system, system_definition=_EMPTY, persona=_EMPTY, index=(), log=())
    own = msgspec.structs.replace(packet, system=system, user=msgspec.structs.replace(packet.user, prompt=_EMPTY))
    tx.db.execute(
        "UPDATE turns SET packet = ?, packet_refs = ?, asked_tokens = ? WHERE id = ?",
        (
            msgspec.json.encode(own).decode(),
            msgspec.json.encode(pieces.refs).decode(),
            packet.system.tokens + packet.user.tokens,
            turn.turn_id,
        ),
    )


def folds(db: apsw.Connection, run_id: int) -> Folds:
    """How far the run's log is folded."""
    return Folds(*query(db, "SELECT bodies_folded_to, rows_folded_to FROM runs WHERE id = ?", (run_id,))[0])


def fold(tx: Tx, run_id: int, to: Folds) -> None:
    """Fold the run's log as far as that."""
    tx.db.execute(
        "UPDATE runs SET bodies_folded_to = ?, rows_folded_to = ? WHERE id = ?", (to.bodies_to, to.rows_to, run_id)
    )


def whole(db: apsw.Connection, run_id: int, own: str, refs: str | None) -> bytes:
    """The packet as it was sent, from the two columns of its turn, as JSON."""
    if refs is None:  # from before texts were kept apart
        return own.encode()
    where = msgspec.json.decode(refs, type=Refs)
    packet: dict[str, Any] = msgspec.json.decode(own)
    packet["system"] |= {
        "system_definition": _text(db, run_id, where.definition),
        "persona": _text(db, run_id, where.persona),
        "index": _texts(db, run_id, "other", where.index),
        "log": _texts(db, run_id, "log", where.log),
    }
    packet["user"]["prompt"] = _text(db, run_id, where.prompt)
    return msgspec.json.encode(packet)


def _text(db: apsw.Connection, run_id: int, number: int) -> str:
    return _texts(db, run_id, "other", ((number, number),))[0]


def _texts(db: apsw.Connection, run_id: int, part: Part, where: Iterable[tuple[int, int]]) -> list[str]:
    return [
        str(text)
        for first, last in where
        for (text,) in query(
            db,
            "SELECT text FROM packet_texts WHERE run_id = ? AND part = ? AND number BETWEEN ? AND ? ORDER BY number",
            (run_id, part, first, last),
        )
    ]
