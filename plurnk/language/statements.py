"""From the parts of a statement, read but not yet understood, to its AST (SPEC 1.2-1.4).

Errors of source ``visitor`` come from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from plurnk.errors import Malformed
from plurnk.language.ast import (
    Copy,
    Edit,
    Exec,
    Find,
    Hide,
    LineMarker,
    Matcher,
    Move,
    OpName,
    Position,
    Read,
    Send,
    SendBody,
    Show,
    Statement,
    Target,
)
from plurnk.language.matchers import parse_matcher
from plurnk.language.targets import parse_target
from plurnk.language.wording import quote

T = TypeVar("T")

MAX_INTEGER_DIGITS: Final = 15
"""Below 2**53, so that every integer of the language is exact wherever JSON is read."""

MAX_JSON_DEPTH: Final = 100
"""A SEND's text that nests deeper is not taken for JSON: what a decoder's stack allows is no promise."""

_TAG: Final = re.compile(r"[^, \t\r\n]+")
_INTEGER: Final = re.compile(r"-?[0-9]+")
_RUNTIME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
_LINE_BREAK: Final = re.compile(r"[\r\n]")
_JSON_NESTING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class Slot(NamedTuple):
    """What stands between a slot's brackets, and where it begins."""

    text: str
    position: Position


class Draft:
    """A statement in the making; a broken one costs no more than what was read of it."""

    signal: Slot | None = None
    target: Slot | None = None
    marker: LineMarker | None = None

    def __init__(self, op: OpName, position: Position) -> None:
        self.op: OpName = op
        self.position = position
        self.suffix = ""


class Refused(Exception):
    """A part of a statement cannot be understood."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


def assemble(draft: Draft, body: Slot, authority_schemes: AbstractSet[str]) -> Statement:
    """Understand the parts of a statement; an empty target or body is none.

    Raises:
        Refused: one of them cannot be understood; of several, the first in the order signal, target, body.
    """
    shape = _SHAPES[draft.op]
    signal, target = draft.signal, draft.target
    return shape.make(
        suffix=draft.suffix,
        signal=_understand(shape.signal, signal) if signal else None,
        target=_understand(lambda raw: parse_target(raw, authority_schemes), target)
        if target and target.text
        else None,
        line_marker=draft.marker,
        body=_understand(lambda raw: shape.body(raw, authority_schemes), body) if body.text else None,
        position=draft.position,
    )


def _understand(reader: Callable[[str], T], slot: Slot) -> T:
    try:
        return reader(slot.text)
    except Malformed as fault:
        raise Refused(fault.detail, slot.position) from None


# Signals


def _tags(text: str) -> tuple[str, ...]:
    return tuple(_TAG.findall(text))


def _tags_or_integer(text: str) -> tuple[str, ...] | int:
    tags = _tags(text)
    integers = [tag for tag in tags if _INTEGER.fullmatch(tag)]
    if not integers:
        return tags
    if len(tags) > 1:
        raise Malformed("expected tags or one integer for HIDE signal")
    return _integer(integers[0], "HIDE")


def _status(text: str) -> int | None:
    if not text:
        return None
    if not _INTEGER.fullmatch(text):
        raise Malformed("expected integer for SEND signal")
    return _integer(text, "SEND")


def _integer(digits: str, op: OpName) -> int:
    if len(digits.removeprefix("-")) > MAX_INTEGER_DIGITS:
        raise Malformed(f"expected integer of at most {MAX_INTEGER_DIGITS} digits for {op} signal")
    return int(digits)


def _runtime(text: str) -> str | None:
    if not text:
        return None
    if not _RUNTIME.fullmatch(text):
        raise Malformed("expected Runtime Tag for EXEC signal")
    return text


# Bodies


def _verbatim(raw: str, _authority_schemes: AbstractSet[str]) -> str:
    return raw


def _matcher(raw: str, _authority_schemes: AbstractSet[str]) -> Matcher:
    return parse_matcher(raw)


def _destination(raw: str, authority_schemes: AbstractSet[str]) -> Target:
    if line_break := _LINE_BREAK.search(raw):
        raise Malformed(f"unrecognized character {quote(line_break[0])} in target")
    return parse_target(raw, authority_schemes)


def _message(raw: str, _authority_schemes: AbstractSet[str]) -> SendBody:
    return SendBody(raw=raw, json=_json(raw))


def _json(text: str) -> Any:
    """The value that ``text`` is the JSON of, or None: no JSON, too deep, or a number out of range."""
    if not _nests_deeper(text, MAX_JSON_DEPTH):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError):  # the latter: a lone surrogate
            pass
    return None


def _nests_deeper(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for token in _JSON_NESTING.finditer(text):
        match token[0][0]:
            case "[" | "{":
                depth += 1
                if depth > limit:
                    return True
            case "]" | "}":
                depth -= 1
            case _:
                pass
    return False


class _Shape(NamedTuple):
    make: Callable[..., Statement]
    signal: Callable[[str], object]
    body: Callable[[str, AbstractSet[str]], object]


_SHAPES: Final[Mapping[OpName, _Shape]] = {
    "FIND": _Shape(Find, _tags, _matcher),
    "READ": _Shape(Read, _tags, _matcher),
    "EDIT": _Shape(Edit, _tags, _verbatim),
    "COPY": _Shape(Copy, _tags, _destination),
    "MOVE": _Shape(Move, _tags, _destination),
    "SHOW": _Shape(Show, _tags, _matcher),
    "HIDE": _Shape(Hide, _tags_or_integer, _matcher),
    "SEND": _Shape(Send, _status, _message),
    "EXEC": _Shape(Exec, _runtime, _verbatim),
}
