"""Matchers at work: regex, glob, JSONPath and XPath over one content (SPEC 2.6).

Pure and unbounded in time: whoever calls these bounds them from outside (``plurnk.workers``). What a path
needs is imported when the first comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from plurnk.content.matching import glob, regex
from plurnk.content.matching.passage import passage_of
from plurnk.content.matching.rows import Match, gather
from plurnk.content.matching.subject import Rows, Subject
from plurnk.content.mimetypes import is_json
from plurnk.errors import Unreadable, UnsupportedType
from plurnk.language.ast import GlobMatcher, JsonpathMatcher, Matcher, RegexMatcher, XpathMatcher


def match_rows(matcher: Matcher, subject: Subject, max_chars: int) -> Rows:
    """Every match as a row, as many rows as fit into ``max_chars`` of JSON (``rows.gather`` says how).

    Rows come in the order of their lines; those of a JSONPath in the order of the path.

    Raises:
        UnsupportedType: the dialect does not apply to the type, or the content is binary.
        Unreadable: JSON or XML that is broken, or declares entities.
        NoSuchRange: ``subject.marker`` names what is not there.
        Malformed: an XPath has a prefix, a function or a variable that there is not.
    """
    try:
        return gather(_matches(matcher, subject, max_chars), max_chars, by_line=not is_json(subject.mimetype))
    except RecursionError:
        raise Unreadable("content is nested too deeply") from None


def _matches(matcher: Matcher, subject: Subject, max_chars: int) -> Iterable[Match]:
    match matcher:
        case RegexMatcher():
            return regex.rows(matcher, passage_of(subject))
        case GlobMatcher():
            return glob.rows(matcher, passage_of(subject))
        case JsonpathMatcher():
            from plurnk.content.matching import jsonpath  # noqa: PLC0415

            return jsonpath.rows(matcher, subject, max_chars)
        case XpathMatcher():
            from plurnk.content.matching import xpath  # noqa: PLC0415

            return xpath.matches(matcher, subject)


def has_match(matcher: Matcher, subject: Subject) -> bool:
    """Whether there is at least one match; for an XPath that selects no nodes, whether its value is true.

    False, too, for content that the matcher cannot be run on: of another type, or broken.

    Raises:
        NoSuchRange, Malformed: as ``match_rows``.
    """
    try:
        match matcher:
            case RegexMatcher():
                return any(True for _ in regex.rows(matcher, passage_of(subject)))
            case GlobMatcher():
                return any(True for _ in glob.rows(matcher, passage_of(subject)))
            case JsonpathMatcher():
                from plurnk.content.matching import jsonpath  # noqa: PLC0415

                return jsonpath.has_match(matcher, subject)
            case XpathMatcher():
                from plurnk.content.matching import xpath  # noqa: PLC0415

                return xpath.has_match(matcher, subject)
    except (UnsupportedType, Unreadable, RecursionError):
        return False
