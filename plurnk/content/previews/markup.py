"""HTML and XML: the elements, nested, with what names them (SPEC 2.8).

Of HTML that is the title, the headings at the depth of their level, and the elements that divide a page
or have an id, one deeper than they are nested. Of XML it is every element, where the first of several alike
in a row stands for all. A document that declares entities is not parsed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, cast

from lxml import etree

from plurnk.content.previews.outline import MAX_TEXT_CHARS, Handler, Part, one_line, outline

_Element: TypeAlias = etree._Element  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it has no other name

_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_DIVISIONS: Final = frozenset(
    {"article", "aside", "dialog", "dl", "figure", "footer", "form", "header"}
    | {"main", "nav", "ol", "section", "table", "ul"}
)
# Not the head: without ``<body>``, a page that begins with an element unknown to HTML 4 is put into it.
_SKIPPED: Final = frozenset({"title", "script", "style", "svg", "template"})
# Attributes by which elements of one tag are told apart.
_NAMING: Final = ("id", "{http://www.w3.org/XML/1998/namespace}id", "name")


@dataclass(slots=True)  # not frozen: there are thousands, and that makes them three times as dear
class _Place:
    element: _Element
    depth: int

    @property
    def line(self) -> int:
        return self.element.sourceline or 1


class _Heading(_Place):
    @property
    def text(self) -> str:
        return _labelled(_tag(self.element), _text(self.element))


class _Division(_Place):
    @property
    def text(self) -> str:
        return one_line(_tag(self.element) + _selector(self.element))


@dataclass(slots=True)
class _Run(_Place):
    """The first of ``count`` elements that are alike."""

    count: int = 1

    @property
    def text(self) -> str:
        label = _label(self.element) + (f" × {self.count}" if self.count > 1 else "")
        return _labelled(label, "" if len(self.element) else _text(self.element))


def html_parts(data: bytes) -> Iterator[Part]:
    """The title, the headings and the divisions of a page, however broken.

    Raises:
        etree.LxmlError: there is nothing in it.
    """
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    root = _parsed(data, parser)
    if (title := root.find("head/title")) is not None:
        yield _Heading(title, 0)
    below = [(root, 1)]  # divisions come after the title and the main heading
    while below:
        element, depth = below.pop()
        tag = str(element.tag)
        if tag in _HEADINGS:
            yield _Heading(element, int(tag[1]) - 1)
        elif tag not in _SKIPPED:
            if tag in _DIVISIONS or element.get("id"):
                yield _Division(element, depth)
                depth += 1
            below.extend((child, depth) for child in reversed(element))


def xml_parts(data: bytes) -> Iterator[Part]:
    """Every element, one for each run of the same; as far as the document can be read.

    Raises:
        etree.LxmlError: it cannot be read at all.
    """
    parser = etree.XMLParser(
        encoding="utf-8",
        recover=True,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    below = [_Run(_parsed(data, parser), 0)]
    while below:
        run = below.pop()
        yield run
        below.extend(reversed(_runs(run.element, run.depth + 1)))


def _runs(parent: _Element, depth: int) -> list[_Run]:
    runs: list[_Run] = []
    latest: tuple[object, ...] = ()
    for child in parent:
        label = (child.tag, *map(child.get, _NAMING))
        if label == latest:
            runs[-1].count += 1
        else:
            runs.append(_Run(child, depth))
            latest = label
    return runs


def _parsed(data: bytes, parser: etree.XMLParser | etree.HTMLParser) -> _Element:
    # A parser that recovers makes nothing of nothing, which the stubs do not know.
    root = cast("_Element | None", etree.fromstring(data, parser))
    if root is None:
        raise etree.LxmlError("no element")
    return root


def _labelled(label: str, text: str) -> str:
    return one_line(f"{label}: {text}" if text else label)


def _text(element: _Element) -> str:
    """The beginning of the text in ``element``."""
    text = ""
    for part in element.itertext():
        text = f"{text}{part[: 4 * MAX_TEXT_CHARS]}".lstrip()
        if len(text) > MAX_TEXT_CHARS:
            break
    return text.strip()


def _tag(element: _Element) -> str:
    tag = str(element.tag).rpartition("}")[2]
    return f"{element.prefix}:{tag}" if element.prefix else tag


def _selector(element: _Element) -> str:
    id_ = element.get("id")
    return (f"#{id_}" if id_ else "") + "".join(f".{name}" for name in element.get("class", "").split()[:2])


def _label(element: _Element) -> str:
    """The tag, and the attribute that tells the element from others of the tag."""
    name = next((f" {key.rpartition('}')[2]}={value}" for key in _NAMING if (value := element.get(key))), "")
    return _tag(element) + name


def _preview(content: str, budget_chars: int, parts: Callable[[bytes], Iterator[Part]]) -> str:
    if "<!ENTITY" in content:
        return ""
    try:
        return outline(tuple(parts(content.encode())), budget_chars)
    except etree.LxmlError:
        return ""


html: Final = Handler("text/html", partial(_preview, parts=html_parts))
xhtml: Final = Handler("application/xhtml+xml", partial(_preview, parts=html_parts))
xml: Final = Handler("application/xml", partial(_preview, parts=xml_parts))
