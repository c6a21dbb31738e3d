"""Markdown: its headings, and lines of its head (SPEC 2.8)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from plurnk.content.mimetypes import MARKDOWN
from plurnk.content.previews.outline import Handler, Symbol, one_line, outline_with_head

_ATX: Final = re.compile(r" {0,3}(#{1,6})([ \t\r]|$)")
_CLOSING_MARKS: Final = re.compile(r"(^| )#+$")
_FENCE: Final = re.compile(r" {0,3}(`{3,}+(?!.*`)|~{3,})")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t\r]*$")
# What the line above an underline may not be: blank, indented code, a quote, a list item, a table.
_NO_PARAGRAPH: Final = re.compile(r"\s*$|    |\t| {0,3}([>|]|[-+*][ \t]|\d{1,9}[.)][ \t])")
_FRONT_MATTER_ENDS: Final = {"---": ("---", "..."), "+++": ("+++",)}


def headings(content: str) -> Iterator[Symbol]:
    """Every heading, ATX and underlined alike as ``## text``; nothing in front matter and fenced code is one."""
    lines = content.split("\n")
    fence = above = ""
    for number in range(_front_matter_lines(lines) + 1, len(lines) + 1):
        line, paragraph = lines[number - 1], above
        above = ""
        if fence:
            if _closes(line.strip(), fence):
                fence = ""
        elif match := _FENCE.match(line):
            fence = match[1]
        elif match := _ATX.match(line):
            yield Symbol(
                number, len(match[1]), _heading(match[1], _CLOSING_MARKS.sub("", one_line(line[match.end() :])))
            )
        elif paragraph and (match := _UNDERLINE.match(line)):
            marks = "#" if match[1].startswith("=") else "##"
            yield Symbol(number - 1, len(marks), _heading(marks, one_line(paragraph)))
        elif not _NO_PARAGRAPH.match(line):
            above = line


def _front_matter_lines(lines: Sequence[str]) -> int:
    ends = _FRONT_MATTER_ENDS.get(lines[0].rstrip(), ())
    return next((number for number, line in enumerate(lines, 1) if number > 1 and line.rstrip() in ends), 0)


def _closes(line: str, fence: str) -> bool:
    return len(line) >= len(fence) and not line.strip(fence[0])


def _heading(marks: str, text: str) -> str:
    return f"{marks} {text}" if text else marks


def _preview(content: str, budget_chars: int) -> str:
    return outline_with_head(tuple(headings(content)), content, budget_chars, indent="")


handler: Final = Handler(MARKDOWN, _preview)
