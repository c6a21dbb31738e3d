"""Files that the store knows: entries without a scheme, that can have tags and be in an index (SPEC 5.1).

What such an entry's channel holds is on disk alone; in the store it is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plurnk.plugins.api import Tx
from plurnk.store import channels, entries
from plurnk.store.channels import Channel
from plurnk.store.entries import Entry
from plurnk.store.query import Snapshot

BODY = "body"


def register(tx: Tx, session_id: int, path: str, mimetype: str) -> Channel:
    """Make sure that the file has its entry; returns its one channel."""
    entry = entries.find(tx.db, session_id, None, path) or entries.create(tx, session_id, None, path)
    return channels.find(tx.db, entry.id, BODY) or channels.create(tx.db, entry.id, BODY, mimetype)


def forget(tx: Tx, session_id: int, path: str) -> None:
    """Take away the entry of a file that is no more."""
    entry = entries.find(tx.db, session_id, None, path)
    if entry is not None:
        entries.delete(tx, entry.id)


def tags(db: Snapshot, session_id: int, path: str) -> tuple[str, ...]:
    entry = entries.find(db, session_id, None, path)
    return () if entry is None else entries.tags(db, entry.id)


def listing(db: Snapshot, session_id: int, prefix: str, wanted: Iterable[str]) -> list[Entry]:
    """The entries whose paths begin with ``prefix`` and that have all the tags, byte-wise ascending."""
    needed = frozenset(wanted)
    found = entries.listing(db, session_id, None, prefix)
    return [entry for entry in found if not needed or needed <= set(entries.tags(db, entry.id))]


def channel_ids(db: Snapshot, found: Sequence[Entry]) -> list[int]:
    return [channel.id for entry in found for channel in channels.of_entry(db, entry.id)]
