"""What a line marker names of a content: lines, or items of JSON (SPEC 2.5).

Bytes in, bytes out: the lines that nobody names stay as they are, also where they are no UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plurnk.content import json_items, lines
from plurnk.content.mimetypes import is_json

if TYPE_CHECKING:
    from plurnk.language.ast import LineMarker


def part(content: bytes, marker: LineMarker, mimetype: str) -> bytes:
    """What ``marker`` names, as it stands alone; nothing at an insertion marker.

    Raises:
        Malformed: JSON that is none.
        NoSuchRange: there are no such lines or items.
    """
    if is_json(mimetype):
        return json_items.slice_items(content.decode("utf-8", "replace"), marker).text.encode()
    return lines.slice_lines(content.decode("utf-8", "surrogateescape"), marker).text.encode("utf-8", "surrogateescape")


def edited(content: bytes, marker: LineMarker, body: str, mimetype: str) -> bytes:
    """``content`` with ``body`` in the place of what ``marker`` names; an empty one deletes it.

    Raises:
        Malformed: JSON that is none, or does not fit (``json_items.edit_items``).
        NoSuchRange: there are no such lines or items.
    """
    if is_json(mimetype):
        return json_items.edit_items(content.decode("utf-8", "replace"), marker, body).encode()
    text = content.decode("utf-8", "surrogateescape")
    return lines.edit_lines(text, marker, body).encode("utf-8", "surrogateescape")
