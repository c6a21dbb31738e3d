"""What is kept of files is bounded, for each and for a session, and so is the price of keeping it (SPEC 5.2)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apsw
import pytest

from plurnk.language.ast import Send
from plurnk.store import file_versions, log, loops, sessions
from plurnk.store.database import Store, Tx
from plurnk.store.file_versions import Before, compressed
from plurnk.store.query import integer, query
from plurnk.wire.results import OpResult
from tests.support.stores import begin_turn, new_session, opened

ROOT = "/project"
CHANCE = random.Random(5)


@dataclass
class Keeper:
    """Keeps versions of files in one session."""

    store: Store
    session_id: int
    row_id: int

    async def keep(self, path: str, *contents: bytes | None) -> None:
        def unit(tx: Tx) -> None:
            for content in contents:
                self.keep_in(tx, path, content)

        await self.store.write(unit)

    def keep_in(self, tx: Tx, path: str, content: bytes | None) -> None:
        kept = None if content is None else compressed(content.hex(), content)
        before = Before(pathname=path, content=kept, mode=None, after_sha256=None)
        file_versions.keep(tx, session_id=self.session_id, log_entry_id=self.row_id, project_root=ROOT, before=before)

    async def kept(self, path: str) -> Sequence[str | None]:
        """The contents of its versions, newest first, as their names say."""
        versions = await self.store.read(lambda db: file_versions.history(db, self.session_id, ROOT, path))
        return [version.sha256 for version in versions]

    async def held_bytes(self) -> int:
        """What the session is said to hold, which is what its versions hold."""

        def unit(db: apsw.Connection) -> tuple[int, int]:
            ((said, held),) = query(
                db,
                "SELECT versions_bytes, (SELECT coalesce(sum(length(c.data)), 0) FROM file_versions v"
                " JOIN file_contents c ON c.sha256 = v.sha256 WHERE v.session_id = s.id) FROM sessions s WHERE id = ?",
                (self.session_id,),
            )
            return said, held

        said, held = await self.store.read(unit)
        assert said == held
        return said


async def keeper(store: Store, name: str | None = None) -> Keeper:
    session, run = await new_session(store, name)

    def row(tx: Tx) -> int:
        turn = begin_turn(tx, run)
        added = log.add(tx, turn, Send(signal=200), origin="model", result=OpResult(status=200))
        loops.end(tx, turn.loop_id, loops.DONE, None)
        return added.id

    return Keeper(store, session.id, await store.write(row))


@asynccontextmanager
async def keeping(folder: Path) -> AsyncIterator[Keeper]:
    async with opened(folder / "p.db") as store:
        yield await keeper(store)


def noise() -> bytes:
    """What does not become smaller by compression: 1,011 bytes of it are kept."""
    return CHANCE.randbytes(1000)


async def contents(store: Store) -> int:
    return await store.read(lambda db: integer(db, "SELECT count(*) FROM file_contents"))


@pytest.mark.spec("5.2-undo")
async def test_of_a_file_the_newest_are_kept_and_nothing_else_holds_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_versions, "KEPT_PER_FILE", 3)
    async with keeping(tmp_path) as keep:
        await keep.keep("other", b"first")
        await keep.keep("a", b"first", None, b"second", b"third", b"second")
        assert await keep.kept("a") == [b"second".hex(), b"third".hex(), b"second".hex()]
        assert await keep.kept("other") == [b"first".hex()]
        assert await contents(keep.store) == 3
        await keep.keep("a", None, None, None)
        assert await contents(keep.store) == 1


@pytest.mark.spec("5.2-undo")
async def test_of_a_session_as_many_bytes_are_kept_as_it_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_versions, "KEPT_BYTES", 3 * len(compressed("", noise()).data))
    async with keeping(tmp_path) as keep:
        other = await keeper(keep.store, "other")
        await other.keep("a", noise(), noise(), noise())
        some = [noise() for _ in range(5)]
        await keep.keep("a", some[0], None, some[1])
        await keep.keep("b", some[2])
        assert len(await keep.kept("a")) == 3
        await keep.keep("b", some[3])
        assert await keep.kept("a") == [some[1].hex(), None]
        await keep.keep("b", some[4])
        assert (await keep.kept("a"), len(await keep.kept("b"))) == ([], 3)
        assert await keep.held_bytes() <= file_versions.KEPT_BYTES
        assert len(await other.kept("a")) == 3
        # The newest is kept whatever it holds: it is the way back from the write that is about to be done.
        large = CHANCE.randbytes(file_versions.KEPT_BYTES + 1)
        await keep.keep("b", large)
        assert await keep.kept("b") == [large.hex()]
        await keep.keep("b", some[0])
        assert await keep.kept("b") == [some[0].hex()]
        assert await contents(keep.store) == 4


@pytest.mark.spec("5.2-undo")
async def test_what_is_said_to_be_held_is_held_whatever_takes_versions_away(tmp_path: Path) -> None:
    async with keeping(tmp_path) as keep:
        other = await keeper(keep.store, "other")
        shared = noise()
        await keep.keep("a", shared, noise(), None, shared)
        await other.keep("a", shared)
        assert await keep.held_bytes() > 3000
        await keep.store.write(lambda tx: file_versions.forget(tx, keep.row_id))
        assert await keep.held_bytes() == 0
        await keep.keep("a", shared, noise())
        assert await keep.store.write(lambda tx: sessions.delete(tx, keep.session_id))
        assert await contents(keep.store) == 1
        assert await other.held_bytes() > 1000


async def test_the_price_of_keeping_does_not_grow_with_what_is_kept(tmp_path: Path) -> None:
    """Steps of the database's machine, which are the same everywhere."""
    async with keeping(tmp_path) as keep:

        def counted(tx: Tx) -> int:
            steps = 0

            def count() -> bool:
                nonlocal steps
                steps += 1
                return False

            tx.db.set_progress_handler(count, 10)
            try:
                keep.keep_in(tx, "a", noise())
            finally:
                tx.db.set_progress_handler(None)
            return steps

        def fill(first: int, tx: Tx) -> None:
            for n in range(first, first + 300):
                keep.keep_in(tx, f"file{n}", noise())

        few = await keep.store.write(counted)
        for number in range(0, 600, 300):
            await keep.store.write(partial(fill, number))
        many = await keep.store.write(counted)
        assert many < 2 * few
