"""JSONPath (RFC 9535) over JSON documents (SPEC 2.6), by the ``jsonpath_rfc9535`` library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathNode
from jsonpath_rfc9535.exceptions import JSONPathError, JSONPathRecursionError

from plurnk.content.lines import Insertion, Span
from plurnk.content.matching.json_source import JsonSource
from plurnk.content.matching.passage import text_of
from plurnk.content.matching.rows import Row, encode
from plurnk.content.matching.subject import Subject
from plurnk.content.mimetypes import is_json
from plurnk.errors import Malformed, Unreadable, UnsupportedType
from plurnk.language.ast import JsonpathMatcher


class _Environment(JSONPathEnvironment):
    # The library's 100 is less than documents have; twice this and more is the interpreter's own bound.
    max_recursion_depth = 400


_ENVIRONMENT: Final = _Environment()


def rows(matcher: JsonpathMatcher, subject: Subject, max_chars: int) -> list[Row]:
    """A row for each node in the order of the path, but not many more than fit into ``max_chars``.

    With a marker the path is run on the array of the items that it names, and ``matching`` is
    relative to that array; lines are those of the source all the same.

    Raises:
        UnsupportedType: not JSON.
        Unreadable: broken JSON, or too deep.
        Malformed: a number in the path is too large.
        NoSuchRange: the marker names what is not there.
    """
    source, span = _read(subject)
    shown = _affordable(_nodes(matcher, source, span), max_chars)
    lines = source.lines([node.location for node in shown], span if isinstance(span, Span) else None)
    return [Row(line, node.value, node.path()) for line, node in zip(lines, shown, strict=True)]


def has_match(matcher: JsonpathMatcher, subject: Subject) -> bool:
    """Whether there is a node; raises as ``rows``."""
    return next(_nodes(matcher, *_read(subject)), None) is not None


def _read(subject: Subject) -> tuple[JsonSource, Span | Insertion | None]:
    if not is_json(subject.mimetype):
        raise UnsupportedType(f"a jsonpath applies to JSON, not to {subject.mimetype}")
    source = JsonSource(text_of(subject))
    return source, None if subject.marker is None else source.resolve(subject.marker)


def _nodes(matcher: JsonpathMatcher, source: JsonSource, span: Span | Insertion | None) -> Iterator[JSONPathNode]:
    if source.is_blank or isinstance(span, Insertion):
        return
    try:
        query = _ENVIRONMENT.compile(matcher.raw)
    except JSONPathError as error:
        raise Malformed(f"broken jsonpath: {error}") from None
    except OverflowError:
        raise Malformed("broken jsonpath: a number too large") from None
    try:
        yield from query.finditer(source.value if span is None else source.items(span))
    except JSONPathRecursionError:
        raise Unreadable("content is nested too deeply") from None


def _affordable(nodes: Iterable[JSONPathNode], max_chars: int) -> list[JSONPathNode]:
    """Nodes whose rows are together longer than ``max_chars``, if there are as many: lines cost only for these."""
    shown: list[JSONPathNode] = []
    chars = 0
    for node in nodes:
        shown.append(node)
        chars += len(encode(Row(0, node.value, node.path())))
        if chars > max_chars:
            break
    return shown
