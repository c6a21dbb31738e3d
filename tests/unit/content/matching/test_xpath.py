"""XPath rows (SPEC 2.6)."""

from __future__ import annotations

from typing import Any

import pytest

from plurnk.content.matching.evaluation import has_match
from plurnk.content.matching.markup import _LINE_LIMIT
from plurnk.errors import Malformed, NoSuchRange, PlurnkError, Unreadable, UnsupportedType
from plurnk.language.matchers import parse_matcher
from tests.support.matching import rows, run, subject

XML = "application/xml"
HTML = "text/html"

DOC = """<?xml version="1.0"?>
<!-- top -->
<a xmlns:p="urn:p" id="1">
  <b
     p:n="x &lt; y"
     xml:lang="en">one</b>
  <b>two<c/>three<!--
  note --><c/><![CDATA[<four>]]></b><?go
  on?>
  <p:d/>
</a>
"""
# A node that stands alone declares what it was in the scope of.
C, D = '<c xmlns:p="urn:p"/>', '<p:d xmlns:p="urn:p"/>'
DEFAULT = '<a xmlns="urn:a">\n<b id="1"/></a>'

ROWS: list[tuple[str, str, list[tuple[int, str, str]]]] = [
    ("//c", DOC, [(7, C, "/a/b[2]/c[1]"), (8, C, "/a/b[2]/c[2]")]),
    ("//b[. = 'one']/@*", DOC, [(4, "x < y", "/a/b[1]/@p:n"), (4, "en", "/a/b[1]/@xml:lang")]),
    ("//a/@id", DOC, [(3, "1", "/a/@id")]),
    (
        "//b/text()",
        DOC,
        [
            (4, "one", "/a/b[1]/text()"),
            (7, "two", "/a/b[2]/text()[1]"),
            (7, "three", "/a/b[2]/text()[2]"),
            (7, "<four>", "/a/b[2]/text()[3]"),
        ],
    ),
    ("//comment()", DOC, [(2, "<!-- top -->", "/comment()"), (7, "<!--\n  note -->", "/a/b[2]/comment()")]),
    ("//processing-instruction()", DOC, [(8, "<?go on?>", "/a/processing-instruction('go')")]),
    ("//p:d", DOC, [(10, D, "/a/p:d")]),
    ("//b/@p:n", DOC, [(4, "x < y", "/a/b[1]/@p:n")]),
    ("//p:d | //c", DOC, [(7, C, "/a/b[2]/c[1]"), (8, C, "/a/b[2]/c[2]"), (10, D, "/a/p:d")]),
    ("//nothing", DOC, []),
    # The order is that of the lines, and a text has its element's.
    ("//text()", "<a>\n<b>1</b>\n<b>2</b>3</a>", [
        (1, "\n", "/a/text()[1]"), (1, "\n", "/a/text()[2]"), (1, "3", "/a/text()[3]"),
        (2, "1", "/a/b[1]/text()"), (3, "2", "/a/b[2]/text()"),
    ]),
    # A default namespace has no prefix to be named by.
    ("//b", DEFAULT, []),
    ("//*[local-name() = 'b']", DEFAULT, [(2, '<b xmlns="urn:a" id="1"/>', "/*/*")]),
    ("//@id", DEFAULT, [(2, "1", "/*/*/@id")]),
    ("//a/namespace::q", '<a xmlns:q="urn:q"/>', [(1, "urn:q", "//a/namespace::q")]),
    ("//a", "", []),
    ("//a", " \n", []),
]  # fmt: skip


@pytest.mark.spec("2.6-xpath")
@pytest.mark.parametrize(("path", "content", "expected"), ROWS)
def test_rows_of_xml(path: str, content: str, expected: list[tuple[int, str, str]]) -> None:
    _check(path, content, XML, expected)


PAGE = """<!DOCTYPE html>
<title>T</title>
<p
  id=1>a&nbsp;b<br><b>c</b><p
  id=2>d
<!-- note
--><IMG
  alt="x > y"
  src=z>
<?php echo 1 ?>
<a
 href=h><a href=i>"""


@pytest.mark.spec("2.6-xpath")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("//title", [(2, "<title>T</title>", "/html/head/title")]),
        ("//p/@id", [(3, "1", "/html/body/p[1]/@id"), (4, "2", "/html/body/p[2]/@id")]),
        ("//p[@id=1]/text()", [(3, "a\xa0b", "/html/body/p[1]/text()")]),
        ("//br", [(4, "<br>", "/html/body/p[1]/br")]),
        ("//b", [(4, "<b>c</b>", "/html/body/p[1]/b")]),
        ("//comment()[1]", [(6, "<!-- note\n-->", "/html/body/p[2]/comment()[1]")]),
        ("//body/@*", []),
        ("//head/..", [(2, None, "/html")]),
    ],
)
def test_rows_of_html(path: str, expected: list[tuple[int, str | None, str]]) -> None:
    if expected and expected[0][1] is None:  # The whole page; only where it stands is of interest.
        assert [(row["line"], row["matching"]) for row in rows(path, PAGE, HTML)] == [(2, "/html")]
    else:
        _check(path, PAGE, HTML, expected)


def _check(path: str, content: str | bytes, mimetype: str, expected: list[tuple[int, Any, str]]) -> None:
    assert rows(path, content, mimetype) == [
        {"line": line, "matched": matched, "matching": matching} for line, matched, matching in expected
    ]
    assert has_match(parse_matcher(path), subject(content, mimetype)) is bool(expected)


def test_html_attributes_may_have_any_name() -> None:
    found = rows("//@*", "<p @click=1 o:p=2 {a}b=3 {=4>", HTML)
    assert [row["matching"].rpartition("/")[2] for row in found] == ["@@click", "@o:p", "@{a}b", "@{"]


@pytest.mark.parametrize(("mimetype", "content"), [(HTML, ""), (HTML, "<!-- alone -->"), (HTML, "\n"), (XML, "\n")])
def test_nothing_has_no_rows(mimetype: str, content: str) -> None:
    _check("//*", content, mimetype, [])


@pytest.mark.spec("2.6-xpath")
@pytest.mark.parametrize(
    ("expression", "value", "true"),
    [
        ("//b = 2", "true", True),
        ("//b = 4", "false", False),
        ("//b + 0.5", "1.5", True),
        ("//b[3] + 1", "NaN", False),
        ("//b - 1", "0", False),
        ("//b div 0", "Infinity", True),
    ],
)
def test_a_value_that_is_no_node_is_one_row(expression: str, value: str, *, true: bool) -> None:
    content = "<a>\n<b>1</b><b>2</b></a>"
    assert rows(expression, content, XML) == [{"line": 1, "matched": value, "matching": expression}]
    assert rows(expression, content, XML, marker=2) == [{"line": 2, "matched": value, "matching": expression}]
    assert has_match(parse_matcher(expression), subject(content, XML)) is true


@pytest.mark.spec("2.4-read-composition")
@pytest.mark.parametrize(
    ("marker", "lines"),
    [((2, 3), [2, 2, 3]), (3, [3]), ((1, -1), [1, 2, 2, 3, 5]), (4, []), (0, []), (-1, [])],
)
def test_a_marker_chooses_rows_by_their_line(marker: tuple[int, int] | int, lines: list[int]) -> None:
    content = "<a>\n<b/><b/>\n<c\n/>\n<d/></a>\n"
    assert [row["line"] for row in rows("//*", content, XML, marker=marker)] == lines
    assert has_match(parse_matcher("//*"), subject(content, XML, marker=marker)) is bool(lines)
    with pytest.raises(NoSuchRange, match=r"line 6 out of range \(1..5\)"):
        run("//*", content, XML, marker=6)


@pytest.mark.parametrize("mimetype", [XML, HTML])
@pytest.mark.parametrize("extra", [-3, -2, -1, 0, 1, 59_998, 59_999, 60_000, 120_001])
def test_lines_have_no_limit(mimetype: str, extra: int) -> None:
    far = _LINE_LIMIT + extra
    content = "<r>\r\n<b/>" + "\n" * (far - 2) + "<c\n/><d/><!-- \n --><e/></r>"
    found = [(row["line"], row["matching"].rpartition("/")[2]) for row in rows("//r//*|//comment()", content, mimetype)]
    assert found == [(2, "b"), (far, "c"), (far + 1, "d"), (far + 1, "comment()"), (far + 2, "e")]


def test_letters_that_only_libxml2_knows_cost_no_more_than_the_exact_line() -> None:
    # A name of XML 1.0's fifth edition.
    assert [row["line"] for row in rows("//*", "<a>\n<\u2c60/></a>", XML)] == [1, 2]


DECLARATIONS = [
    '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    '<!DOCTYPE a [<!ENTITY x "y">]><a b="&x;"/>',
    '<!DOCTYPE a [<!ENTITY x "y">]><a/>',
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    '<!DOCTYPE a [<!ENTITY x PUBLIC "p" "http://127.0.0.1:9/x">]><a>&x;</a>',
    '<!DOCTYPE a [<!NOTATION n SYSTEM "n"><!ENTITY x SYSTEM "x.gif" NDATA n>]><a/>',
    "<!DOCTYPE a [<!ENTITY % p \"<!ENTITY x 'y'>\"> %p;]><a>&x;</a>",
    '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]><a/>',
    '<!DOCTYPE a SYSTEM "file:///x.dtd" [%u; <!ENTITY x "y">]><a b="&x;"/>',
    '\ufeff<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY x "y">]><a b="&x;"/>',
    '<!DOCTYPE a [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    + ']><a b="&l11;">&l11;</a>',
]


@pytest.mark.spec("2.6-no-xxe")
@pytest.mark.parametrize("content", DECLARATIONS)
def test_entities_are_refused(content: str) -> None:
    with pytest.raises(Unreadable, match="content declares entities, which are never expanded"):
        run("//a", content, XML)
    assert has_match(parse_matcher("//a"), subject(content, XML)) is False


@pytest.mark.spec("2.6-no-xxe")
def test_nothing_outside_is_read(tmp_path: Any) -> None:
    (tmp_path / "d.dtd").write_text('<!ENTITY x "loaded"><!ATTLIST a c CDATA "loaded">')
    content = f'<!DOCTYPE a SYSTEM "file://{tmp_path}/d.dtd"><a b="-&x;-">1&x;2</a>'
    assert rows("//a/@*", content, XML) == [{"line": 1, "matched": "--", "matching": "/a/@b"}]
    assert [row["matched"] for row in rows("//a/text()", content, XML)] == ["1", "2"]
    assert rows("//a[document('d.dtd')]", "<b/>", XML) == []
    with pytest.raises(Malformed, match="broken xpath: Unregistered function"):
        run("//a[document('d.dtd')]", "<a/>", XML)


@pytest.mark.spec("2.6-no-xxe")
def test_html_has_no_entities_of_its_own() -> None:
    content = '<!DOCTYPE html [<!ENTITY x "y">]><p title="&x;">&x;</p>'
    assert [row["matched"] for row in rows("//@title | //p/text()", content, HTML)] == ["&x;", "&x;"]


def test_what_only_looks_like_an_entity_is_none() -> None:
    content = """<!DOCTYPE a [<!ATTLIST a x CDATA "5%;"><!-- <!ENTITY x "y"> %y; --><?p %x; ?>]><a y="%y;">%y;</a>"""
    assert [row["matched"] for row in rows("//@*", content, XML)] == ["%y;"]
    quoted = "<a><![CDATA[<!DOCTYPE a [<!ENTITY x 'y'>]>]]></a>"
    assert len(rows("//a/text()", quoted, XML)) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "unheard-of"])
def test_an_encoding_that_is_claimed_is_of_no_matter(encoding: str) -> None:
    xml = f'<?xml version="1.0" encoding="{encoding}"?>\n<a>é</a>'
    assert [(row["line"], row["matched"]) for row in rows("//text()", xml, XML)] == [(2, "é")]
    html = f"<meta charset={encoding}><p>é"
    assert [row["matched"] for row in rows("//text()", html, HTML)] == ["é"]


def test_what_is_no_utf8_is_a_replacement_character() -> None:
    for mimetype in (XML, HTML):
        assert [row["matched"] for row in rows("//a/text()", b"<a>\xff</a>", mimetype)] == ["\ufffd"]


@pytest.mark.spec("2.6-xpath")
@pytest.mark.parametrize(
    ("content", "mimetype", "error", "detail"),
    [
        ("<a/>", "text/plain", UnsupportedType, "an xpath applies to XML and HTML, not to text/plain"),
        ("<a>\n<b></a>", XML, Unreadable, "content is not XML: Opening and ending tag mismatch: b line 2 and a"),
        ("<a>", "image/svg+xml", Unreadable, "content is not XML: Premature end of data in tag a line 1"),
        ("<a>&nbsp;</a>", XML, Unreadable, "content is not XML: Entity 'nbsp' not defined, line 1, column 10"),
        ("<p:a/>", XML, Unreadable, "content is not XML: Namespace prefix p on a is not defined"),
        ("<!DOCTYPE a [<a/>", XML, Unreadable, "content is not XML: syntax error: line 1, column 13"),
        ("<a>" * 3000, XML, Unreadable, "content is not XML: Excessive depth in document"),
    ],
)
def test_what_cannot_be_matched(content: str, mimetype: str, error: type[PlurnkError], detail: str) -> None:
    with pytest.raises(error) as caught:
        run("//a", content, mimetype)
    assert caught.value.detail.startswith(detail)
    assert has_match(parse_matcher("//a"), subject(content, mimetype)) is False


@pytest.mark.parametrize(
    ("expression", "detail"),
    [
        ("//a[nonsense()]", "broken xpath: Unregistered function"),
        ("//a[$v]", "broken xpath: Undefined variable"),
        ("//a[count(1)]", "broken xpath: Invalid type"),
        ("//a['\x01']", "broken xpath: All strings must be XML compatible"),
    ],
)
def test_what_no_document_can_answer_is_malformed(expression: str, detail: str) -> None:
    for ask in (
        lambda: run(expression, "<a/>", XML),
        lambda: has_match(parse_matcher(expression), subject("<a/>", XML)),
    ):
        with pytest.raises(Malformed) as caught:
            ask()
        assert caught.value.detail.startswith(detail)


@pytest.mark.spec("2.6-xpath")
@pytest.mark.parametrize("expression", ["//q:a", "//a[re:test(., 'a')]"])
def test_a_prefix_that_one_document_lacks_is_malformed_there_and_no_match_in_a_search(expression: str) -> None:
    with pytest.raises(Malformed, match="broken xpath: Undefined namespace prefix"):
        run(expression, "<a/>", XML)
    assert has_match(parse_matcher(expression), subject("<a/>", XML)) is False
    assert has_match(parse_matcher("//q:a"), subject("<q:a xmlns:q='u'/>", XML)) is True
