"""From msgspec's words for a value that does not fit to ours: the field, and what it should be (SPEC 6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import inspect

_SHAPE: Final = re.compile(r"(?P<complaint>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_FIELD: Final = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_CHOICE: Final = re.compile(r"Invalid (?:enum )?value (?P<got>.*)", re.DOTALL)
_STEP: Final = re.compile(r"\.?([^.\[\]]+|\[[^\]]*\])")
_ITEM: Final = "[]"
# The path is written with the client's names, and what looks for its steps is quadratic in "[".
_MAX_CHARS: Final = 1000


def explain(message: str, wanted: Any) -> str:
    """Turn the text of a ``msgspec.ValidationError`` about a value of type ``wanted`` into one of ours.

    ``Expected `int`, got `str` - at `$.maxTurns` `` becomes ``maxTurns: expected int, got str``. Unknown
    and missing fields and wrong choices are told with what was possible.
    """
    shape = _SHAPE.fullmatch(message[:_MAX_CHARS])
    assert shape is not None  # it matches any text
    complaint, path = shape["complaint"], shape["path"] or ""
    steps = [_ITEM if step.startswith("[") else step for step in _STEP.findall(path)]
    root = inspect.type_info(wanted)
    where = path.removeprefix(".")
    if field := _FIELD.fullmatch(complaint):
        where = f"{where}.{field['name']}".removeprefix(".")
        if field["what"] == "contains unknown":
            known = [known.encode_name for struct in _structs(_at(root, steps)) for known in struct.fields]
            return f"{where}: unknown field, {_expected(known)}"
        steps.append(field["name"])
        return f"{where}: {_expected(_kinds(_at(root, steps)) or _choices(root, steps))}, got nothing"
    if choice := _CHOICE.fullmatch(complaint):
        return f"{where}: {_expected(_choices(root, steps))}, got {choice['got']}"
    return f"{where or 'params'}: {complaint[:1].lower()}{complaint[1:].replace('`', '')}"


def _expected(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    return f"expected {' or '.join(unique)}" if unique else "expected nothing here"


def _at(info: inspect.Type, steps: Sequence[str]) -> Iterator[inspect.Type]:
    """Yield each type that a value at ``steps`` below ``info`` may have; unions are taken apart."""
    match info:
        case inspect.UnionType(types=types):
            for member in types:
                yield from _at(member, steps)
        case inspect.Metadata(type=inner):
            yield from _at(inner, steps)
        case _ if not steps:
            yield info
        case inspect.StructType(fields=fields):
            for field in fields:
                if field.encode_name == steps[0]:
                    yield from _at(field.type, steps[1:])
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item) if steps[0] == _ITEM:
            yield from _at(item, steps[1:])
        case inspect.DictType(value_type=value) if steps[0] == _ITEM:
            yield from _at(value, steps[1:])
        case _:
            pass


def _structs(infos: Iterator[inspect.Type]) -> Iterator[inspect.StructType]:
    return (info for info in infos if isinstance(info, inspect.StructType))


def _choices(root: inspect.Type, steps: Sequence[str]) -> list[str]:
    """The values of the Literal at ``steps``, or, where ``steps`` ends in a tag, the tags there."""
    words = [repr(value) for info in _at(root, steps) if isinstance(info, inspect.LiteralType) for value in info.values]
    if words or not steps:
        return words
    return [repr(struct.tag) for struct in _structs(_at(root, steps[:-1])) if struct.tag_field == steps[-1]]


def _kinds(infos: Iterator[inspect.Type]) -> list[str]:
    """JSON-ish words for types: ``int``, ``str``, ``object``, a choice's values."""
    words: list[str] = []
    for info in infos:
        match info:
            case inspect.LiteralType(values=values):
                words += [repr(value) for value in values]
            case inspect.StructType() | inspect.DictType():
                words.append("object")
            case inspect.NoneType():
                words.append("null")
            case inspect.VarTupleType() | inspect.ListType():
                words.append("array")
            case _:
                words.append(type(info).__name__.removesuffix("Type").lower())
    return words
