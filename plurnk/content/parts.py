"""What a line marker names of a content: lines, or items of JSON (SPEC 2.5).

Bytes in, bytes out: the lines that nobody names stay as they are, also where they are no UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plurnk.content import json_items, lines
from plurnk.content.mimetypes import is_json
from plurnk.errors import Malformed

if TYPE_CHECKING:
    from plurnk.language.ast import LineMarker


_LF: Final = "\n"
_CRLF: Final = "\r\n"


def part(content: bytes, marker: LineMarker, mimetype: str) -> bytes:
    """What ``marker`` names, as it stands alone; nothing at an insertion marker.

    Raises:
        Malformed: JSON that is none.
        NoSuchRange: there are no such lines or items.
    """
    if is_json(mimetype):
        return json_items.slice_items(_json(content), marker).text.encode()
    text, end = _text(content)
    return _bytes(lines.slice_lines(text, marker).text, end)


def edited(content: bytes, marker: LineMarker, body: str, mimetype: str) -> bytes:
    """``content`` with ``body`` in the place of what ``marker`` names; an empty one deletes it.

    Where every line of ``content`` ends in CR LF, those of ``body`` do, too.

    Raises:
        Malformed: JSON that is none, or does not fit (``json_items.edit_items``).
        NoSuchRange: there are no such lines or items.
    """
    if is_json(mimetype):
        return json_items.edit_items(_json(content), marker, body).encode()
    text, end = _text(content)
    return _bytes(lines.edit_lines(text, marker, body if end == _LF else body.replace(_CRLF, _LF)), end)


def _text(content: bytes) -> tuple[str, str]:
    """The text with its lines ended by LF, and how they end: CR LF where all of them do, else as they are."""
    text = content.decode("utf-8", "surrogateescape")
    newlines = text.count(_LF)
    if newlines and text.count(_CRLF) == newlines:
        return text.replace(_CRLF, _LF), _CRLF
    return text, _LF


def _bytes(text: str, end: str) -> bytes:
    return (text if end == _LF else text.replace(_LF, end)).encode("utf-8", "surrogateescape")


def _json(content: bytes) -> str:
    """The text of JSON. What is not UTF-8 is none (RFC 8259, 8.1), and written back it would be something else."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"content is not JSON: it is not UTF-8 (byte {error.start})") from None
