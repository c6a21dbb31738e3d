"""Matchers run on literal content."""

from __future__ import annotations

import json
import re
from typing import Any

from plurnk.content.matching import Rows, Subject, needs_whole
from plurnk.content.matching.evaluation import match_rows
from plurnk.language.ast import LineMarker
from plurnk.language.matchers import parse_matcher

PLENTY = 2**20


def run(
    raw: str,
    content: str | bytes,
    mimetype: str,
    *,
    marker: tuple[int, int] | int | None = None,
    first_line: int = 1,
    max_chars: int = PLENTY,
) -> Rows:
    """The rows of matcher ``raw``; a ``marker`` is ``<N>`` or ``<N,M>``, and cuts what need not be whole."""
    matcher = parse_matcher(raw)
    if isinstance(marker, tuple) and isinstance(content, str) and not needs_whole(matcher, mimetype):
        first_line = marker[0]
        last = None if marker[1] == -1 else marker[1]
        content = "".join(re.findall(r".*\n|.+", content)[first_line - 1 : last])
        marker = None
    return match_rows(matcher, subject(content, mimetype, marker=marker, first_line=first_line), max_chars)


def subject(
    content: str | bytes, mimetype: str, *, marker: tuple[int, int] | int | None = None, first_line: int = 1
) -> Subject:
    first, last = marker if isinstance(marker, tuple) else (marker, None)
    return Subject(
        data=content.encode() if isinstance(content, str) else content,
        mimetype=mimetype,
        first_line=first_line,
        marker=None if first is None else LineMarker(first=first, last=last),
    )


def rows(raw: str, content: str | bytes, mimetype: str, *, marker: tuple[int, int] | int | None = None) -> list[Any]:
    """All rows, decoded."""
    found = run(raw, content, mimetype, marker=marker)
    decoded: list[Any] = json.loads(found.text)
    assert (found.complete, found.next_line, found.count) == (True, None, len(decoded))
    return decoded
