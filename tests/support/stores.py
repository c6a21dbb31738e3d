"""Real stores on real files, with their announcements kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw

from plurnk import resources
from plurnk.store import loops, sessions, turns
from plurnk.store.clock import utc_now
from plurnk.store.database import Announcement, Store, Tx, open_store
from plurnk.store.log import TurnRef
from plurnk.store.loops import Defaults, Submission
from plurnk.store.migrate import migrate
from plurnk.store.sessions import Run, Session

DEFAULTS = Defaults(flags="{}", max_turns=10)


@cache
def _new_database() -> bytes:
    """What the migrations make of nothing: the same for every test, so they are run once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        with closing(apsw.Connection(str(path))) as db:
            db.pragma("journal_mode", "wal")
            migrate(db, resources.migrations(), now=utc_now())
        return path.read_bytes()


def _see_there(path: Path) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_new_database())


@asynccontextmanager
async def opened(
    path: Path, announce: Callable[[Sequence[Announcement]], None] = lambda _announced: None
) -> AsyncIterator[Store]:
    _see_there(path)
    async with open_store(path, resources.migrations(), clock=utc_now, announce=announce) as store:
        yield store


async def new_session(store: Store, name: str | None = None) -> tuple[Session, Run]:
    return await store.write(lambda tx: sessions.create(tx, name=name, project_root=None, persona=None))


def begin_turn(tx: Tx, run: Run, prompt: str = "do it") -> TurnRef:
    """A turn of the run's live loop, which is made if there is none."""
    if loops.live(tx.db, run.id) is None:
        loops.submit(tx, run.id, Submission(prompt=prompt), DEFAULTS)
    loop = loops.claim(tx, run.id)
    assert loop is not None
    return turns.begin(tx, loop)
