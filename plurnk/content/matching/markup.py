"""XML and HTML as trees whose nodes know their line and their path (SPEC 2.6).

Nothing is loaded and nothing expanded: an XML document that declares an entity is refused before
libxml2 sees it. An encoding that the document claims is of no matter, for it is UTF-8 that is parsed.
"""

from __future__ import annotations

import contextlib
import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias
from xml.parsers import expat

from lxml import etree

from plurnk.errors import Unreadable

# lxml has no public names for its types.
Node: TypeAlias = etree._Element  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
"""An element, a comment or a processing instruction."""
_Tree: TypeAlias = etree._ElementTree  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

_LINE_LIMIT: Final = 65535
"""libxml2 counts lines in 16 bits; this number means "here or later"."""

_WINDOW: Final = 60_000
_NO_NEWLINES: Final = bytes.maketrans(b"\r\n", b"  ")


class Markup:
    """A parsed document; ``tree`` is None for one that is blank, or HTML without any element."""

    def __init__(self, text: str, *, html: bool) -> None:
        """Parse ``text``, HTML as browsers do: whatever it is, it can be read.

        Raises:
            Unreadable: broken XML, or it declares entities.
        """
        self._data = text.encode()
        self._html = html
        if not html and "<!DOCTYPE" in text:
            _refuse_entities(self._data)
        self.tree = self._parse(self._data) if text.strip(" \t\r\n") else None
        self._newlines = [found.start() for found in re.finditer(b"\n", self._data)]
        self._text_numbers: dict[Node, Mapping[Node | None, int]] = {}

    def _parse(self, data: bytes) -> _Tree | None:
        # huge_tree: what is huge was bounded when it was stored, and what swells by entities was refused.
        parser: Any
        if self._html:
            parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True)
        else:
            parser = etree.XMLParser(
                encoding="utf-8",
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                dtd_validation=False,
                huge_tree=True,
            )
        try:
            root = etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            raise Unreadable(f"content is not XML: {error.msg}") from None
        return None if root is None else root.getroottree()

    def lines_of(self, nodes: Iterable[Node]) -> dict[Node, int]:
        """The lines on which ``nodes`` begin (those of HTML elements that nobody wrote: where they were needed)."""
        lines = {node: node.sourceline or 1 for node in nodes}
        if not lines:
            return {}
        if not self._html:
            return {node: _before_text(node, line) for node, line in lines.items()} | self._written_lines(lines)
        far = [node for node, line in lines.items() if line >= _LINE_LIMIT]
        if far:
            lines.update(self._far_lines(far))
        return {node: self._first_line(node, line) for node, line in lines.items()}

    def serialized(self, node: Node) -> str:
        """The markup of ``node`` alone, without the text behind it."""
        return etree.tostring(node, encoding="unicode", method="html" if self._html else "xml", with_tail=False)

    def path_of(self, node: Node) -> str:
        """The XPath that leads to ``node``; elements in a default namespace are ``*[n]``."""
        return node.getroottree().getpath(node)

    def path_of_attribute(self, element: Node, name: str) -> str:
        """The path to the attribute of ``element`` that lxml calls ``name`` (``{namespace}local``)."""
        if name.startswith("{") and not self._html:  # In HTML any character may be part of a name.
            namespace, _, local = name[1:].rpartition("}")
            prefixes = {uri: prefix for prefix, uri in element.nsmap.items() if prefix}
            name = f"{prefixes.get(namespace, 'xml')}:{local}"
        return f"{self.path_of(element)}/@{name}"

    def path_of_text(self, element: Node, after: Node | None) -> str:
        """The path to the text of ``element`` that follows its child ``after``, or that it begins with."""
        if element not in self._text_numbers:
            begins = [None] if element.text else []
            self._text_numbers[element] = {
                child: number for number, child in enumerate([*begins, *(child for child in element if child.tail)], 1)
            }
        numbers = self._text_numbers[element]
        return f"{self.path_of(element)}/text()" + (f"[{numbers[after]}]" if len(numbers) > 1 else "")

    def _written_lines(self, nodes: Container[Node]) -> dict[Node, int]:
        """The lines of XML nodes, by a parser that knows where a tag begins and has no limit."""
        begins: list[int] = []
        parser = expat.ParserCreate("utf-8")

        def begin(*_: object) -> None:
            begins.append(parser.CurrentByteIndex)

        def begin_inside(*_: object) -> None:
            if begins:  # else it is in front of the root element, which the walk below begins with
                begin()

        parser.StartElementHandler = begin
        parser.CommentHandler = parser.ProcessingInstructionHandler = begin_inside
        with contextlib.suppress(expat.ExpatError):  # It knows fewer letters; libxml2's lines must do then.
            parser.Parse(self._data, True)
        written = () if self.tree is None else self.tree.iter(etree.Element, etree.Comment, etree.ProcessingInstruction)
        return {
            node: bisect_left(self._newlines, begin) + 1
            for node, begin in zip(written, begins, strict=False)
            if node in nodes
        }

    def _first_line(self, node: Node, line: int) -> int:
        """The line on which an HTML ``node`` begins; ``line``: on which it ends, for an element its first tag."""
        if not isinstance(node.tag, str):
            return _before_text(node, line)
        begin = self._newlines[line - 2] + 1 if line > 1 else 0
        tag_from = self._data.rfind(b">", 0, begin) + 1
        if self._data.find(b"<", tag_from, begin) < 0:
            return line
        opening = re.compile(rb"<%b(?=[\s/>])([^>]*>)?" % re.escape(node.tag.encode()), re.IGNORECASE)
        end = self._newlines[line - 1] if line <= len(self._newlines) else len(self._data)
        if any(tag[1] for tag in opening.finditer(self._data, begin, end)):
            return line
        for tag in opening.finditer(self._data, tag_from, begin):
            return line - self._data.count(b"\n", tag.start(), begin)
        return line

    def _far_lines(self, nodes: Iterable[Node]) -> dict[Node, int]:
        """The lines of HTML ``nodes`` beyond the limit.

        For each window of lines the document is parsed once more up to the window's end, without the
        newlines in front of it: there is other white space in their place, so the nodes are the same,
        and their lines count from the window.
        """
        wanted = set(nodes)
        by_number = {number: node for number, node in enumerate(self._nodes(self.tree)) if node in wanted}
        lines: dict[Node, int] = {}
        for first in range(_LINE_LIMIT - 2, len(self._newlines), _WINDOW - 1):
            window = self._newlines[first : first + _WINDOW]
            behind = first + _WINDOW
            end = self._newlines[behind] if behind < len(self._newlines) else len(self._data)
            masked = self._data[: window[0]].translate(_NO_NEWLINES) + self._data[window[0] : end]
            for number, node in enumerate(self._nodes(self._parse(masked))):
                if number in by_number and (node.sourceline or 1) > 1:  # On line 1 it is in front of the window.
                    lines[by_number[number]] = first + (node.sourceline or 1)
        return lines

    @staticmethod
    def _nodes(tree: _Tree | None) -> Iterator[Node]:
        return iter(()) if tree is None else tree.iter()


def _before_text(node: Node, line: int) -> int:
    """The line on which a comment or an instruction begins that ends on ``line``; an element's stays."""
    return line if isinstance(node.tag, str) else line - (node.text or "").count("\n")


class _RootReached(Exception):
    """No error: the way out of a parser that calls back."""


def _refuse_entities(data: bytes) -> None:
    """Read the prolog, in which alone entities can be declared, with a parser that expands none.

    libxml2 will not do for this: it takes in the declarations whatever its options are.

    Raises:
        Unreadable: an entity is declared, a parameter entity is used, or the prolog is broken.
    """

    def refuse(*_: object) -> NoReturn:
        raise Unreadable("content declares entities, which are never expanded")

    def look(token: str) -> None:
        if token.startswith("%"):  # What it stands for might declare more, and expat would not tell.
            refuse()

    def stop(*_: object) -> NoReturn:
        raise _RootReached

    parser = expat.ParserCreate("utf-8")
    parser.EntityDeclHandler = refuse
    parser.DefaultHandler = look
    parser.StartElementHandler = stop
    try:
        parser.Parse(data, True)
    except _RootReached:
        return
    except expat.ExpatError as error:
        raise Unreadable(f"content is not XML: {error}") from None
