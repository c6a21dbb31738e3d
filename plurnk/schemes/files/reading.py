"""READ of files, from disk (SPEC 2.4, 5.1). What was read is registered, so that it can be shown in the index."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from plurnk.content import mimetypes
from plurnk.content.globs import has_glob
from plurnk.content.matching.subject import Subject
from plurnk.errors import NotFound, TooLarge
from plurnk.files.beneath import Root
from plurnk.files.reading import look
from plurnk.language.ast import LineMarker, Matcher, Read
from plurnk.plugins.api import Call, OpResult, Tx, Unit
from plurnk.schemes import reading, selection
from plurnk.schemes.files import registered
from plurnk.schemes.files.finding import scope_of, select
from plurnk.schemes.files.project import FILE_MAX_BYTES, Project, path_of, project_of, source_of
from plurnk.schemes.matching import match_limit, rows
from plurnk.schemes.together import read_together


async def read(call: Call) -> Unit:
    statement = call.statement
    assert isinstance(statement, Read)
    project = project_of(call)
    path = (await scope_of(project, path_of(statement.target))).removesuffix("/")
    paths = [path]
    if has_glob(path):
        paths = (await select(call, project, selection.wanted(path, statement.signal, None))).paths
    reads = _Reads(call, project, statement)
    with match_limit(call):
        if paths == [path]:
            result = await reads.one(path, call.read_max_chars)
        else:
            result = await read_together(paths, str, reads.one, call.read_max_chars)

    def unit(tx: Tx) -> OpResult:
        for each, mimetype in reads.done.items():
            registered.register(tx, call.turn.session_id, each, mimetype)
        return result

    return unit


@dataclass(frozen=True, slots=True)
class _Reads:
    """The reads of one operation. ``done``: the files that were read, each with its type."""

    call: Call
    project: Project
    statement: Read
    done: dict[str, str] = field(default_factory=dict[str, str])

    async def one(self, path: str, max_chars: int) -> OpResult:
        call, statement, matcher = self.call, self.statement, self.statement.body
        answer: OpResult | Subject | None
        mimetype, answer = await self.project.on_thread(
            partial(_answer, path, statement.line_marker, matcher, max_chars)
        )
        if statement.signal:
            await self._check_tags(path, frozenset(statement.signal))
        if mimetype is not None:
            self.done[path] = mimetype
        if isinstance(answer, OpResult):
            return answer
        assert matcher is not None
        return reading.rows_result(await rows(call, matcher, answer, max_chars), registered.BODY)

    async def _check_tags(self, path: str, wanted: frozenset[str]) -> None:
        session_id = self.call.turn.session_id
        if not wanted <= set(await self.call.store.read(lambda db: registered.tags(db, session_id, path))):
            raise NotFound(f"{path} does not have the tags {', '.join(sorted(wanted))}")


def _answer(
    path: str, marker: LineMarker | None, matcher: Matcher | None, max_chars: int, root: Root
) -> tuple[str | None, OpResult | Subject | None]:
    """The type of a file, None of a directory; and what READ answers, or what ``matcher`` is to be run on."""
    is_file = look(root, path).kind == "file"
    with source_of(root, path) as source:
        mimetype = source.mimetype if is_file else None
        if not is_file:
            source.mimetype = mimetypes.PLAIN  # names, whatever the directory's own is
        if source.size_bytes > FILE_MAX_BYTES and (matcher is not None or mimetypes.is_json(source.mimetype)):
            raise TooLarge(f"{path} is over {FILE_MAX_BYTES} bytes, too large for a matcher or for items of JSON")
        if matcher is None:
            return mimetype, reading.read(source, marker, max_chars=max_chars)
        return mimetype, reading.subject(source, marker, matcher)
