"""Matchers give what a naive reader would find, and never fail in another way than ours (SPEC 2.4, 2.6)."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.content.matching import Subject
from plurnk.content.matching.evaluation import has_match, match_rows
from plurnk.errors import PlurnkError
from plurnk.language.ast import LineMarker, Matcher
from plurnk.language.matchers import parse_matcher
from tests.support.matching import run

PLENTY = 2**20
TYPES = ("text/plain", "application/json", "application/xml", "text/html", "application/octet-stream")
CHARACTERS = st.sampled_from("abc \n\r\té[]{}<>/&;:\"',0-=!.%\0")
MARKUP = st.lists(
    st.sampled_from(
        [
            *("<a>", "</a>", "<b x='1'\ny=\"2\">", "</b>", "<c/>", "t\n", "&amp;", "&x;", "<!-- n\n -->", "<?p\n?>"),
            *(
                "<![CDATA[",
                "]]>",
                "<!DOCTYPE a [",
                "<!ENTITY x 'y'>",
                "]>",
                "<p:q xmlns:p='u'>",
                "</p:q>",
                "\xa0",
                "<a p:b=1 {c}d=2 @>",
            ),
        ]
    ),
    max_size=12,
).map("".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(CHARACTERS, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
# Line breaks wherever JSON lets them stand.
JSON_TEXT = st.one_of(JSON.map(json.dumps), JSON.map(lambda value: json.dumps(value, indent=2)))
CONTENT = (
    st.binary(max_size=40)
    | st.text(CHARACTERS, max_size=40).map(str.encode)
    | MARKUP.map(str.encode)
    | JSON_TEXT.map(str.encode)
)
REGEXES = [r"/a/g", "/(a)(b)?/gi", r"/(?<n>\s)|./gms", "/$/g", "/^/gm", r"/\bx*/g", r"/(?<=a)\n/g", "/[^a]/su"]
GLOBS = ["*", "a*", "?", "*[!a]*", "[", ""]
JSONPATHS = [
    "$",
    "$.*",
    "$..*",
    "$[0]",
    "$[::-1]",
    "$..a",
    "$[?@.a]",
    "$[?@ == $[0]]",
    "$..[?length(@) > 1]",
    "$..b[-1]",
]
XPATHS = ["//*", "//node()", "//@*", "//text()", "//b[1]", "//p:q", "//comment()", "//* = 1", "//a + 1", "//a[last()]",
          "//namespace::*", "//f", "//a[$v]", "//a/.."]  # fmt: skip
PARSED = [parse_matcher(raw) for raw in (*REGEXES, *GLOBS, *JSONPATHS, *XPATHS)]
MARKERS = st.none() | st.builds(LineMarker, first=st.integers(-1, 4), last=st.none() | st.integers(-1, 4))


@given(st.sampled_from(PARSED), CONTENT, st.sampled_from(TYPES), MARKERS, st.integers(0, 200))
def test_any_content_matches_or_is_refused(
    matcher: Matcher, data: bytes, mimetype: str, marker: LineMarker | None, max_chars: int
) -> None:
    subject = Subject(data=data, mimetype=mimetype, marker=marker)
    try:
        rows = match_rows(matcher, subject, max_chars)
    except PlurnkError as error:
        assert error.status in {400, 415, 416, 422}  # noqa: PT017 - which error it is, is not the claim
        return
    decoded = json.loads(rows.text)
    assert rows.count == len(decoded)
    assert len(rows.text) <= max(max_chars, 100)
    assert rows.complete or rows.count
    if has_match(matcher, subject):
        assert decoded


@given(st.text(CHARACTERS, max_size=40), st.sampled_from(["a", r"\s", r"a*", r"b|\n", "$"]))
@pytest.mark.spec("2.6-regex-rows")
def test_regex_rows_have_the_line_of_a_naive_count(text: str, pattern: str) -> None:
    found = json.loads(run(f"/{pattern}/g", text, "text/plain").text)
    lines = max(1, len(text.split("\n")) - text.endswith("\n"))
    assert found == [
        {"line": min(lines, len(text[: match.start()].split("\n"))), "matched": match[0]}
        for match in re.finditer(pattern, text)
    ]


@given(st.text("ab\n\r", max_size=40), st.sampled_from(["*", "a*", "*b*", "?", "[!a]*", ""]))
@pytest.mark.spec("2.6-glob-lines")
def test_glob_rows_are_those_of_a_naive_reference(text: str, glob: str) -> None:
    lines = [line.removesuffix("\r") for line in (text.removesuffix("\n").split("\n") if text else [])]
    assert json.loads(run(glob or "[!a]", text, "text/plain").text) == [
        {"line": number, "matched": line}
        for number, line in enumerate(lines, 1)
        if fnmatch.fnmatchcase(line, glob or "[!a]")
    ]


@given(st.sampled_from([*REGEXES[:3], *GLOBS[:4]]), st.text("ab\n", max_size=60), st.integers(90, 300))
@pytest.mark.spec("2.4-read-composition")
def test_reading_on_loses_no_row_of_text_and_repeats_none(raw: str, text: str, max_chars: int) -> None:
    _read_on(raw, text, "text/plain", max_chars)


@given(
    st.lists(st.sampled_from(["<b/>", "t", "<c\n>x</c>", "\n", "<!--\n-->"]), max_size=20).map("".join),
    st.sampled_from(["//*", "//text()", "//node()", "//c"]),
    st.integers(250, 600),
)
@pytest.mark.spec("2.4-read-composition")
def test_reading_on_loses_no_row_of_markup_and_repeats_none(inside: str, raw: str, max_chars: int) -> None:
    _read_on(raw, f"<a>{inside}</a>", "application/xml", max_chars)


def _read_on(raw: str, text: str, mimetype: str, max_chars: int) -> None:
    """Go through all pages. A line whose rows are too many for a page keeps only the first of them."""
    everything: list[dict[str, Any]] = json.loads(run(raw, text, mimetype).text)
    found: list[dict[str, Any]] = []
    page = run(raw, text, mimetype, max_chars=max_chars)
    overfull: set[int] = set()
    while True:
        rows = json.loads(page.text)
        found += rows
        if not page.complete and len({row["line"] for row in rows}) == 1:
            overfull |= {row["line"] for row in rows}
        if page.next_line is None:
            break
        page = run(raw, text, mimetype, marker=(page.next_line, -1), max_chars=max_chars)
    assert [row for row in found if row["line"] not in overfull] == [
        row for row in everything if row["line"] not in overfull
    ]
    assert len({row["line"] for row in found}) == len({row["line"] for row in everything})


@given(JSON_TEXT, st.sampled_from(["$", "$..*", "$..a"]))
@pytest.mark.spec("2.6-jsonpath")
def test_a_jsonpath_row_has_a_line_where_its_value_begins(text: str, path: str) -> None:
    lines = text.split("\n")
    for row in json.loads(run(path, text, "application/json").text):
        beginning = json.dumps(row["matched"])[:1]
        assert beginning in lines[row["line"] - 1]


@given(st.lists(st.sampled_from(["<b>", "</b>", "<c\nx='>'/>", "text", "\n", "<!-- <b> -->", "<br>"]), max_size=30))
@pytest.mark.spec("2.6-xpath")
def test_an_html_element_has_a_line_where_its_tag_is(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = text.split("\n")
    for row in json.loads(run("//b | //br | //c", text, "text/html").text):
        assert row["matched"][:2] in lines[row["line"] - 1]
