"""XPath 1.0 over XML and HTML (SPEC 2.6), by libxml2.

Prefixes are those that the root element declares. XPath 1.0 has no default namespace: elements in one
are named through ``local-name()``, or through a second, prefixed declaration.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias, cast

from lxml import etree

from plurnk.content.lines import Insertion, Span, count_lines, resolve
from plurnk.content.matching.markup import Markup, Node
from plurnk.content.matching.passage import text_of
from plurnk.content.matching.rows import Match, Row
from plurnk.content.matching.subject import Subject
from plurnk.content.mimetypes import is_markup
from plurnk.errors import Malformed, UnsupportedType
from plurnk.language.ast import XpathMatcher

_HTML: Final = "text/html"

# lxml's string that knows where it comes from: an attribute, the text in an element or behind ("tail") one.
_Text = etree._ElementUnicodeResult  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
_Namespace: TypeAlias = tuple[str | None, str]


class _NoSuchPrefix(Malformed):
    """The document's root element does not declare a prefix that the expression has."""


class _Found(NamedTuple):
    """A node of the result. ``element`` is the node, or what has it; a namespace has no place, so it has None."""

    line: int
    node: Node | _Text[Node] | _Namespace
    element: Node | None
    markup: Markup
    expression: str

    def row(self) -> Row:
        node, element, markup = self.node, self.element, self.markup
        if isinstance(node, tuple) or element is None:
            return Row(self.line, node[1], self.expression)
        if not isinstance(node, _Text):
            return Row(self.line, markup.serialized(node), markup.path_of(node))
        if node.attrname is not None:
            return Row(self.line, str(node), markup.path_of_attribute(element, node.attrname))
        after = node.getparent() if node.is_tail else None
        return Row(self.line, str(node), markup.path_of_text(element, after))


def matches(matcher: XpathMatcher, subject: Subject) -> Iterator[Match]:
    """A match for each node, in the order of lines; with a marker, for those in the lines that it names.

    Attributes and texts have the line of their element, and ``matching`` is the node's path. Elements,
    comments and processing instructions are serialized. An expression whose value is no node is one
    row at the first line: what XPath's ``string()`` makes of it, with the expression for its path.

    Raises:
        UnsupportedType: neither XML nor HTML.
        Unreadable: broken XML, or it declares entities.
        NoSuchRange: the marker names lines that are not there.
        Malformed: no such prefix, function or variable, or arguments that do not fit.
    """
    text, markup = _read(subject)
    total = count_lines(text)
    span = Span(1, total) if subject.marker is None else resolve(subject.marker, total)
    if isinstance(span, Insertion):
        return
    result = _evaluate(matcher.raw, markup)
    if not isinstance(result, list):
        yield Row(span.first, str(_evaluate(f"string({matcher.raw})", markup)), matcher.raw)
        return
    nodes = [(node, _element_of(node)) for node in cast("list[Node | _Text[Node] | _Namespace]", result)]
    lines = markup.lines_of(element for _, element in nodes if element is not None)
    found = [
        _Found(span.first if element is None else lines[element], node, element, markup, matcher.raw)
        for node, element in nodes
    ]
    found.sort(key=lambda one: one.line)
    yield from (one for one in found if span.first <= one.line <= span.last)


def has_match(matcher: XpathMatcher, subject: Subject) -> bool:
    """Whether there is a node, or the value is true as ``boolean()`` says; with a marker, whether there is a row.

    Not in a document that does not declare a prefix of the expression: others may.

    Raises:
        UnsupportedType, Unreadable, NoSuchRange, Malformed: as ``matches``.
    """
    try:
        if subject.marker is not None:
            return any(True for _ in matches(matcher, subject))
        _, markup = _read(subject)
        return _evaluate(f"boolean({matcher.raw})", markup) is True
    except _NoSuchPrefix:
        return False


def _read(subject: Subject) -> tuple[str, Markup]:
    if not is_markup(subject.mimetype):
        raise UnsupportedType(f"an xpath applies to XML and HTML, not to {subject.mimetype}")
    text = text_of(subject)
    return text, Markup(text, html=subject.mimetype.partition(";")[0].strip().lower() == _HTML)


def _evaluate(expression: str, markup: Markup) -> Any:
    """The value of ``expression``: a list of nodes, or a string, number or boolean."""
    if markup.tree is None:
        return []
    prefixes = {prefix: uri for prefix, uri in markup.tree.getroot().nsmap.items() if prefix}
    try:
        return etree.XPath(expression, namespaces=prefixes, regexp=False)(markup.tree)
    except etree.XPathEvalError as error:
        kind = _NoSuchPrefix if str(error).startswith("Undefined namespace prefix") else Malformed
        raise kind(f"broken xpath: {error}") from None
    except (etree.XPathError, ValueError) as error:  # ValueError: a control character, which no document can have.
        raise Malformed(f"broken xpath: {error}") from None


def _element_of(node: Node | _Text[Node] | _Namespace) -> Node | None:
    if isinstance(node, tuple):
        return None
    if not isinstance(node, _Text):
        return node
    beside = node.getparent()
    return beside.getparent() if beside is not None and node.is_tail else beside
