"""Which resources a FIND, SHOW or HIDE means: a path prefix or glob, tags, a matcher (SPEC 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from plurnk.content import globs, lines
from plurnk.errors import TooLarge
from plurnk.language.ast import GlobMatcher, LineMarker, Matcher
from plurnk.store import entries
from plurnk.store.entries import Entry
from plurnk.store.query import Snapshot
from plurnk.wire.results import OpResult

T = TypeVar("T")

NAMES_MAX_CHARS: int = 4096
"""Of a glob, as of a path. A project has up to 200,000 names, and each costs what the glob is long."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """``scope`` is a glob when it has glob characters, else a prefix; ``tags`` must all be present.

    ``names`` is a glob over paths. ``content`` is a matcher of another dialect, over what is inside.
    """

    scope: str
    tags: frozenset[str]
    names: str | None
    content: Matcher | None

    @property
    def is_one_path(self) -> bool:
        """Nothing but a plain path: SHOW and HIDE then mean exactly that entry."""
        return not globs.has_glob(self.scope) and not self.tags and self.names is None and self.content is None


def wanted(scope: str, tags: Sequence[str] | None, body: Matcher | None) -> Wanted:
    """Put together what the parts of a statement say.

    Raises:
        TooLarge: a glob over names.
    """
    if isinstance(body, GlobMatcher):
        if len(body.raw) > NAMES_MAX_CHARS:
            raise TooLarge(f"a glob over names has at most {NAMES_MAX_CHARS} characters")
        return Wanted(scope, frozenset(tags or ()), body.raw, None)
    return Wanted(scope, frozenset(tags or ()), None, body)


def _one(pathname: str) -> Sequence[str]:
    return (pathname,)


def matching(pathnames: Sequence[str], wanted: Wanted, spellings: Callable[[str], Sequence[str]] = _one) -> list[str]:
    """The pathnames that ``wanted`` selects by name, in their order.

    Among them is one that is spelled just as the scope: names such as ``app/[id].ts`` there are.
    ``spellings`` of a path are all those by which a glob may know it.
    """
    in_scope = _in_scope(wanted.scope)
    named = _named(wanted.names) if wanted.names is not None else None
    return [
        path
        for path in pathnames
        if any(map(in_scope, spellings(path))) and (named is None or any(map(named, spellings(path))))
    ]


def _in_scope(scope: str) -> globs.Matcher:
    if not globs.has_glob(scope):
        return lambda path: path.startswith(scope)
    fits = globs.path_glob(scope)
    return lambda path: path == scope or fits(path)


def _named(names: str) -> globs.Matcher:
    """Without a ``/`` it is a name in any folder, as for ``find -name``."""
    fits = globs.path_glob(names)
    if "/" in names:
        return fits
    return lambda path: fits(path) or fits(path.rpartition("/")[2])


def select(db: Snapshot, session_id: int | None, scheme: str | None, wanted: Wanted) -> list[Entry]:
    """The entries that ``wanted`` selects by name and tags, byte-wise ascending by path."""
    listed = {
        entry.pathname: entry for entry in entries.listing(db, session_id, scheme, globs.literal_prefix(wanted.scope))
    }
    chosen = [listed[path] for path in matching(list(listed), wanted)]
    return [entry for entry in chosen if not wanted.tags or wanted.tags <= set(entries.tags(db, entry.id))]


def page(found: Sequence[T], marker: LineMarker | None) -> Sequence[T]:
    """The part of ``found`` that ``marker`` names.

    Raises:
        NoSuchRange: it names something outside; where nothing was found, every page is as empty.
    """
    span = _span(len(found), marker)
    return found[span.first - 1 : span.last]


def listing(found: Sequence[T], address: Callable[[T], str], marker: LineMarker | None, max_chars: int) -> OpResult:
    """FIND's result: ``matches`` counts all, the text has the page.

    Of a page that does not fit into ``max_chars`` the text has the beginning, at least one address; the
    status is then 206, and ``nextLine`` the number of the result to go on with.
    """
    span = _span(len(found), marker)
    addresses: list[str] = []
    room = max_chars + 1
    for item in found[span.first - 1 : span.last]:
        addresses.append(address(item))
        room -= len(addresses[-1]) + 1
        if room < 0 and len(addresses) > 1:
            addresses.pop()
            break
    next_line = span.first + len(addresses)
    complete = next_line > span.last
    text = "\n".join(addresses)
    return OpResult(
        status=200 if complete else 206,
        results=text,
        content=text,
        mimetype="text/plain",
        next_line=None if complete else next_line,
        matches=len(found),
    )


def _span(total: int, marker: LineMarker | None) -> lines.Span:
    if marker is None or not total:
        return lines.Span(1, total)
    span = lines.resolve(marker, total, noun="result")
    return lines.Span(1, 0) if isinstance(span, lines.Insertion) else span
