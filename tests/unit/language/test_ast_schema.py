"""The published schema of the AST is the types', and what is parsed fits it (SPEC 1.5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from plurnk.language import OPS, Edit, LineMarker, Position, parse
from plurnk.language.schema import ast_schema, main

PUBLISHED = Path(__file__).parents[3] / "docs" / "ast.schema.json"


def valid(instance: Any, definition: str | None = None) -> bool:
    schema = ast_schema()
    if definition is not None:
        schema["$ref"] = f"#/$defs/{definition}"
    validator: Any = Draft202012Validator(schema)
    return bool(validator.is_valid(instance))


@pytest.mark.spec("1.5-ast-schema")
def test_the_published_schema_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert PUBLISHED.read_text("utf-8") == capsys.readouterr().out
    assert json.loads(PUBLISHED.read_text("utf-8")) == ast_schema()


@pytest.mark.spec("1.5-ast-schema")
def test_the_schema_is_one_of_its_draft() -> None:
    schema = ast_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "discriminator" not in json.dumps(schema)


@pytest.mark.spec("1.5-ast-schema")
def test_what_is_parsed_fits_the_schema() -> None:
    text = """Text <<FIND[a](known://b?c=1&c=2#d)<1-2>:/x/g:FIND <<READ(http://u:p@h:1/p):$.a:READ
    <<SHOW://a:SHOW <<HIDE[499]:*:HIDE <<COPY(a):known://b:COPY <<MOVE(a)::MOVE <<SEND[200]:{"a":[1]}:SEND
    <<EXEC[sh](a):ls:EXEC <<EDITx(a)<1>:b:EDITx <<SEND[x]::SEND <<EDIT(a):"""
    wire = msgspec.json.decode(msgspec.json.encode(parse(text)))
    assert valid(wire)
    for item in wire["items"]:
        if item["kind"] == "statement":
            assert valid(item["statement"], "Statement")


@pytest.mark.spec("1.5-ast-schema")
@pytest.mark.parametrize("op", OPS)
def test_the_fields_of_a_statement_on_the_wire(op: str) -> None:
    fields = set(ast_schema()["$defs"][op.capitalize()]["properties"])
    assert fields == {"op", "suffix", "signal", "target", "lineMarker", "body", "position"}


@pytest.mark.spec("1.5-ast-schema")
@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"op": "LIST"},
        {"op": "EDIT", "line_marker": None},
        {"op": "EDIT", "body": 1},
        {"op": "EDIT", "signal": "a"},
        {"op": "EDIT", "target": {"kind": "url", "raw": "a://b"}},
        {"op": "SEND", "lineMarker": {"first": 1}},
        {"op": "EXEC", "signal": ["sh"]},
        {"op": "READ", "body": {"dialect": "sql", "raw": ""}},
    ],
)
def test_what_is_no_statement_does_not_fit(wrong: dict[str, Any]) -> None:
    assert not valid(wrong, "Statement")


def test_one_statement_on_the_wire() -> None:
    statement = Edit(
        suffix="x", signal=("a",), line_marker=LineMarker(first=1), body="b", position=Position(line=2, column=3)
    )
    assert msgspec.json.decode(msgspec.json.encode(statement)) == {
        "op": "EDIT",
        "suffix": "x",
        "signal": ["a"],
        "target": None,
        "lineMarker": {"first": 1, "last": None},
        "body": "b",
        "position": {"line": 2, "column": 3},
    }
