"""What a parsed text is made of: statements, targets, matchers, errors (SPEC 1.1–1.5).

The values are the wire form too: ``msgspec.to_builtins(statement)`` is what ``plurnk parse``
prints and what ``op.dispatch`` takes, and ``docs/ast.schema.json`` is generated from these types.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """Base of every AST value: frozen, camelCase on the wire, unknown fields refused.

    ``gc=False``: values are trees, so the cycle collector need not walk them; that is a quarter of the
    time in which a text of many statements parses.
    """


class Position(Value, frozen=True):
    """Where an item begins: 1-based line, 0-based column, both in code points."""

    line: int
    column: int


class LineMarker(Value, frozen=True):
    """``<N>`` has ``last`` None; ``<N-M>`` and ``<N,M>`` have both."""

    first: int
    last: int | None = None


class UrlTarget(Value, frozen=True, tag_field="kind", tag="url"):
    """``scheme://rest``. Entry schemes have no authority: all before ``?`` or ``#`` is the path.

    ``pathname`` and ``fragment`` are as written (percent-escapes are decoded when the entry is
    looked up); ``params`` is the decoded query, a repeated key being a list.
    """

    raw: str
    scheme: str
    username: str | None = None
    password: str | None = None
    hostname: str | None = None
    port: int | None = None
    pathname: str = ""
    params: dict[str, str | list[str]] = {}
    fragment: str | None = None


class LocalTarget(Value, frozen=True, tag_field="kind", tag="local"):
    """A project file path, kept as written."""

    raw: str


Target: TypeAlias = UrlTarget | LocalTarget


class GlobMatcher(Value, frozen=True, tag_field="dialect", tag="glob"):
    raw: str


class RegexMatcher(Value, frozen=True, tag_field="dialect", tag="regex"):
    r"""``/pattern/flags``; ``pattern`` has ``\/`` already turned into ``/``."""

    raw: str
    pattern: str
    flags: str = ""


class JsonpathMatcher(Value, frozen=True, tag_field="dialect", tag="jsonpath"):
    raw: str


class XpathMatcher(Value, frozen=True, tag_field="dialect", tag="xpath"):
    raw: str


Matcher: TypeAlias = GlobMatcher | RegexMatcher | JsonpathMatcher | XpathMatcher


class SendBody(Value, frozen=True):
    """A SEND's text, and its value when the text is JSON (``null`` and "no JSON" are both None)."""

    raw: str
    json: Any = None


class _Selecting(Value, frozen=True):
    """The parts of an op that selects: tags to have, and a matcher."""

    suffix: str = ""
    signal: tuple[str, ...] | None = None
    target: Target | None = None
    line_marker: LineMarker | None = None
    body: Matcher | None = None
    position: Position = Position(line=1, column=0)


class _Transferring(Value, frozen=True):
    """The parts of an op that carries: tags to apply, and where to."""

    suffix: str = ""
    signal: tuple[str, ...] | None = None
    target: Target | None = None
    line_marker: LineMarker | None = None
    body: Target | None = None
    position: Position = Position(line=1, column=0)


class Find(_Selecting, frozen=True, tag_field="op", tag="FIND"):
    pass


class Read(_Selecting, frozen=True, tag_field="op", tag="READ"):
    pass


class Show(_Selecting, frozen=True, tag_field="op", tag="SHOW"):
    pass


class Copy(_Transferring, frozen=True, tag_field="op", tag="COPY"):
    pass


class Move(_Transferring, frozen=True, tag_field="op", tag="MOVE"):
    pass


class Edit(Value, frozen=True, tag_field="op", tag="EDIT"):
    suffix: str = ""
    signal: tuple[str, ...] | None = None
    target: Target | None = None
    line_marker: LineMarker | None = None
    body: str | None = None
    position: Position = Position(line=1, column=0)


class Hide(Value, frozen=True, tag_field="op", tag="HIDE"):
    suffix: str = ""
    signal: tuple[str, ...] | int | None = None
    target: Target | None = None
    line_marker: LineMarker | None = None
    body: Matcher | None = None
    position: Position = Position(line=1, column=0)


class Send(Value, frozen=True, tag_field="op", tag="SEND"):
    suffix: str = ""
    signal: int | None = None
    target: Target | None = None
    line_marker: None = None
    body: SendBody | None = None
    position: Position = Position(line=1, column=0)


class Exec(Value, frozen=True, tag_field="op", tag="EXEC"):
    suffix: str = ""
    signal: str | None = None
    target: Target | None = None
    line_marker: None = None
    body: str | None = None
    position: Position = Position(line=1, column=0)


Statement: TypeAlias = Find | Read | Edit | Copy | Move | Show | Hide | Send | Exec
OpName = Literal["FIND", "READ", "EDIT", "COPY", "MOVE", "SHOW", "HIDE", "SEND", "EXEC"]
OPS: tuple[OpName, ...] = ("FIND", "READ", "EDIT", "COPY", "MOVE", "SHOW", "HIDE", "SEND", "EXEC")


def op_name(statement: Statement) -> OpName:
    """The operation of ``statement``, the ``op`` of its wire form."""
    return cast("OpName", statement.__struct_config__.tag)


class ParseError(Value, frozen=True):
    """One broken statement; the parser resumed at the next opener."""

    line: int
    column: int
    source: Literal["lexer", "parser", "visitor"]
    message: str


class StatementItem(Value, frozen=True, tag_field="kind", tag="statement"):
    statement: Statement
    position: Position


class ErrorItem(Value, frozen=True, tag_field="kind", tag="error"):
    error: ParseError
    position: Position


class TextItem(Value, frozen=True, tag_field="kind", tag="text"):
    text: str
    position: Position


Item: TypeAlias = StatementItem | ErrorItem | TextItem


class UnparsedTail(Value, frozen=True):
    """A statement that was never closed began at ``from_``; nothing after it may be executed."""

    from_: Position = msgspec.field(name="from")
    reason: str


class ParseResult(Value, frozen=True):
    """All of a text, in source order."""

    items: tuple[Item, ...]
    unparsed_tail: UnparsedTail | None = msgspec.field(default=None, name="unparsed_tail")
