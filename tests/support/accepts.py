"""Changes of files that a model proposes, and what must be true of each that was accepted, whatever happened then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import apsw

from plurnk.store.query import query

T = TypeVar("T")

OLD: Final = b"old\n" * 20
NEW: Final = "new\n" * 30

Tree = Mapping[str, bytes | None]
"""All that is beneath a root; None: a directory."""


def everything(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


@dataclass(frozen=True, slots=True)
class World:
    """What the project holds, and the note ``known://n``; None: there is none."""

    tree: Tree
    note: str | None = None

    def make(self, root: Path) -> None:
        for name, content in self.tree.items():
            if content is not None:
                (root / name).write_bytes(content)


@dataclass(frozen=True, slots=True)
class Operation:
    """A statement, and the world before and after it."""

    statement: str
    before: World
    after: World
    changed: int = 1
    """So many files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of an operation: the state of its row, the world, and what the store keeps of it.

    ``versions``: how many it kept of what files held before.
    """

    state: str
    world: World
    versions: int
    steps: list[str] = field(default_factory=list[str])

    def check(self, operation: Operation) -> bool:
        """See that it has happened or not, and nothing is left of it; whether it has."""
        happened = self.state == "resolved"
        assert self.world == (operation.after if happened else operation.before), (self, operation.statement)
        assert self.versions == (operation.changed if happened else 0), self
        assert self.steps == []
        return happened


_OLD_FILE: Final = World({"a.txt": OLD})
_NOTHING: Final = World({})
_NOTE: Final = World({}, NEW)

OPERATIONS: Final = {
    "edit": Operation(f"<<EDIT(a.txt):{NEW}:EDIT", _OLD_FILE, World({"a.txt": NEW.encode()})),
    "create": Operation(
        f"<<EDIT(d/e/a.txt):{NEW}:EDIT", _NOTHING, World({"d": None, "d/e": None, "d/e/a.txt": NEW.encode()})
    ),
    "delete": Operation("<<SEND[410](a.txt)::SEND", _OLD_FILE, _NOTHING),
    "file to file": Operation("<<MOVE(a.txt):d/b.txt:MOVE", _OLD_FILE, World({"d": None, "d/b.txt": OLD}), changed=2),
    "note to file": Operation("<<MOVE(known://n):a.txt:MOVE", _NOTE, World({"a.txt": NEW.encode()})),
    "file to note": Operation("<<MOVE(a.txt):known://n:MOVE", _OLD_FILE, World({}, OLD.decode())),
}


def found(db: apsw.Connection, row_id: int, root: Path) -> Found:
    ((state,),) = query(db, "SELECT state FROM log_entries WHERE id = ?", (row_id,))
    notes = query(
        db,
        "SELECT c.data FROM entries e JOIN entry_channels h ON h.entry_id = e.id JOIN channel_chunks c"
        " ON c.channel_id = h.id AND c.generation = h.generation WHERE e.scheme = 'known' AND e.pathname = 'n'",
    )
    ((versions,),) = query(db, "SELECT count(*) FROM file_versions WHERE log_entry_id = ?", (row_id,))
    steps = query(db, "SELECT steps FROM proposals WHERE steps IS NOT NULL")
    note = notes[0][0].decode() if notes else None
    world = World(everything(root), note)
    return Found(state=state, world=world, versions=versions, steps=[text for (text,) in steps])


def look(database: Path, at: Callable[[apsw.Connection], T]) -> T:
    """Look into the database of a daemon, from outside."""
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        return at(db)
