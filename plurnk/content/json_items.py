"""Line markers on JSON, where they count items (SPEC 2.5).

Items are an array's elements, an object's pairs as one-key objects, and a scalar as one item. Each is
kept as the bytes it was written in, so a number like ``1.10`` or ``1e400`` and an escaped string
survive an edit of their neighbours; only the white space around them is set anew (2-space indent).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import msgspec

from plurnk.content.lines import BYTE_ORDER_MARK, Insertion, Slice, resolve
from plurnk.errors import Malformed

if TYPE_CHECKING:
    from plurnk.language.ast import LineMarker

_T = TypeVar("_T")
_Kind: TypeAlias = Literal["nothing", "array", "object", "scalar"]


def slice_items(content: str, marker: LineMarker, *, max_chars: int | None = None) -> Slice:
    """The items that ``marker`` names, as the text of a JSON array; ``count`` 0 at an insertion marker.

    Of items that do not fit into ``max_chars`` the text has those that do; a first one that is too long
    alone is cut inside.

    Raises:
        Malformed: ``content`` is not JSON.
        NoSuchRange: there are no such items.
    """
    _, items = _items(content, "content")
    selection = resolve(marker, len(items), noun="item")
    if isinstance(selection, Insertion):
        return Slice("[]", selection.before, 0)
    chosen = items[selection.first - 1 : selection.last]
    text = _indented(_array(chosen))
    if max_chars is None or len(text) <= max_chars:
        return Slice(text, selection.first, len(chosen))
    fitting = _how_many_fit(chosen, max_chars)
    after = selection.first + fitting
    text = _indented(_array(chosen[:fitting]))[:max_chars]
    return Slice(text, selection.first, fitting, after if after <= selection.last else None)


def edit_items(content: str, marker: LineMarker, body: str) -> str:
    """``content`` with the items of ``body`` in the place of those that ``marker`` names.

    ``body`` brings no item when it is empty, its elements when it is an array, else one. In an object
    a pair of ``body`` replaces a pair of the same name wherever that stood. Empty ``content`` has no
    items and no kind: ``body`` becomes the content. The result ends with a newline, and begins with a
    byte order mark, iff ``content`` did.

    Raises:
        Malformed: ``content`` or ``body`` is not JSON, or does not fit: a pairless item for an object,
            several for a scalar, an insertion beside a scalar.
        NoSuchRange: there are no such items.
    """
    kind, items = _items(content, "content")
    selection = resolve(marker, len(items), noun="item")
    body = body.removeprefix(BYTE_ORDER_MARK)
    body_kind, brought = _items(body, "body")
    if body_kind == "object":
        brought = [body.encode()]
    if kind == "nothing":
        text = body.encode()
    elif isinstance(selection, Insertion):
        if kind == "scalar":
            raise Malformed("a scalar takes no second item; only <1> or <1,-1> can be edited")
        gap = selection.before - 1
        text = _joined(kind, items[:gap], brought, items[gap:])
    else:
        text = _joined(kind, items[: selection.first - 1], brought, items[selection.last :])
    edited = _indented(text)
    mark = BYTE_ORDER_MARK if content.startswith(BYTE_ORDER_MARK) else ""
    return mark + edited + ("\n" if edited and content.endswith("\n") else "")


def _how_many_fit(items: Sequence[bytes], max_chars: int) -> int:
    """How many of ``items`` an indented array of at most ``max_chars`` holds; at least one."""
    brackets, comma = len("[\n\n]"), len(",\n")
    chars = brackets - comma
    for number, item in enumerate(items):
        chars += comma + len(_indented(_array([item]))) - brackets
        if chars > max_chars:
            return max(number, 1)
    return len(items)


def _joined(kind: _Kind, before: Sequence[bytes], brought: Sequence[bytes], after: Sequence[bytes]) -> bytes:
    if kind == "array":
        return _array([*before, *brought, *after])
    if kind == "object":
        return _object(before, brought, after)
    if len(brought) > 1:
        raise Malformed(f"a scalar takes at most one item; the body has {len(brought)}")
    return b"".join(brought)


def _items(text: str, what: str) -> tuple[_Kind, list[bytes]]:
    """The kind of ``text`` and its items, each as JSON."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    match text.lstrip(" \t\r\n")[:1]:
        case "":
            return "nothing", []
        case "[":
            return "array", [bytes(item) for item in _decode(text, list[msgspec.Raw], what)]
        case "{":
            pairs = _decode(text, dict[str, msgspec.Raw], what)
            return "object", [b"{" + _pair(name, bytes(value)) + b"}" for name, value in pairs.items()]
        case _:
            return "scalar", [bytes(_decode(text, msgspec.Raw, what))]


def _object(before: Iterable[bytes], brought: Iterable[bytes], after: Iterable[bytes]) -> bytes:
    new: dict[str, bytes] = {}
    for item in brought:
        if not item.lstrip().startswith(b"{"):
            raise Malformed("an object takes pairs only: the body must be an object or an array of objects")
        new.update(_pairs(item))
    kept_before, kept_after = (
        [(name, value) for item in items for name, value in _pairs(item).items() if name not in new]
        for items in (before, after)
    )
    return b"{" + b",".join(_pair(*pair) for pair in (*kept_before, *new.items(), *kept_after)) + b"}"


def _pairs(item: bytes) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in msgspec.json.decode(item, type=dict[str, msgspec.Raw]).items()}


def _pair(name: str, value: bytes) -> bytes:
    return msgspec.json.encode(name) + b":" + value


def _array(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _indented(text: bytes) -> str:
    try:
        return msgspec.json.format(text, indent=2).decode() if text.strip() else ""
    except RecursionError:  # Items that were just shallow enough, now one level deeper.
        raise Malformed("the result is nested too deeply") from None


def _decode(text: str, kind: type[_T], what: str) -> _T:
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise Malformed(f"{what} is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Malformed(f"{what} is not JSON: {error}") from None
