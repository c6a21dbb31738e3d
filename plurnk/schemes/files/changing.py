"""EDIT of files, and SEND, which deletes them: worked out on what is on disk now, then proposed (SPEC 2.4, 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from plurnk.content import diffs, mimetypes, parts
from plurnk.errors import Conflict, Malformed, NotFound, TooLarge, Unsupported, UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.reading import look
from plurnk.language.ast import Edit, LineMarker, Send, Target, UrlTarget
from plurnk.language.targets import VERSION
from plurnk.plugins.api import Call, OpResult, Proposal, Tx, Unit
from plurnk.schemes.disk import Change
from plurnk.schemes.files import registered
from plurnk.schemes.files.project import FILE_MAX_BYTES, Project, content_of, path_of, project_of, real_path, type_of
from plurnk.schemes.files.proposing import Intent, Record, proposal
from plurnk.store import entries, file_versions

GONE, CANCEL = 410, 499


@dataclass(frozen=True, slots=True)
class _Planned:
    """What a file, named ``path``, would become."""

    path: str
    mimetype: str
    change: Change
    may_be_edited: bool = True


async def edit(call: Call) -> Unit | Proposal:
    statement = call.statement
    assert isinstance(statement, Edit)
    project = project_of(call)
    path = path_of(statement.target)
    version = _version(statement.target)
    if version is not None:
        planned = await _restored(call, project, statement, path, version)
    else:
        body = statement.body or ""
        planned = await project.on_thread(partial(_edited, path, body.encode(), statement.line_marker))
    return await _written(call, planned, statement.signal or ())


async def _written(call: Call, planned: _Planned, tags: Sequence[str]) -> Unit | Proposal:
    """The proposal; where the file stays what it is, what there is to do for its entry."""
    path, change = planned.path, planned.change
    if change.new is None:
        if change.base is None:
            raise NotFound(f"{path} is not there, as it was not then")
        return await _deleted(call, path, change)

    def registered_as(tx: Tx, status: int, diff: str | None = None) -> OpResult:
        channel = registered.register(tx, call.turn.session_id, path, planned.mimetype)
        if entries.add_tags(tx, channel.entry_id, tags) and status == 304:
            status = 200
        entries.index(tx, call.turn.run_id, [channel.id])
        return OpResult(status=status, entry_id=channel.entry_id, channel=channel.name, diff=diff)

    if change.base == change.new:
        return partial(registered_as, status=304)

    def prepare(made: Change) -> Record:
        if made.base is None:
            # Whoever wrote it knows what is in it, unless somebody else has changed it.
            diff = _diff(made, path) if made.new != change.new else None
            return partial(registered_as, status=201, diff=diff)
        return partial(registered_as, status=304 if made.new == made.base else 200, diff=_diff(made, path))

    intent = Intent(
        kind="create" if change.base is None else "edit",
        change=change,
        may_be_edited=planned.may_be_edited,
    )
    return await proposal(call, intent, prepare)


def _diff(made: Change, path: str) -> str | None:
    return diffs.readable(made.base or b"", made.new or b"", path) or None


def _edited(path: str, body: bytes, marker: LineMarker | None, root: Root) -> _Planned:
    """What EDIT makes of the file.

    Raises:
        UnsupportedType: it is no text, or no file.
        NoSuchRange, Malformed: the marker, or the body, does not fit.
        TooLarge: it would be.
    """
    path = root.locate(path)
    real = real_path(root, path)
    found = content_of(root, path)
    if found is None:
        new = body
        mimetype = type_of(path, new)
    else:
        mimetype = type_of(path, found.data)
        if not mimetypes.is_text(mimetype, found.data):
            raise UnsupportedType(f"{path} is {mimetype}, which EDIT cannot change")
        new = body if marker is None else parts.edited(found.data, marker, body.decode(), mimetype)
    if len(new) > FILE_MAX_BYTES:
        raise TooLarge(f"a file that is written has at most {FILE_MAX_BYTES} bytes")
    return _Planned(path, mimetype, Change(path=real, base=None if found is None else found.data, new=new))


# -- a version that was kept


def _version(target: Target | None) -> int | None:
    """The number of the version that EDIT is to bring back.

    Raises:
        Malformed: that is no number.
    """
    asked = target.params.get(VERSION) if isinstance(target, UrlTarget) else None
    if asked is None:
        return None
    if not isinstance(asked, str) or not asked.isascii() or not asked.isdecimal() or len(asked) > 18:
        raise Malformed("a version is a number, as file.history lists it")
    return int(asked)


async def _restored(call: Call, project: Project, statement: Edit, path: str, version: int) -> _Planned:
    if statement.body or statement.line_marker is not None:
        raise Malformed("a version comes back as it was: EDIT of one has no lines and no body")
    path, real = await project.on_thread(lambda root: (root.locate(path), real_path(root, root.locate(path))))
    kept = await call.store.read(
        lambda db: file_versions.content(db, call.turn.session_id, project.root, real, version)
    )
    found = await project.on_thread(lambda root: content_of(root, path))
    base = None if found is None else found.data
    change = Change(path=real, base=base, new=kept.data, mode=kept.mode)
    return _Planned(path, type_of(path, kept.data or b""), change, may_be_edited=False)


# -- SEND


async def send(call: Call) -> Unit | Proposal | OpResult:
    statement = call.statement
    assert isinstance(statement, Send)
    project = project_of(call)
    path = path_of(statement.target)
    if statement.signal == CANCEL:
        await project.on_thread(lambda root: look(root, path))
        raise Conflict(f"{path} has no live stream")
    if statement.signal != GONE:
        raise Unsupported(f"files do not take SEND[{statement.signal}]; 410 deletes one")

    def found(root: Root) -> tuple[str, Change]:
        located = root.locate(path)
        content = content_of(root, located)
        if content is None:
            raise NotFound(f"{located} is not there")
        return located, Change(path=real_path(root, located), base=content.data, new=None)

    return await _deleted(call, *await project.on_thread(found))


async def _deleted(call: Call, path: str, change: Change) -> Proposal:
    def record(tx: Tx) -> OpResult:
        registered.forget(tx, call.turn.session_id, path)
        return OpResult(status=200)

    intent = Intent(kind="delete", change=change)
    return await proposal(call, intent, lambda _made: record)
