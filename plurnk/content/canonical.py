"""Canonical JSON: one spelling for one value, so that equal values are equal bytes (SPEC 3.4)."""

from __future__ import annotations

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> str:
    """``value`` as JSON with the keys sorted at every level and no white space; non-ASCII stays as it is.

    Raises:
        TypeError: ``value`` is nothing that JSON can say.
    """
    return _ENCODER.encode(value).decode()
