"""file.*: what files held before accepted writes, and the way back (SPEC 5.2)"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from plurnk.errors import Malformed, PlurnkError
from plurnk.files.beneath import Root
from plurnk.language.ast import Edit, LocalTarget, Read
from plurnk.language.targets import check_file_targets, entry_pathname, localized, parse_target
from plurnk.schemes.files.project import project_at, real_path
from plurnk.server.attachment import Client, Place
from plurnk.server.handlers.operations import do
from plurnk.server.methods import Handler
from plurnk.store import file_versions, sessions
from plurnk.wire import answers, params
from plurnk.wire.results import OpResult


async def history(client: Client, asked: params.FileHistoryParams) -> answers.FileHistoryResult:
    place = await client.state.place()
    root, path = await _file(client, place, _local(asked.target))
    versions = await client.state.engine.store.read(lambda db: file_versions.history(db, place.session_id, root, path))
    return answers.FileHistoryResult(target=path, versions=tuple(versions))


async def restore(client: Client, asked: params.FileRestoreParams) -> OpResult:
    """Propose to go back, in the way of an EDIT. Answered when that is resolved."""
    local = _local(asked.target)
    try:
        _root, path = await _file(client, await client.state.place(), local)
    except PlurnkError as error:
        if error.status >= 500:
            raise
        return OpResult(status=error.status, error=error.detail)
    return await do(client, Edit(target=parse_target(f"file:///{quote(path)}?version={asked.version}")))


def _local(target: str) -> LocalTarget:
    """Raises:
    Malformed: it names no file.
    """
    read = Read(target=parse_target(target))
    check_file_targets(read)
    local = localized(read).target
    if not isinstance(local, LocalTarget):
        raise Malformed(f"target: expected the path of a file; got {target!r}")
    return local


async def _file(client: Client, place: Place, target: LocalTarget) -> tuple[str, str]:
    """The project's root, and the path in it of the file that ``target`` leads to.

    Raises:
        Malformed: it cannot be a path, or the session has no root.
        NotFound: the root is not there any more, or a link leads to a folder that is not there.
        Denied: it leads out of the project.
    """
    session = await client.state.engine.store.read(lambda db: sessions.get(db, place.session_id))
    project = project_at(session.project_root, client.state.engine.hidden)
    path = entry_pathname(target)

    def real(root: Root) -> str:
        return real_path(root, root.locate(path))

    return project.root, await project.on_thread(real)


HANDLERS: Mapping[str, Handler[Client]] = {
    "file.history": history,
    "file.restore": restore,
}
