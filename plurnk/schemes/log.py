"""log:// – the run's own history, by coordinates ``L/T/S[/OP]`` (SPEC 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from plurnk.content import lines, mimetypes
from plurnk.content.canonical import canonical_json
from plurnk.errors import Malformed, NotFound
from plurnk.language.ast import Find, Hide, LineMarker, OpName, Read, Show, Target
from plurnk.language.targets import entry_pathname
from plurnk.plugins.api import Call, Handler, Manifest, Unit
from plurnk.schemes import selection
from plurnk.store import log as rows
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry
from plurnk.wire.results import OpResult


class LogScheme:
    """Reading, finding, showing and hiding rows of the calling run. Nobody writes it but the engine."""

    manifest = Manifest(
        name="log",
        channels={},
        default_channel=None,
        writable_by=frozenset({"system"}),
        effects="none",
        category="system",
    )

    def __init__(self) -> None:
        self.handlers: Mapping[OpName, Handler] = {
            "FIND": self.find,
            "READ": self.read,
            "SHOW": self.show,
            "HIDE": self.hide,
        }

    async def find(self, call: Call) -> OpResult:
        statement = call.statement
        assert isinstance(statement, Find)
        wanted = selection.wanted(_path(statement.target), None, statement.body)

        def unit(db: Snapshot) -> OpResult:
            paths = [path for _id, path in rows.coordinates(db, call.turn.run_id)]
            found = selection.matching(paths, wanted)
            return selection.listing([f"log://{path}" for path in found], statement.line_marker)

        return await call.store.read(unit)

    async def read(self, call: Call) -> OpResult:
        statement = call.statement
        assert isinstance(statement, Read)
        path = _path(statement.target)
        row = await call.store.read(lambda db: _row(db, call.turn, path))
        if row is None:
            raise NotFound(f"log://{path} is not there")
        content, mimetype = unwrap(row)
        return _sliced(content, mimetype, statement.line_marker)

    async def show(self, call: Call) -> Unit:
        assert isinstance(call.statement, Show)
        return partial(_toggle, call.turn, call.statement, hidden=False)

    async def hide(self, call: Call) -> Unit:
        assert isinstance(call.statement, Hide)
        return partial(_toggle, call.turn, call.statement, hidden=True)


def unwrap(row: LogEntry) -> tuple[str, str]:
    """What READ of a row gives: its result's content with that mimetype, else the result as JSON."""
    content = row.rx.get("content")
    if isinstance(content, str):
        return content, str(row.rx.get("mimetype", mimetypes.PLAIN))
    return canonical_json(row.rx), mimetypes.JSON


def _path(target: Target | None) -> str:
    if target is None:
        raise Malformed("a target such as log://1/2/3 is needed")
    return entry_pathname(target)


def _row(db: Snapshot, turn: TurnRef, path: str) -> LogEntry | None:
    parts = path.split("/")
    if len(parts) not in (3, 4) or not all(part.isdecimal() and len(part) < 10 for part in parts[:3]):
        raise Malformed(f"log://{path} is no row: expected log://LOOP/TURN/OP-NUMBER, such as log://1/2/3")
    row = rows.at(db, turn.run_id, *(int(part) for part in parts[:3]))
    return None if row is None or (len(parts) == 4 and parts[3] != row.op) else row


def _sliced(content: str, mimetype: str, marker: LineMarker | None) -> OpResult:
    if marker is None:
        return OpResult(status=200 if content else 204, content=content, mimetype=mimetype, start_line=1)
    part = lines.slice_lines(content, marker)
    return OpResult(status=200 if part.count else 204, content=part.text, mimetype=mimetype, start_line=part.start_line)


def _toggle(turn: TurnRef, statement: Show | Hide, tx: Tx, *, hidden: bool) -> OpResult:
    path = _path(statement.target)
    wanted = selection.wanted(path, None, statement.body)
    if wanted.is_one_path and statement.line_marker is None and not path.endswith("/"):
        row = _row(tx.db, turn, path)
        if row is None:
            raise NotFound(f"log://{path} is not there")
        ids = [row.id]
    else:
        by_path = {found: row_id for row_id, found in rows.coordinates(tx.db, turn.run_id)}
        chosen = selection.page(selection.matching(list(by_path), wanted), statement.line_marker)
        ids = [by_path[found] for found in chosen]
    changed = rows.set_hidden(tx, ids, hidden=hidden)
    return OpResult(status=200 if changed else 304, matches=len(ids))


log = LogScheme()
