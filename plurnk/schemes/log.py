"""log:// – the run's own history, by coordinates ``L/T/S[/OP]`` (SPEC 2.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plurnk.content import mimetypes
from plurnk.content.canonical import canonical_json
from plurnk.content.globs import has_glob
from plurnk.content.matching.subject import Subject
from plurnk.errors import Malformed, NotFound
from plurnk.language.ast import Find, Hide, Matcher, OpName, Read, Show, Target, UrlTarget
from plurnk.language.targets import entry_pathname
from plurnk.plugins.api import Call, Handler, Manifest, Unit
from plurnk.schemes import reading, selection
from plurnk.schemes.matching import having, match_limit
from plurnk.schemes.matching import rows as found_rows
from plurnk.schemes.selection import Wanted
from plurnk.schemes.together import read_together
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
        found = await _select(call, selection.wanted(_path(statement.target), statement.signal, statement.body))
        return selection.listing(found, lambda row: _address(row[0]), statement.line_marker, call.read_max_chars)

    async def read(self, call: Call) -> OpResult:
        statement = call.statement
        assert isinstance(statement, Read)
        path = _path(statement.target)
        with match_limit(call):
            if not has_glob(path):
                return await _read(call, statement, call.read_max_chars, path)
            found = await _select(call, selection.wanted(path, statement.signal, None))
            return await read_together(
                [path for path, _id in found],
                _address,
                lambda path, max_chars: _read(call, statement, max_chars, path),
                call.read_max_chars,
            )

    async def show(self, call: Call) -> Unit:
        assert isinstance(call.statement, Show)
        return await _toggle(call, call.statement, hidden=False)

    async def hide(self, call: Call) -> Unit:
        statement = call.statement
        assert isinstance(statement, Hide)
        if isinstance(statement.signal, int):
            raise Malformed(f"HIDE takes tags here, not {statement.signal}: a log row has no stream")
        return await _toggle(call, statement, hidden=True)


def unwrap(row: LogEntry) -> tuple[str, str]:
    """What READ of a row gives: its result's content with that mimetype, else the result as JSON."""
    content = row.rx.get("content")
    if isinstance(content, str):
        return content, str(row.rx.get("mimetype", mimetypes.PLAIN))
    return canonical_json(row.rx), mimetypes.JSON


def _address(path: str) -> str:
    return f"log://{path}"


def _path(target: Target | None) -> str:
    if target is None:
        raise Malformed("a target such as log://1/2/3 is needed")
    if isinstance(target, UrlTarget) and target.fragment:
        raise Malformed(f"log:// has no channels, so none called {target.fragment}")
    return entry_pathname(target)


def _row(db: Snapshot, turn: TurnRef, path: str) -> LogEntry:
    """The row at ``path``.

    Raises:
        Malformed: that is no row's path.
        NotFound: there is no such row.
    """
    parts = path.split("/")
    if len(parts) not in {3, 4} or not all(part.isdecimal() and len(part) < 10 for part in parts[:3]):
        raise Malformed(f"log://{path} is no row: expected log://LOOP/TURN/OP-NUMBER, such as log://1/2/3")
    row = rows.at(db, turn.run_id, *(int(part) for part in parts[:3]))
    if row is None or (len(parts) == 4 and parts[3] != row.op):
        raise NotFound(f"log://{path} is not there")
    return row


async def _read(call: Call, statement: Read, max_chars: int, path: str) -> OpResult:
    """READ of one row. Tags are of entries; a row has none."""
    tags, marker, matcher = statement.signal, statement.line_marker, statement.body

    def source(db: Snapshot) -> reading.MemorySource:
        row = _row(db, call.turn, path)
        if tags:
            raise NotFound(f"log://{path} does not have the tags {', '.join(sorted(tags))}")
        return _source(row)

    if matcher is None:
        return await call.store.read(lambda db: reading.read(source(db), marker, max_chars=max_chars))
    subject = await call.store.read(lambda db: reading.subject(source(db), marker, matcher))
    return reading.rows_result(await found_rows(call, matcher, subject, max_chars), None)


def _source(row: LogEntry) -> reading.MemorySource:
    content, mimetype = unwrap(row)
    return reading.MemorySource(content.encode(), mimetype)


async def _select(call: Call, wanted: Wanted) -> Sequence[tuple[str, int]]:
    """The rows that ``wanted`` names, by content too: paths and ids, oldest first."""
    if wanted.tags:
        return []
    found = await call.store.read(lambda db: _named(db, call.turn, wanted))
    matcher = wanted.content
    if matcher is None:
        return found
    with match_limit(call):
        return await having(call, matcher, found, lambda db, row: _subject(db, row[1], matcher))


def _named(db: Snapshot, turn: TurnRef, wanted: Wanted) -> list[tuple[str, int]]:
    by_path = {path: row_id for row_id, path in rows.coordinates(db, turn.run_id)}
    return [(path, by_path[path]) for path in selection.matching(list(by_path), wanted, _spellings)]


def _spellings(path: str) -> tuple[str, str]:
    """A row's path with its op and without, which is as good."""
    return path, path.rpartition("/")[0]


def _subject(db: Snapshot, row_id: int, matcher: Matcher) -> Subject | None:
    row = rows.get(db, row_id)
    return None if row is None else reading.whole_subject(_source(row), matcher)


async def _toggle(call: Call, statement: Show | Hide, *, hidden: bool) -> Unit:
    path = _path(statement.target)
    tags = statement.signal if isinstance(statement.signal, tuple) else ()
    wanted = selection.wanted(path, tags, statement.body)
    if wanted.is_one_path and statement.line_marker is None and not path.endswith("/"):
        ids = [(await call.store.read(lambda db: _row(db, call.turn, path))).id]
    else:
        ids = [row_id for _path, row_id in selection.page(await _select(call, wanted), statement.line_marker)]

    def unit(tx: Tx) -> OpResult:
        return OpResult(status=200 if rows.set_hidden(tx, ids, hidden=hidden) else 304, matches=len(ids))

    return unit


log = LogScheme()
