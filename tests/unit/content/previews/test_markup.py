"""Previews of HTML and XML (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.markup import html, xhtml, xml
from plurnk.content.previews.outline import Handler

PAGE = (
    "<!DOCTYPE html>\n"
    "<html lang=en>\n"
    "<head><meta charset=utf-8><title>The\n"
    " page</title><style>h1 {}</style></head>\n"
    "<body>\n"
    '<header class="top wide big"><nav id=menu><ul><li>a</ul></nav></header>\n'
    "<main>\n"
    "<h1>Hello <b>you</b></h1>\n"
    "<p>text\n"
    "<div class=x><section id=s1><h2>First</h2></section></div>\n"
    "<div id=end>&copy;</div>\n"
)
FEED = (
    '<?xml version="1.0" encoding="latin-1"?>\n'
    '<feed xmlns="u" xmlns:d="v">\n'
    "  <title>News é</title>\n"
    "  <!-- c -->\n"
    '  <d:entry id="1"><title>A</title></d:entry>\n'
    "  <item><name>x</name><name>y</name></item>\n"
    "  <item/>\n"
    "  <item/>\n"
    '  <field name="q"/>\n'
    '  <field name="r"/>\n'
    "</feed>\n"
)


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            500,
            (
                "3:\ttitle: The page\n"
                "6:\t  header.top.wide\n"
                "6:\t    nav#menu\n"
                "6:\t      ul\n"
                "7:\t  main\n"
                "8:\th1: Hello you\n"
                "10:\t    section#s1\n"
                "10:\t  h2: First\n"
                "11:\t    div#end"
            ),
        ),
        (100, "3:\ttitle: The page\n6:\t  header.top.wide\n7:\t  main\n8:\th1: Hello you\n10:\t  h2: First\n… 4 more"),
        (45, "3:\ttitle: The page\n8:\th1: Hello you\n… 7 more"),
    ],
)
def test_a_page_is_its_title_headings_and_divisions(budget_chars: int, expected: str) -> None:
    assert html.preview(PAGE, budget_chars) == expected


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            500,
            (
                "2:\tfeed\n"
                "3:\t  title: News é\n"
                "5:\t  d:entry id=1\n"
                "5:\t    title: A\n"
                "6:\t  item × 3\n"
                "6:\t    name × 2: x\n"
                "9:\t  field name=q\n"
                "10:\t  field name=r"
            ),
        ),
        (90, "2:\tfeed\n3:\t  title: News é\n5:\t  d:entry id=1\n6:\t  item × 3\n9:\t  field name=q\n… 3 more"),
        (30, "2:\tfeed\n… 7 more"),
    ],
)
def test_xml_is_its_elements(budget_chars: int, expected: str) -> None:
    assert xml.preview(FEED, budget_chars) == expected


def test_a_page_needs_no_body() -> None:
    page = "<title>T</title>\n<main>\n<h1>A</h1>\n<p>b\n</main>\n"
    assert html.preview(page, 60) == "1:\ttitle: T\n2:\t  main\n3:\th1: A"


def test_xhtml_is_a_page_and_svg_and_rss_are_xml() -> None:
    assert xml.preview('<svg viewBox="0 0 1 1"><path d="M0"/><path d="M1"/></svg>', 60) == "1:\tsvg\n1:\t  path × 2"
    assert xhtml.preview("<html><h2>A<br/>B</h2></html>", 60) == "1:\t  h2: AB"
    assert xml.preview("<rss><channel><item><a/></rss>", 60) == "1:\trss\n1:\t  channel\n1:\t    item\n1:\t      a"


@pytest.mark.parametrize("content", ["no markup", "", "\0", "<!-- -->"])
@pytest.mark.parametrize("handler", [html, xml])
def test_without_elements_there_is_the_head(handler: Handler, content: str) -> None:
    assert handler.preview(content, 99) == content


def test_declared_entities_are_not_even_read() -> None:
    content = '<!DOCTYPE a [<!ENTITY b "secret">]>\n<a>&b;</a>\n'
    assert xml.preview(content, 99) == content.rstrip()
