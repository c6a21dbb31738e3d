"""A JSON document as a matcher sees it: its value, its items, and where in the text they stand (SPEC 2.5, 2.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from plurnk.content.lines import Insertion, Span, resolve
from plurnk.content.matching.positions import Location, locate
from plurnk.errors import Unreadable
from plurnk.language.ast import LineMarker


def _number(literal: str) -> float | Decimal:
    """A number with a fraction or an exponent: as a float, unless none is that large."""
    value = float(literal)
    return value if math.isfinite(value) else Decimal(literal)


_DECODER: Final = msgspec.json.Decoder(float_hook=_number)


class JsonSource:
    """A document that was read. Integers are exact whatever their size; of equal names the last one counts."""

    def __init__(self, text: str) -> None:
        """Read ``text``; nothing but white space is a document without items.

        Raises:
            Unreadable: it is not JSON, or too deep.
        """
        self.text = text
        self.is_blank = not text.strip(" \t\r\n")
        try:
            self.value: Any = None if self.is_blank else _DECODER.decode(text)
        except msgspec.DecodeError as error:
            raise Unreadable(f"content is not JSON: {error}") from None
        except RecursionError:
            raise Unreadable("content is nested too deeply") from None
        self._is_array = isinstance(self.value, list)
        self._names = list(cast("dict[str, Any]", self.value)) if isinstance(self.value, dict) else None

    def resolve(self, marker: LineMarker) -> Span | Insertion:
        """Which items ``marker`` names.

        Raises:
            NoSuchRange: there are no such items.
        """
        total = 0 if self.is_blank else len(self.value) if self._is_array or self._names is not None else 1
        return resolve(marker, total, noun="item")

    def items(self, span: Span) -> list[Any]:
        """The items of ``span``, as READ returns them: an object's pairs as one-key objects."""
        chosen = slice(span.first - 1, span.last)
        if self._names is not None:
            return [{name: self.value[name]} for name in self._names[chosen]]
        return self.value[chosen] if self._is_array else [self.value]

    def extent(self, span: Span) -> tuple[int, int]:
        """Where the text of the first item in ``span`` begins and that of the last one ends; it is not empty."""
        ends: Sequence[Location]
        if self._names is not None:
            ends = [(name,) for name in self._names[span.first - 1 : span.last]]  # They need not stand in this order.
        else:
            ends = [(span.first - 1,), (span.last - 1,)] if self._is_array else [()]
        places = locate(self.text, ends)
        return min(places[item].name for item in ends), max(places[item].end for item in ends)

    def lines(self, locations: Sequence[Location], span: Span | None) -> list[int]:
        """The lines on which the values at ``locations`` begin; with a ``span`` these lead into its ``items``.

        A pair begins with its name, and all items together begin with the first.
        """
        if not locations:
            return []
        origins = [self._origin(location, span) for location in locations]
        places = locate(self.text, [location for location, _ in origins])
        begins = [places[location].name if is_pair else places[location].begin for location, is_pair in origins]
        line_at: dict[int, int] = {}
        line, counted_to = 1, 0
        for begin in sorted(set(begins)):
            line += self.text.count("\n", counted_to, begin)
            counted_to = begin
            line_at[begin] = line
        return [line_at[begin] for begin in begins]

    def _origin(self, location: Location, span: Span | None) -> tuple[Location, bool]:
        """Where ``location`` leads in the document, and whether the pair there is meant, not its value."""
        if span is None:
            return location, False
        if span.last < span.first:
            return (), False
        number, *rest = location or (0,)
        item = span.first - 1 + int(number)
        if self._names is not None:
            return (self._names[item], *rest[1:]), not rest
        return ((item, *rest) if self._is_array else ()), False
