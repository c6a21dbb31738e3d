"""One spelling for one value (SPEC 3.4)."""

from __future__ import annotations

import msgspec
import pytest

from plurnk.content.canonical import canonical_json


class _Tagged(msgspec.Struct, tag_field="kind", tag="t"):
    z: int
    a: dict[str, int]


@pytest.mark.spec("3.4-canonical-json")
def test_keys_are_sorted_at_every_level_and_nothing_is_spaced() -> None:
    value = {"z": [{"b": 1, "a": {"d": "x y", "c": None}}], "é": "é", "a": _Tagged(1, {"y": 1, "x": 2})}
    assert canonical_json(value) == (
        '{"a":{"a":{"x":2,"y":1},"kind":"t","z":1},"z":[{"a":{"c":null,"d":"x y"},"b":1}],"é":"é"}'
    )


def test_what_json_cannot_say_is_an_error() -> None:
    with pytest.raises(TypeError):
        canonical_json(object())
