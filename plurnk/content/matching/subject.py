"""What a matcher is run on, and what comes of it (SPEC 2.4, 2.6)."""

from __future__ import annotations

import msgspec

from plurnk.content.mimetypes import is_json, is_markup
from plurnk.language.ast import GlobMatcher, JsonpathMatcher, LineMarker, Matcher, RegexMatcher, XpathMatcher


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Content to be matched: all of a channel, or lines of it of which the first is ``first_line``.

    ``marker`` is given only with a whole channel (``needs_whole``): of JSON it names items, which alone
    are matched; of markup it names lines, and a row counts when it begins in them.
    """

    data: bytes
    mimetype: str
    first_line: int = 1
    marker: LineMarker | None = None


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """``text`` is the JSON array of ``count`` rows; not ``complete``: there were more, or the only one was cut.

    ``next_line`` is then the line from which the others can be read. It is None when there is no such line,
    and for JSON, where a marker counts items: there a narrower expression is the way on.
    """

    text: str
    count: int
    complete: bool = True
    next_line: int | None = None


def applies(matcher: Matcher, mimetype: str) -> bool:
    """Whether the dialect is one for that type: a path needs a document, regex and glob take any text."""
    match matcher:
        case JsonpathMatcher():
            return is_json(mimetype)
        case XpathMatcher():
            return is_markup(mimetype)
        case RegexMatcher() | GlobMatcher():
            return True


def needs_whole(matcher: Matcher, mimetype: str) -> bool:
    """Whether even lines of a channel can only be matched with all of it at hand.

    Lines will do for a regex or a glob, but in JSON a marker counts items, and a path needs the document.
    """
    return is_json(mimetype) or not isinstance(matcher, RegexMatcher | GlobMatcher)
