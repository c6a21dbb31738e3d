"""Where values stand in JSON."""

from __future__ import annotations

import pytest

from plurnk.content.matching.positions import Location, Place, locate

TEXT = ' {"a" : [1, "]}\\"", {}], "b":null,"a":[ {"c":[[]]} ] }\n'


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ((), '{"a" : [1, "]}\\"", {}], "b":null,"a":[ {"c":[[]]} ] }'),
        (("b",), "null"),
        (("a",), '[ {"c":[[]]} ]'),
        (("a", 0), '{"c":[[]]}'),
        (("a", 0, "c", 0), "[]"),
    ],
)
def test_a_value_is_found(location: Location, expected: str) -> None:
    place = locate(TEXT, [location])[location]
    assert TEXT[place.begin : place.end] == expected


def test_a_member_begins_with_its_name() -> None:
    text = '[{"x"\n:1},2]'
    assert locate(text, [(0, "x"), (1,)]) == {
        (): Place(0, 0, 12),
        (0,): Place(1, 1, 9),
        (0, "x"): Place(2, 7, 8),
        (1,): Place(10, 10, 11),
    }


@pytest.mark.parametrize("other", ["1", '"["', "[]", "{}", '{"c": 1}', "[0]", "null"])
def test_a_value_that_is_replaced_may_be_anything(other: str) -> None:
    text = '{"a":' + other + ', "a": {"b": [7]}}'
    place = locate(text, [("a", "b", 0)])["a", "b", 0]
    assert text[place.begin : place.end] == "7"
