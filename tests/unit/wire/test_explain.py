"""msgspec's complaints in our words, for every shape that a param has."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from plurnk.language.ast import OPS
from plurnk.wire.explain import explain
from plurnk.wire.params import OpDispatchParams, OpFindParams, SessionAttachParams


def _ops(where: str, got: str) -> str:
    return f"{where}: expected {' or '.join(map(repr, OPS))}, got {got}"


@pytest.mark.spec("6.2-invalid-params-named")
@pytest.mark.parametrize(
    ("wanted", "text", "said"),
    [
        (OpFindParams, '{"scope":"a","tags":["x",5]}', "tags[1]: expected str, got int"),
        (OpFindParams, '{"scope":"a","lineRange":5}', "lineRange: expected str | object | null, got int"),
        (OpFindParams, '{"scope":"a","lineRange":{}}', "lineRange.first: expected int, got nothing"),
        (
            OpFindParams,
            '{"scope":"a","lineRange":{"frist":1}}',
            "lineRange.frist: unknown field, expected first or last",
        ),
        (
            OpFindParams,
            '{"scope":"a","lineRange":"first"}',
            r"lineRange: expected str matching regex '^-?\\d{1,18}([-,]-?\\d{1,18})?$'",
        ),
        (SessionAttachParams, '{"id":1,"since":-1}', "since: expected int >= 0"),
        (SessionAttachParams, '{"id":9223372036854775808}', "id: expected int <= 9223372036854775807"),
        (OpDispatchParams, '{"statement":5}', "statement: expected object, got int"),
        (OpDispatchParams, '{"statement":{}}', _ops("statement.op", "nothing")),
        (OpDispatchParams, '{"statement":{"op":"PUSH"}}', _ops("statement.op", "'PUSH'")),
        (
            OpDispatchParams,
            '{"statement":{"op":"READ","target":{"kind":"file"}}}',
            "statement.target.kind: expected 'url' or 'local', got 'file'",
        ),
        (
            OpDispatchParams,
            '{"statement":{"op":"READ","target":{"kind":"local"}}}',
            "statement.target.raw: expected str, got nothing",
        ),
        (
            OpDispatchParams,
            '{"statement":{"op":"READ","target":{"kind":"url","raw":"","scheme":"a","params":{"b":[1]}}}}',
            "statement.target.params[...][0]: expected str, got int",
        ),
    ],
)
def test_a_complaint_names_the_field_and_what_it_should_be(wanted: type[msgspec.Struct], text: str, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(text, type=wanted)
    assert explain(str(raised.value), wanted) == said


class Odd(msgspec.Struct):
    described: Annotated[str, msgspec.Meta(description="a text")]
    nullable: int | None
    many: list[Literal["a", "b"]]
    other: tuple[int, ...]
    table: dict[str, Literal[1, 2]]


FULL: dict[str, object] = {"described": "", "nullable": 1, "many": [], "other": [], "table": {}}


@pytest.mark.parametrize(
    ("field", "kind"),
    [("described", "str"), ("nullable", "int or null"), ("many", "array"), ("other", "array"), ("table", "object")],
)
def test_a_missing_field_is_told_with_its_kind(field: str, kind: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({name: value for name, value in FULL.items() if name != field}, Odd)
    assert explain(str(raised.value), Odd) == f"{field}: expected {kind}, got nothing"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"many": ["a", "c"]}, "many[1]: expected 'a' or 'b', got 'c'"),
        ({"table": {"x": 3}}, "table[...]: expected 1 or 2, got 3"),
        ({"described": 1}, "described: expected str, got int"),
    ],
)
def test_what_is_inside(changes: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({**FULL, **changes}, Odd)
    assert explain(str(raised.value), Odd) == said


@pytest.mark.parametrize("name", ["x" * 10**6, " - at `$" + "[" * 10**6, " - at `$.a`", "a.b[0]"])
def test_the_clients_own_names_do_no_harm(name: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(msgspec.json.encode({"scope": "a", name: 1}), type=OpFindParams)
    assert len(explain(str(raised.value), OpFindParams)) < 2000


def test_a_complaint_of_an_unknown_shape_is_passed_on() -> None:
    assert explain("Something `new`", OpFindParams) == "params: something new"
