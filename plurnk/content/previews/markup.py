"""HTML and XML: the elements, nested, with what names them (SPEC 2.8).

Of HTML that is the title, the headings at the depth of their level, and the elements that divide a page
or have an id. Of XML it is every element, where the first of several alike in a row stands for all.
A document that declares entities is not parsed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Final, TypeAlias, cast

from lxml import etree

from plurnk.content.previews.outline import MAX_TEXT_CHARS, Handler, Symbol, one_line, outline

_Element: TypeAlias = etree._Element  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it has no other name

_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_DIVISIONS: Final = frozenset(
    {"article", "aside", "dialog", "dl", "figure", "footer", "form", "header"}
    | {"main", "nav", "ol", "section", "table", "ul"}
)
_SKIPPED: Final = frozenset({"head", "script", "style", "svg", "template"})
# Attributes by which elements of one tag are told apart.
_NAMING: Final = ("id", "{http://www.w3.org/XML/1998/namespace}id", "name")


def html_symbols(data: bytes) -> Iterator[Symbol]:
    """The title, the headings and the divisions of a page, however broken.

    Raises:
        etree.LxmlError: there is nothing in it.
    """
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    root = _parsed(data, parser)
    if (title := root.find("head/title")) is not None:
        yield _symbol(title, 0, "title", _text(title))
    below = [(root, 0)]
    while below:
        element, depth = below.pop()
        tag = _tag(element)
        if tag in _HEADINGS:
            yield _symbol(element, int(tag[1]) - 1, tag, _text(element))
        elif tag not in _SKIPPED:
            if tag in _DIVISIONS or element.get("id"):
                yield _symbol(element, depth, tag + _selector(element))
                depth += 1
            below.extend((child, depth) for child in reversed(element))


def xml_symbols(data: bytes) -> Iterator[Symbol]:
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
    below = [(_parsed(data, parser), 0, 1)]
    while below:
        element, depth, count = below.pop()
        text = "" if len(element) else _text(element)
        yield _symbol(element, depth, _label(element) + (f" × {count}" if count > 1 else ""), text)
        runs = [list(run) for _, run in groupby(element, _label)]
        below.extend((run[0], depth + 1, len(run)) for run in reversed(runs))


def _parsed(data: bytes, parser: etree.XMLParser | etree.HTMLParser) -> _Element:
    # A parser that recovers makes nothing of nothing, which the stubs do not know.
    root = cast("_Element | None", etree.fromstring(data, parser))
    if root is None:
        raise etree.LxmlError("no element")
    return root


def _symbol(element: _Element, depth: int, label: str, text: str = "") -> Symbol:
    return Symbol(element.sourceline or 1, depth, one_line(f"{label}: {text}" if text else label))


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


def _preview(content: str, budget_chars: int, symbols: Callable[[bytes], Iterator[Symbol]]) -> str:
    if "<!ENTITY" in content:
        return ""
    try:
        return outline(tuple(symbols(content.encode())), budget_chars)
    except etree.LxmlError:
        return ""


html: Final = Handler("text/html", partial(_preview, symbols=html_symbols))
xhtml: Final = Handler("application/xhtml+xml", partial(_preview, symbols=html_symbols))
xml: Final = Handler("application/xml", partial(_preview, symbols=xml_symbols))
