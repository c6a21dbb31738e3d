"""JSON and JSON lines: the items, and what is inside them in as much detail as there is room for (SPEC 2.8).

An item is what a line marker counts: a pair of an object, an element of an array, a line of JSON lines.
The number before it is the one that the marker takes. Deeper down an object is ``{id, name, … 3 more}``
and an array ``[{id, name}, … 127 more]``; names have no quotes and long strings are cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec

from plurnk.content.mimetypes import JSON
from plurnk.content.previews.outline import Handler, fitting, more
from plurnk.content.previews.plain import clip, numbered_line

_Json: TypeAlias = dict[str, Any] | list[Any] | str | float | bool | None
# What stands before an item, its number included, and its value.
_Item: TypeAlias = tuple[str, _Json]

# How many levels inside an item are described, and how many members at each, the most telling first.
_DETAILS: Final = ((4, 8), (3, 16), (3, 6), (2, 16), (2, 6), (1, 16), (1, 6), (0, 0))
_MAX_STRING_CHARS: Final = 40
_MIN_STRING_CHARS: Final = 12
_PLAIN_NAME: Final = re.compile(r"[\w$@./-]+")


def _document(content: str, budget_chars: int) -> str:
    try:
        value: _Json = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return ""
    if isinstance(value, dict):
        pairs = [(numbered_line(n, f"{_name(name)}: "), item) for n, (name, item) in enumerate(value.items(), 1)]
        # To have all names is worth more than to see into the first ones.
        return _preview(lambda: pairs, len(pairs), len(pairs), budget_chars)
    if isinstance(value, list):
        elements: list[_Item] = [(numbered_line(n, ""), item) for n, item in enumerate(value, 1)]
        return _preview(lambda: elements, len(elements), 1, budget_chars)
    return ""


def _lines(content: str, budget_chars: int) -> str:
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]

    def items() -> Iterator[_Item]:
        return ((numbered_line(number, ""), msgspec.json.decode(line)) for number, line in lines)

    try:
        return _preview(items, len(lines), 1, budget_chars)
    except (msgspec.DecodeError, RecursionError):
        return ""


def _preview(items: Callable[[], Iterable[_Item]], total: int, wanted: int, budget_chars: int) -> str:
    """As many of the ``total`` items as fit, in the most detail in which the first ``wanted`` of them fit."""

    def lines(levels: int, members: int) -> Iterator[str]:
        return (before + _described(value, levels, members) for before, value in items())

    room = budget_chars - len(more(total, "item")) - 1
    count, detail = 0, _DETAILS[-1]
    for detail in _DETAILS:
        count = fitting(lines(*detail), room)
        if count >= wanted:
            break
    if not count:
        return clip(next(lines(*detail), ""), budget_chars)
    remark = [more(total - count, "item")] if count < total else []
    return "\n".join([*islice(lines(*detail), count), *remark])


def _described(value: _Json, levels: int, members: int) -> str:
    """``value`` in one line, with at most ``members`` members at each of ``levels`` levels."""
    if isinstance(value, dict) and value:
        if not levels:
            return f"{{{len(value)} key{'s' if len(value) > 1 else ''}}}"
        shown = [
            _name(name) + (f": {_described(item, levels - 1, members)}" if levels > 1 else "")
            for name, item in islice(value.items(), members)
        ]
        return f"{{{_listed(shown, len(value))}}}"
    if isinstance(value, list) and value:
        if not levels:
            return f"[{len(value)} item{'s' if len(value) > 1 else ''}]"
        # The first object or array of a list tells what the others are like; a list of objects is one level with them.
        count = 1 if isinstance(value[0], dict | list) else members
        below = levels if isinstance(value[0], dict) else levels - 1
        return f"[{_listed([_described(item, below, members) for item in value[:count]], len(value))}]"
    if isinstance(value, str):
        value = clip(value, _MAX_STRING_CHARS if levels else _MIN_STRING_CHARS)
    return msgspec.json.encode(value).decode()


def _listed(shown: Sequence[str], total: int) -> str:
    return ", ".join([*shown, *([more(total - len(shown))] if len(shown) < total else [])])


def _name(name: str) -> str:
    name = clip(name, _MAX_STRING_CHARS)
    return name if _PLAIN_NAME.fullmatch(name) else msgspec.json.encode(name).decode()


json: Final = Handler(JSON, _document)
jsonl: Final = Handler("application/jsonl", _lines)
