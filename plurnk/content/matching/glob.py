"""Globs over whole lines (SPEC 2.6)."""

from __future__ import annotations

from collections.abc import Iterator

from plurnk.content.globs import line_glob
from plurnk.content.matching.passage import Passage
from plurnk.content.matching.rows import Row
from plurnk.language.ast import GlobMatcher


def rows(matcher: GlobMatcher, passage: Passage) -> Iterator[Row]:
    r"""A row for each line that fits; of a line that ends in ``\r\n`` the ``\r`` is no part either."""
    if not passage.text:
        return
    fits = line_glob(matcher.raw)
    for number, line in enumerate(passage.text.removesuffix("\n").split("\n"), passage.first_line):
        content = line.removesuffix("\r")
        if fits(content):
            yield Row(number, content)
