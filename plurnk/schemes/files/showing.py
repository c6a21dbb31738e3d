"""SHOW and HIDE of files: which of them stand in the run's index (SPEC 2.4, 5.1)."""

from __future__ import annotations

from collections import Counter
from functools import partial

from plurnk.content import globs
from plurnk.errors import Malformed, NotFound, TooLarge, UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.reading import look
from plurnk.language.ast import Hide, Show
from plurnk.plugins.api import Call, OpResult, Tx, Unit
from plurnk.schemes import selection
from plurnk.schemes.files import registered
from plurnk.schemes.files.finding import having, scope_of, select
from plurnk.schemes.files.project import Project, path_of, project_of, source_of
from plurnk.schemes.matching import match_limit
from plurnk.schemes.selection import Wanted
from plurnk.store import entries
from plurnk.store.entries import Entry
from plurnk.store.query import Snapshot

SHOWN_AT_ONCE: int = 500
"""As many as a packet has tiles for: who shows all of a large project has seen nothing of it."""

CANCEL = 499


async def show(call: Call) -> Unit:
    statement = call.statement
    assert isinstance(statement, Show)
    project, wanted = await _wanted(call, statement, statement.signal)
    if wanted.is_one_path and statement.line_marker is None:
        paths = [wanted.scope.removesuffix("/")]
    else:
        found = await select(call, project, wanted)
        paths = list(selection.page(found.paths, statement.line_marker))
    if len(paths) > SHOWN_AT_ONCE:
        raise TooLarge(f"these are {len(paths)} files; SHOW takes {SHOWN_AT_ONCE} at most")
    types = await project.on_thread(partial(_types, paths))

    def unit(tx: Tx) -> OpResult:
        shown = [registered.register(tx, call.turn.session_id, path, kind) for path, kind in types.items()]
        changed = entries.index(tx, call.turn.run_id, [channel.id for channel in shown])
        return OpResult(status=200 if changed else 304, matches=len(shown))

    return unit


async def hide(call: Call) -> Unit:
    """Take out of the index. Only files that are registered can be in it, also those that are gone from the disk."""
    statement = call.statement
    assert isinstance(statement, Hide)
    if isinstance(statement.signal, int) and statement.signal != CANCEL:
        raise Malformed(f"HIDE takes tags or 499, not {statement.signal}")
    tags = statement.signal if isinstance(statement.signal, tuple) else ()
    project, wanted = await _wanted(call, statement, tags)
    if wanted.is_one_path and statement.line_marker is None:
        chosen = await _one(call, project, wanted.scope.removesuffix("/"))
    else:
        chosen = list(selection.page(await _registered(call, project, wanted), statement.line_marker))

    def unit(tx: Tx) -> OpResult:
        changed = entries.archive(tx, call.turn.run_id, registered.channel_ids(tx.db, chosen))
        return OpResult(status=200 if changed else 304, matches=len(chosen))

    return unit


async def _wanted(call: Call, statement: Show | Hide, tags: tuple[str, ...] | None) -> tuple[Project, Wanted]:
    project = project_of(call)
    scope = await scope_of(project, path_of(statement.target))
    wanted = selection.wanted(scope, tags, statement.body)
    return project, wanted


async def _one(call: Call, project: Project, path: str) -> list[Entry]:
    """The entry of a file, if it has one.

    Raises:
        NotFound: neither the store nor the disk has it.
    """
    entry = await call.store.read(lambda db: entries.find(db, call.turn.session_id, None, path))
    if entry is not None:
        return [entry]
    await project.on_thread(partial(_types, [path]))
    return []


async def _registered(call: Call, project: Project, wanted: Wanted) -> list[Entry]:
    session_id, prefix = call.turn.session_id, globs.literal_prefix(wanted.scope)

    def named(db: Snapshot) -> dict[str, Entry]:
        by_path = {entry.pathname: entry for entry in registered.listing(db, session_id, prefix, wanted.tags)}
        return {path: by_path[path] for path in selection.matching(list(by_path), wanted)}

    found = await call.store.read(named)
    if wanted.content is None:
        return list(found.values())
    with match_limit(call):
        return [found[path] for path in await having(call, project, wanted.content, list(found), Counter())]


def _types(paths: list[str], root: Root) -> dict[str, str]:
    """The types of files.

    Raises:
        NotFound: there is no such file, and it was the only one.
        UnsupportedType: a directory.
    """
    types: dict[str, str] = {}
    for path in paths:
        try:
            types[path] = _type(root, path)
        except NotFound:
            if len(paths) == 1:
                raise
    return types


def _type(root: Root, path: str) -> str:
    if look(root, path).kind == "directory":
        raise UnsupportedType(f"{path} is a directory; name files in it, as with {path or '.'}/**")
    with source_of(root, path) as source:
        return source.mimetype
