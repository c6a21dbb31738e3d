"""Mimetypes by path, and what they mean (SPEC 2.3, 3.4)."""

from __future__ import annotations

import pytest

from plurnk.content.mimetypes import fits, is_json, is_line_addressed, is_markup, is_text, mimetype_of


@pytest.mark.spec("2.3-mimetype-by-path")
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("users.json", "application/json"),
        ("a/b.YML", "application/yaml"),
        ("a.toml", "application/toml"),
        ("a.csv", "text/csv"),
        ("a.md", "text/markdown"),
        ("a.tar.gz", "application/gzip"),
        ("a.py", "text/x-python"),
        ("a.js", "text/javascript"),
        ("a.ts", "application/typescript"),
        ("a.html", "text/html"),
        ("a.xml", "application/xml"),
        ("a.sql", "application/sql"),
        ("a.png", "image/png"),
        ("notes", "the/default"),
        ("notes.txt", "the/default"),
        ("notes.unknown", "the/default"),
        ("notes.", "the/default"),
        (".json", "the/default"),
        ("a.json/notes", "the/default"),
        ("a.json/", "the/default"),
        ("", "the/default"),
    ],
)
def test_the_extension_decides_else_the_default(path: str, expected: str) -> None:
    assert mimetype_of(path, "the/default") == expected


@pytest.mark.spec("2.3-binary-415")
@pytest.mark.parametrize(
    "mimetype",
    [
        "text/markdown",
        "Text/Plain; charset=utf-8",
        "application/json",
        "application/ld+json",
        "application/yaml",
        "application/toml",
        "image/svg+xml",
        "text/javascript",
        "application/typescript",
        "application/sql",
    ],
)
def test_text_types_are_text_whatever_they_hold(mimetype: str) -> None:
    assert is_text(mimetype, b"\0\xff")


@pytest.mark.spec("2.3-binary-415")
@pytest.mark.parametrize(
    ("content", "complete", "expected"),
    [
        (b"", True, True),
        ("naïve".encode(), True, True),
        (b"a\0b", True, False),
        (b"\xff", True, False),
        (b"na\xc3", True, False),
        (b"na\xc3", False, True),
        (b"na\xc3x", False, False),
    ],
)
def test_other_types_are_text_when_their_bytes_are(content: bytes, complete: bool, expected: bool) -> None:
    assert is_text("application/octet-stream", content, complete=complete) is expected


@pytest.mark.parametrize(
    ("mimetype", "json", "markup"),
    [
        ("application/json", True, False),
        ("application/geo+json; v=1", True, False),
        ("application/jsonl", False, False),
        ("text/html", False, True),
        ("application/xhtml+xml", False, True),
        ("text/xml", False, True),
        ("text/markdown", False, False),
    ],
)
def test_families(mimetype: str, json: bool, markup: bool) -> None:
    assert (is_json(mimetype), is_markup(mimetype)) == (json, markup)
    assert is_line_addressed(mimetype) is not (json or markup)


@pytest.mark.parametrize(
    ("mimetype", "pattern", "does"),
    [
        ("text/plain", "*/*", True),
        ("text/plain; charset=utf-8", "text/plain", True),
        ("text/plain", "text/*", True),
        ("text/markdown", "text/plain", False),
        ("image/png", "text/*", False),
        ("application/json", "*/json", True),
    ],
)
def test_a_type_fits_a_pattern(mimetype: str, pattern: str, does: bool) -> None:
    assert fits(mimetype, pattern) is does
