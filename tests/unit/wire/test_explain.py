"""msgspec's complaints in our words, for every shape that a param has."""

from __future__ import annotations

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


def test_a_complaint_of_an_unknown_shape_is_passed_on() -> None:
    assert explain("Something `new`", OpFindParams) == "params: something new"
