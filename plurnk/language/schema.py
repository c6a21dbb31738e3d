"""The JSON Schema of the AST, made from its types; ``python -m plurnk.language.schema`` prints it (SPEC 1.5)."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import msgspec

from plurnk.language.ast import ParseResult, Statement

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | bool | None"


def ast_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a parse result; ``$defs`` has ``Statement`` and every part of it."""
    roots, definitions = msgspec.json.schema_components([ParseResult, Statement], ref_template="#/$defs/{name}")
    result, statement = roots
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "plurnk parse result",
        **result,
        "$defs": _standard({**definitions, "Statement": statement}),
    }


def _standard(schema: _Json) -> _Json:
    """Without ``discriminator``, which is OpenAPI's and not the draft's; white space the same on every Python."""
    if isinstance(schema, dict):
        fields = {key: _standard(part) for key, part in schema.items() if key != "discriminator"}
        match fields:
            case {"description": str(docstring)}:
                fields["description"] = " ".join(docstring.split())
            case _:
                pass
        return fields
    if isinstance(schema, list):
        return [_standard(part) for part in schema]
    return schema


def main() -> None:
    """Print the schema as it is kept in ``docs/ast.schema.json``."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(ast_schema()), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
