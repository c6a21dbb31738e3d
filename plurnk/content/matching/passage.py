"""The text that a regex or a glob is run on: all there is, or what a marker names (SPEC 2.4, 2.5)."""

from __future__ import annotations

from typing import NamedTuple

from plurnk.content.lines import BYTE_ORDER_MARK, Span
from plurnk.content.matching.json_source import JsonSource
from plurnk.content.matching.subject import Subject
from plurnk.content.mimetypes import is_json, is_text
from plurnk.errors import UnsupportedType


class Passage(NamedTuple):
    """``text``, whose first line has the number ``first_line`` in its source."""

    text: str
    first_line: int


def text_of(subject: Subject) -> str:
    """All of the subject's text but a byte order mark; bytes that are no UTF-8 are U+FFFD.

    Raises:
        UnsupportedType: it is binary.
    """
    if not is_text(subject.mimetype, subject.data):
        raise UnsupportedType(f"content of type {subject.mimetype} is binary and cannot be matched")
    return subject.data.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK)


def passage_of(subject: Subject) -> Passage:
    """The text to be matched. Of JSON a marker names the source from its first item to the end of its last.

    Other text is given without a marker: whoever reads it can cut it at lines (``needs_whole``).

    Raises:
        UnsupportedType: as ``text_of``.
        Unreadable: there is a marker and the JSON is broken.
        NoSuchRange: the marker names what is not there.
    """
    text = text_of(subject)
    if subject.marker is None or not is_json(subject.mimetype):
        return Passage(text, subject.first_line)
    source = JsonSource(text)
    span = source.resolve(subject.marker)
    if not isinstance(span, Span) or span.last < span.first:
        return Passage("", 1)
    begin, end = source.extent(span)
    return Passage(text[begin:end], 1 + text.count("\n", 0, begin))
