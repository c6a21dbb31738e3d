"""Regexes over text (SPEC 2.6), by Python's ``re``: what it accepts is the language, see ``language.regex``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from plurnk.content.matching.passage import Passage
from plurnk.content.matching.rows import Row
from plurnk.errors import Malformed
from plurnk.language.ast import RegexMatcher
from plurnk.language.regex import to_python_regex

# ``u`` is how Python reads every pattern, and ``g`` says how many matches there are, not which.
_FLAGS: Final[Mapping[str, re.RegexFlag]] = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}


def rows(matcher: RegexMatcher, passage: Passage) -> Iterator[Row]:
    """A row for each match, or for the first without the flag ``g``, at the line on which it begins.

    A match of nothing behind the final newline counts to the line that this newline ends.

    Raises:
        Malformed: the pattern does not compile. The parser lets none such pass; a client's statement may have one.
    """
    flags = re.NOFLAG
    for flag in matcher.flags:
        flags |= _FLAGS.get(flag, re.NOFLAG)
    text, line = passage.text, passage.first_line
    counted_to = 0
    try:
        pattern = re.compile(to_python_regex(matcher.pattern), flags)
    except (re.error, OverflowError) as error:
        raise Malformed(f"broken regex: {error}") from None
    for found in pattern.finditer(text):
        start = found.start()
        line += text.count("\n", counted_to, start)
        counted_to = start
        behind = start == len(text) and text.endswith("\n")
        yield Row(line - behind, _matched(found))
        if "g" not in matcher.flags:
            return


def _matched(found: re.Match[str]) -> str | list[str | None] | dict[str, str | None]:
    groups = found.groups()
    if not groups:
        return found[0]
    names = {number: name for name, number in found.re.groupindex.items()}
    if not names:
        return list(groups)
    return {names.get(number, str(number)): text for number, text in enumerate(groups, 1)}
