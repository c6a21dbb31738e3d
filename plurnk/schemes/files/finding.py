"""Which files an operation means: those that git would see, by name, tag and content (SPEC 2.4, 5.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from plurnk.content import globs, mimetypes
from plurnk.content.matching.subject import Subject, applies
from plurnk.errors import PlurnkError
from plurnk.files.beneath import Root
from plurnk.files.reading import look, open_source
from plurnk.files.walking import walk
from plurnk.language.ast import Find, Matcher
from plurnk.plugins.api import Call, OpResult
from plurnk.schemes import selection
from plurnk.schemes.files import registered
from plurnk.schemes.files.project import Project, path_of, project_of, type_of
from plurnk.schemes.matching import batch, having_loaded, match_limit
from plurnk.schemes.reading import SNIFF_BYTES
from plurnk.schemes.selection import Wanted

MATCH_MAX_BYTES: int = 10 * 1024 * 1024
"""A longer file is passed over by a matcher that looks into files."""


@dataclass(frozen=True, slots=True)
class Found:
    """Paths, byte-wise ascending, and how many were passed over for each reason."""

    paths: list[str]
    passed_over: Counter[str]


async def find(call: Call) -> OpResult:
    statement = call.statement
    assert isinstance(statement, Find)
    project = project_of(call)
    wanted = selection.wanted(await scope_of(project, path_of(statement.target)), statement.signal, statement.body)
    found = await select(call, project, wanted)
    result = selection.listing(found.paths, str, statement.line_marker, call.read_max_chars)
    if not found.passed_over:
        return result
    content = "\n".join(filter(None, [result.content, _remark(found.passed_over)]))
    return msgspec.structs.replace(result, content=content)


async def scope_of(project: Project, path: str) -> str:
    """``path`` from the root on, in its one spelling; a "/" at its end, which narrows a prefix, is kept."""

    def located(root: Root) -> str:
        scope = root.locate(path)
        return f"{scope}/" if scope and path.endswith("/") else scope

    return await project.on_thread(located)


async def select(call: Call, project: Project, wanted: Wanted) -> Found:
    """The files that ``wanted`` names, by content too."""
    named = await _named(project, wanted)
    if wanted.tags:
        tagged = await call.store.read(
            lambda db: {entry.pathname for entry in registered.listing(db, call.turn.session_id, "", wanted.tags)}
        )
        named = Found([path for path in named.paths if path in tagged], named.passed_over)
    if wanted.content is None:
        return named
    with match_limit(call):
        paths = await having(call, project, wanted.content, named.paths, named.passed_over)
    return Found(paths, named.passed_over)


async def having(
    call: Call, project: Project, matcher: Matcher, paths: Sequence[str], passed_over: Counter[str]
) -> list[str]:
    """Those of ``paths`` whose content has a match. To be called within ``match_limit``."""

    async def load(some: Sequence[str]) -> Sequence[Subject | None]:
        # An answer of the thread: whoever is cancelled must not find the counts still going up.
        subjects, counts = await project.on_thread(partial(_subjects, some, matcher))
        passed_over.update(counts)
        return subjects

    return await having_loaded(call, matcher, paths, load)


async def _named(project: Project, wanted: Wanted) -> Found:
    walked = await walk(project.root, globs.literal_prefix(wanted.scope), project.hidden)
    paths = await trio.to_thread.run_sync(selection.matching, walked.paths, wanted, abandon_on_cancel=True)
    if globs.has_glob(wanted.scope) and wanted.scope not in paths:
        # What is spelled just so is meant too, also where git ignores it.
        there = await project.on_thread(partial(_is_file, wanted.scope))
        if there and selection.matching([wanted.scope], wanted):
            paths = sorted([*paths, wanted.scope], key=str.encode)
    return Found(paths, Counter({"with a name that cannot be written": walked.unnamed} if walked.unnamed else {}))


def _is_file(path: str, root: Root) -> bool:
    try:
        return look(root, path).kind == "file"
    except PlurnkError:
        return False


def _subjects(paths: Sequence[str], matcher: Matcher, root: Root) -> tuple[list[Subject | None], Counter[str]]:
    passed_over: Counter[str] = Counter()
    return batch(paths, partial(_subject, root, matcher, passed_over)), passed_over


def _subject(root: Root, matcher: Matcher, passed_over: Counter[str], path: str) -> Subject | None:
    """What ``matcher`` is to look into; None, and counted, when it is passed over."""
    by_name = mimetypes.mimetype_of(path, "")
    if by_name and not applies(matcher, by_name):
        return None
    try:
        with open_source(root, path, mimetypes.PLAIN) as source:
            is_too_long = source.size_bytes > MATCH_MAX_BYTES
            data = source.read(SNIFF_BYTES if is_too_long else None)
        mimetype = type_of(path, data)
        if not applies(matcher, mimetype):
            return None
        is_whole = not is_too_long and len(data) <= SNIFF_BYTES
        if not mimetypes.is_text(mimetype, data[:SNIFF_BYTES], complete=is_whole):
            passed_over["binary"] += 1
            return None
        if is_too_long:
            passed_over["over 10 MiB"] += 1
            return None
        return Subject(data=data, mimetype=mimetype)
    except PlurnkError as error:
        if error.status != 404:  # gone since it was listed
            passed_over["that cannot be read"] += 1
        return None


def _remark(passed_over: Counter[str]) -> str:
    total = passed_over.total()
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(passed_over.items()))
    return f"… {total} file{'' if total == 1 else 's'} passed over: {reasons}"
