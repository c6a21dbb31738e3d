"""Where values stand in the text of a JSON document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Location: TypeAlias = tuple[int | str, ...]
"""The indices and names that lead to a value; ``()`` is the document."""

_Wanted: TypeAlias = dict[int | str, "_Wanted"]

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder(strict=False)


class Place(NamedTuple):
    """Offsets: the value is ``text[begin:end]``; ``name`` is where its name begins, in an array ``begin``."""

    name: int
    begin: int
    end: int


def locate(text: str, locations: Iterable[Location]) -> Mapping[Location, Place]:
    """The places of ``locations`` (and of all that contains them); of equal names the last one counts.

    ``text`` is valid JSON that has them all. Containers on the way to a location are walked member by
    member; all else is stepped over whole, by the decoder, so that the time is about that of decoding.
    """
    wanted: _Wanted = {}
    for location in locations:
        inner = wanted
        for step in location:
            inner = inner.setdefault(step, {})
    return _Walk(text).document(wanted)


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[Location, Place] = {}

    def document(self, wanted: _Wanted) -> Mapping[Location, Place]:
        begin = self._skip(0)
        self._found[()] = Place(begin, begin, self._value(begin, wanted, ()))
        return self._found

    def _value(self, begin: int, wanted: _Wanted, location: Location) -> int:
        """Walk the value at ``begin``; where it ends. One that another of its name replaces may be of any kind."""
        opening = self._text[begin]
        if not wanted or opening not in "{[":
            return self._decoded(begin)[1]
        at = self._skip(begin + 1)
        index = 0
        while self._text[at] not in "}]":
            name = at
            step: int | str = index
            if opening == "{":
                step, at = self._decoded(name)
                at = self._skip(self._skip(at) + len(":"))
            inner = wanted.get(step)
            if inner is None:
                end = self._decoded(at)[1]
            else:
                place = (*location, step)
                end = self._value(at, inner, place)
                self._found[place] = Place(name, at, end)
            at = self._skip(end)
            if self._text[at] == ",":
                at = self._skip(at + 1)
            index += 1
        return at + 1

    def _decoded(self, begin: int) -> tuple[Any, int]:
        return _DECODER.raw_decode(self._text, begin)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at
