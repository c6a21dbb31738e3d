"""Writing a statement down (SPEC 1.5)."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from itertools import count
from typing import Final

import msgspec

from plurnk.errors import Malformed
from plurnk.language.ast import ErrorItem, LineMarker, Statement, StatementItem, Target, op_name
from plurnk.language.parser import parse
from plurnk.language.targets import AUTHORITY_SCHEMES
from plurnk.language.wording import quote

_NOT_IN_TAG: Final = re.compile(r"[], \t\r\n]|<<")
_NOT_IN_TARGET: Final = re.compile(r"[)\r\n]|<<")


def render(statement: Statement, authority_schemes: AbstractSet[str] = AUTHORITY_SCHEMES) -> str:
    """Write ``statement`` so that it reads back as the same AST, ``position`` aside.

    Its suffix is kept unless the body holds the close tag; then the first free of ``suffix1``,
    ``suffix2`` … is taken. Behind the text must come something else than ``[A-Za-z0-9_]``.

    Raises:
        Malformed: the syntax cannot carry it, or its parts contradict each other.
    """
    op, body = op_name(statement), statement.body
    text = "" if body is None else body if isinstance(body, str) else body.raw
    if body is not None and not text:
        raise Malformed("an empty body is written as null")
    suffix = _free_suffix(op, statement.suffix, text)
    header = _signal(statement.signal) + _target(statement.target) + _marker(statement.line_marker)
    written = f"<<{op}{suffix}{header}:{text}:{op}{suffix}"
    _read_back(written, msgspec.structs.replace(statement, suffix=suffix), authority_schemes)
    return written


def _free_suffix(op: str, suffix: str, body: str) -> str:
    taken = set(re.findall(f":{op}([A-Za-z0-9_]*)", body))
    if suffix not in taken:
        return suffix
    return next(free for n in count(1) if (free := f"{suffix}{n}") not in taken)


def _signal(signal: tuple[str, ...] | int | str | None) -> str:
    if signal is None:
        return ""
    if not isinstance(signal, tuple):
        return f"[{signal}]"
    for tag in signal:
        if not tag:
            raise Malformed("a tag cannot be empty")
        if refused := _NOT_IN_TAG.search(tag):
            raise Malformed(f"a tag cannot hold {quote(refused[0])}")
    return f"[{','.join(signal)}]"


def _target(target: Target | None) -> str:
    if target is None:
        return ""
    if not target.raw:
        raise Malformed("an empty target is written as null")
    if refused := _NOT_IN_TARGET.search(target.raw):
        raise Malformed(f"a target cannot hold {quote(refused[0])}")
    return f"({target.raw})"


def _marker(marker: LineMarker | None) -> str:
    if marker is None:
        return ""
    return f"<{marker.first}>" if marker.last is None else f"<{marker.first}-{marker.last}>"


def _read_back(written: str, meant: Statement, authority_schemes: AbstractSet[str]) -> None:
    """The proof of the promise: whatever the AST was made of, the text says it or is refused."""
    match parse(written, authority_schemes).items:
        case (StatementItem(statement=read),) if msgspec.structs.replace(read, position=meant.position) == meant:
            return
        case (ErrorItem(error=error), *_):
            raise Malformed(error.message)
        case _:
            raise Malformed("the statement's parts contradict each other")
