"""The database: one writer thread, a few readers, and what was committed told in commit order.

A write is a *sync* unit run whole on the writer thread. Units that wait while the writer is busy
share the next transaction, each in a savepoint of its own (group commit), so one unit's failure
undoes that unit alone. What a unit announces goes out after its commit, before its caller is woken,
and in commit order: nobody can see an event that a crash could take back (SPEC 6.5).

Nothing here runs SQLite on the event loop.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import apsw
import msgspec
import trio

from plurnk.errors import Draining, OutOfRoom, PlurnkError, TookTooLong
from plurnk.store.lock import hold_database
from plurnk.store.migrate import Migration, migrate
from plurnk.store.query import query
from plurnk.wire.notifications import (
    LogEntryAdded,
    LogEntryUpdated,
    Notification,
)

T = TypeVar("T")

GROUP_MAX_UNITS: int = 256
"""Units in one commit. More would only delay the first of them: the cost per unit is flat from 64 on."""

GROUP_MAX_BYTES: int = 1024 * 1024
"""The weight at which a commit takes no more units in (SPEC 4.3): beyond it a group only waits longer."""

READERS: int = 3
READ_LIMIT_S: float = 5.0
"""No reader is older than this: an old snapshot would keep the WAL from being checkpointed (SPEC 7.1)."""

CLOSE_LIMIT_S: float = READ_LIMIT_S + 1.0
PRUNE_EVERY: int = 64
"""Events beyond those kept are forgotten at every so many, not one by one."""

BUSY_TIMEOUT_MS: int = 10_000
"""Only another program's hand on the file (a backup, a shell) can make us wait; we hold the lock."""

Durability = Literal["normal", "full"]


class StoreFailed(PlurnkError):
    """The database could not be read or written (an I/O error); the unit did not happen."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event, as committed; ``seq`` counts in its session, without holes. None: it is told but not kept."""

    session_id: int
    seq: int | None
    notification: Notification


Announce = Callable[[Sequence[Announcement]], None]


@dataclass(slots=True)
class Tx:
    """A write transaction in progress, handed to a unit. Not to be kept after the unit returns."""

    db: apsw.Connection
    now: str
    """The moment of this unit, RFC 3339 UTC."""

    events_keep: int = 100_000
    announced: list[Announcement] = field(default_factory=list)

    def announce(self, session_id: int, notification: Notification) -> int:
        """Write ``notification`` to the session's outbox in this transaction; returns its seq.

        All but the newest ``events_keep`` are forgotten; who asks for those is told to resync (SPEC 6.5).
        """
        row = query(
            self.db,
            "UPDATE sessions SET last_event_seq = last_event_seq + 1 WHERE id = ? RETURNING last_event_seq",
            (session_id,),
        )
        seq: int = row[0][0]
        params: str | None = None
        log_entry_id: int | None = None
        if isinstance(notification, LogEntryAdded | LogEntryUpdated):
            log_entry_id = notification.entry.id
        else:
            params = msgspec.json.encode(notification).decode()
        self.db.execute(
            "INSERT INTO events (session_id, seq, method, params, log_entry_id, at) VALUES (?, ?, ?, ?, ?, ?)",
            (session_id, seq, notification.method, params, log_entry_id, self.now),
        )
        if seq % PRUNE_EVERY == 0:
            self.db.execute(
                "DELETE FROM events WHERE session_id = ? AND seq <= ?", (session_id, seq - self.events_keep)
            )
        self.announced.append(Announcement(session_id, seq, notification))
        return seq

    def tell(self, session_id: int, notification: Notification) -> None:
        """Have ``notification``, which is not kept, told after the commit, in order with what is announced."""
        self.announced.append(Announcement(session_id, None, notification))


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    unit: Callable[[Tx], T]
    weight_bytes: int
    done: trio.Event = field(default_factory=trio.Event)
    value: T | None = None
    error: BaseException | None = None


class Store:
    """An open database. Made by :func:`open_store`, which owns its threads."""

    def __init__(self, writer: _Writer, readers: list[apsw.Connection]) -> None:
        self._writer = writer
        self._idle_readers = readers
        self._reader_slots = trio.CapacityLimiter(len(readers))

    async def write(self, unit: Callable[[Tx], T], *, weight_bytes: int = 0) -> T:
        """Run ``unit`` on the writer thread, as one transaction, and return what it returned.

        ``unit`` is sync on purpose: with no checkpoint inside, no other task can land in its
        transaction. It may be run on any thread, must not block, and must not keep its ``Tx``.
        ``weight_bytes``: about how much it writes, if that is much.

        Raises:
            Whatever ``unit`` raised; nothing of it was written.
            OutOfRoom: the disk is full; nothing of it was written.
            StoreFailed: an I/O error; nothing of it was written.
            Draining: the store is closing.

        Cancelled: the unit may or may not have been committed.
        """
        job = _Job(unit, weight_bytes)
        self._writer.submit(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.value  # type: ignore[return-value]  # set together with done

    async def read(self, unit: Callable[[apsw.Connection], T]) -> T:
        """Run ``unit`` on a reader thread against one snapshot of the database.

        Raises:
            Whatever ``unit`` raised.
            TookTooLong: it ran for more than READ_LIMIT_S.

        Cancelled: returns at once; the reader finishes on its own, within READ_LIMIT_S.
        """
        return await trio.to_thread.run_sync(
            self._read_in_thread, unit, limiter=self._reader_slots, abandon_on_cancel=True
        )

    def _read_in_thread(self, unit: Callable[[apsw.Connection], T]) -> T:
        db = self._idle_readers.pop()
        deadline = time.monotonic() + READ_LIMIT_S
        db.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
        try:
            db.execute("BEGIN")
            try:
                return unit(db)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except apsw.InterruptError:
            raise TookTooLong(f"a read of the database took more than {READ_LIMIT_S:g} s") from None
        except apsw.Error as error:
            raise _ours(error) from error
        finally:
            db.set_progress_handler(None)
            self._idle_readers.append(db)

    @property
    def waiting(self) -> int:
        """How many units wait for the writer."""
        return self._writer.waiting

    async def close_readers(self) -> None:
        """Wait for reads that were abandoned, then close the readers' connections."""
        for place in range(READERS):
            await self._reader_slots.acquire_on_behalf_of(place)
        for db in self._idle_readers:
            db.close()
        self._idle_readers.clear()


class _Writer:
    """The writer thread's state. ``run`` is the thread; ``submit`` may be called from any thread."""

    def __init__(self, db: apsw.Connection, clock: Callable[[], str], announce: Announce, events_keep: int) -> None:
        self._db = db
        self._clock = clock
        self._announce = announce
        self._events_keep = events_keep
        self._queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._trio = trio.lowlevel.current_trio_token()

    def submit(self, job: _Job[Any]) -> None:
        if self._closed:
            raise Draining("the store is closed")
        self._queue.put(job)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        """What was submitted before is still written."""
        self._closed = True
        self._queue.put(None)

    def run(self) -> None:
        """Commit groups until closed, then close the connection (which checkpoints the WAL)."""
        try:
            open_for_jobs = True
            while open_for_jobs:
                first = self._queue.get()
                if first is None:
                    break
                group, weight_bytes = [first], first.weight_bytes
                while len(group) < GROUP_MAX_UNITS and weight_bytes < GROUP_MAX_BYTES and not self._queue.empty():
                    job = self._queue.get()
                    if job is None:
                        open_for_jobs = False
                        break
                    group.append(job)
                    weight_bytes += job.weight_bytes
                announced = self._commit(group)
                self._trio.run_sync_soon(self._deliver, group, announced)
        finally:
            self._db.close()

    def _deliver(self, group: Sequence[_Job[Any]], announced: Sequence[Announcement]) -> None:
        if announced:
            self._announce(announced)
        for job in group:
            job.done.set()

    def _commit(self, group: Sequence[_Job[Any]]) -> list[Announcement]:
        """Run the group as one transaction; on a failure of the whole, every job carries it."""
        db = self._db
        announced: list[Announcement] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in group:
                announced += self._run_unit(job)
            db.execute("COMMIT")
        except apsw.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            failure = _ours(error)
            for job in group:
                job.value, job.error = None, job.error or failure
            return []
        return announced

    def _run_unit(self, job: _Job[Any]) -> list[Announcement]:
        """Run one unit in its savepoint.

        Raises:
            apsw.Error: the transaction as a whole is lost (SQLite rolled it back).
        """
        db = self._db
        tx = Tx(db, self._clock(), self._events_keep)
        db.execute("SAVEPOINT unit")
        try:
            job.value = job.unit(tx)
        except Exception as error:
            if not db.in_transaction and isinstance(error, apsw.Error):
                raise
            db.execute("ROLLBACK TO unit")
            db.execute("RELEASE unit")
            job.error = _ours(error) if isinstance(error, apsw.Error) else error
            return []
        db.execute("RELEASE unit")
        return tx.announced


def _ours(error: apsw.Error) -> PlurnkError:
    if isinstance(error, apsw.FullError):
        return OutOfRoom("the disk is full")
    return StoreFailed(f"database error: {error}")


def _open_connection(path: Path, durability: Durability) -> apsw.Connection:
    """Open and set up one connection; each pragma alone, because a script stops at the first row."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    if db.pragma("journal_mode", "wal") != "wal":
        raise StoreFailed(f"{path} cannot be put in WAL mode")
    db.pragma("synchronous", durability)
    db.pragma("foreign_keys", True)
    db.pragma("journal_size_limit", 64 * 1024 * 1024)
    return db


def _check_integrity(db: apsw.Connection, path: Path) -> None:
    """See that a database is whole whose last daemon was killed (SPEC 7.2).

    Raises:
        StoreFailed: it is not; nothing was written.
    """
    found = db.pragma("quick_check", 1)
    if found != "ok":
        raise StoreFailed(f"the database {path} is damaged ({found}); move it away or restore a backup")


@asynccontextmanager
async def open_store(
    path: Path,
    migrations: Sequence[Migration],
    *,
    clock: Callable[[], str],
    announce: Announce = lambda _announced: None,
    durability: Durability = "normal",
    events_keep: int = 100_000,
) -> AsyncIterator[Store]:
    """Open the database at ``path``, made or migrated if need be, for the length of the block.

    ``announce`` is called on the event loop with each commit's events, in commit order.
    On the way out, units already submitted are still committed.

    Raises:
        Conflict: another daemon has it, or it belongs to another version.
        StoreFailed: it is no database, or cannot be opened.
    """

    def prepare() -> tuple[apsw.Connection, list[apsw.Connection]]:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        # A daemon that ended well leaves no write-ahead log.
        log = path.with_name(path.name + "-wal")
        crashed = log.exists() and log.stat().st_size > 0
        try:
            db = _open_connection(path, durability)
            if crashed:
                _check_integrity(db, path)
            migrate(db, migrations, now=clock())
            readers = [_open_connection(path, durability) for _ in range(READERS)]
        except apsw.Error as error:
            raise StoreFailed(f"cannot open the database {path}: {error}") from error
        for reader in readers:
            reader.pragma("query_only", True)
        return db, readers

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_database(path):
        db, readers = await trio.to_thread.run_sync(prepare)
        writer = _Writer(db, clock, announce, events_keep)
        store = Store(writer, readers)
        async with trio.open_nursery() as threads:
            # A limiter of its own: the writer occupies its thread for as long as the store is open.
            threads.start_soon(lambda: trio.to_thread.run_sync(writer.run, limiter=trio.CapacityLimiter(math.inf)))
            try:
                yield store
            finally:
                # Shield: connections must not be closed under a thread that still reads from them.
                with trio.move_on_after(CLOSE_LIMIT_S, shield=True):
                    await store.close_readers()
                writer.close()
