"""What a well-formed statement parses to (SPEC 1.1, 1.2, 1.4)."""

from __future__ import annotations

from typing import Any

import pytest

from plurnk.language import (
    OPS,
    Copy,
    Edit,
    Exec,
    Find,
    GlobMatcher,
    Hide,
    LineMarker,
    LocalTarget,
    Move,
    Position,
    Read,
    Send,
    SendBody,
    Statement,
    StatementItem,
    TextItem,
    UrlTarget,
    op_name,
    parse,
)


def only(text: str) -> Statement:
    """The one statement that is all of ``text``."""
    result = parse(text)
    (item,) = result.items
    assert isinstance(item, StatementItem), item
    assert result.unparsed_tail is None
    assert item.position == item.statement.position == Position(line=1, column=0)
    return item.statement


@pytest.mark.parametrize("op", OPS)
def test_every_operation_with_nothing_but_its_tags(op: str) -> None:
    statement = only(f"<<{op}::{op}")
    assert op_name(statement) == op
    parts = (statement.signal, statement.target, statement.line_marker, statement.body, statement.suffix)
    assert parts == (None, None, None, None, "")


ALL_SLOTS = Edit(
    signal=("a", "b"),
    target=LocalTarget(raw="x y"),
    line_marker=LineMarker(first=1, last=5),
    body="text",
)


@pytest.mark.spec("1.1-slots-any-order")
@pytest.mark.parametrize(
    "text",
    [
        "<<EDIT[a,b](x y)<1-5>:text:EDIT",
        "<<EDIT[a,b]<1-5>(x y):text:EDIT",
        "<<EDIT(x y)[a,b]<1-5>:text:EDIT",
        "<<EDIT(x y)<1-5>[a,b]:text:EDIT",
        "<<EDIT<1-5>[a,b](x y):text:EDIT",
        "<<EDIT<1-5>(x y)[a,b]:text:EDIT",
        "<<EDIT [a,b] \t(x y)\r\n<1-5> \n:text:EDIT",
        "<<EDIT[ a\r\n\tb ](x y)<1,5>:text:EDIT",
    ],
)
def test_slots_come_in_any_order(text: str) -> None:
    assert only(text) == ALL_SLOTS


@pytest.mark.spec("1.1-body-opaque")
@pytest.mark.parametrize(
    ("text", "suffix", "body"),
    [
        ("<<EDIT:a:EDIT", "", "a"),
        ("<<EDIT::EDIT", "", None),
        ("<<EDIT:::EDIT", "", ":"),
        ("<<EDIT:::::EDIT", "", ":::"),
        ("<<EDIT: a\r\n\tb :EDIT", "", " a\r\n\tb "),
        ("<<EDIT:a:EDITx:EDIT_:EDIT0:EDI:edit:EDIT", "", "a:EDITx:EDIT_:EDIT0:EDI:edit"),
        ("<<EDIT:<<READ(a):b:READ:EDIT", "", "<<READ(a):b:READ"),
        ("<<EDIT1:<<EDIT(a):b:EDIT:EDIT1", "1", "<<EDIT(a):b:EDIT"),
        ("<<EDITx:a:EDIT:EDITxy:EDITX:EDITx", "x", "a:EDIT:EDITxy:EDITX"),
        ("<<EDITOR:a:EDITO:EDITOR", "OR", "a:EDITO"),
        ("<<EDIT__9:\0𝄞\ud800:EDIT__9", "__9", "\0𝄞\ud800"),
    ],
)
def test_the_body_is_verbatim_up_to_the_close_tag(text: str, suffix: str, body: str | None) -> None:
    assert only(text) == Edit(suffix=suffix, body=body)


@pytest.mark.spec("1.1-body-opaque")
@pytest.mark.parametrize("after", [":", "-", "é", "\n", "<"])
def test_what_is_no_ascii_word_character_ends_the_close_tag(after: str) -> None:
    statement, text = parse(f"<<EDIT:a:EDIT{after}").items
    assert isinstance(statement, StatementItem)
    assert text == TextItem(text=after, position=Position(line=1, column=13))


@pytest.mark.spec("1.1-interstatement-text")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "<<",
        "<<EDI",
        "<<edit(a):b:edit",
        "<< EDIT",
        "cat <<EOF\nx\nEOF\n",
        "1 << 2",
        ":EDIT",
        "<<<",
        "a\r\nb",
    ],
)
def test_what_is_no_statement_is_text(text: str) -> None:
    expected = (TextItem(text=text, position=Position(line=1, column=0)),) if text else ()
    assert parse(text).items == expected


@pytest.mark.spec("1.1-interstatement-text")
def test_text_around_statements_is_kept_with_its_place() -> None:
    items = parse("So: <<READ(a)::READ\nthen\n <<<READ(b)::READ!").items
    assert [(type(item).__name__, item.position.line, item.position.column) for item in items] == [
        ("TextItem", 1, 0),
        ("StatementItem", 1, 4),
        ("TextItem", 1, 19),
        ("StatementItem", 3, 2),
        ("TextItem", 3, 17),
    ]
    assert [item.text for item in items if isinstance(item, TextItem)] == ["So: ", "\nthen\n <", "!"]


@pytest.mark.spec("1.1-line-marker-shape")
@pytest.mark.parametrize(
    ("marker", "first", "last"),
    [
        ("<7>", 7, None),
        ("<0>", 0, None),
        ("<-1>", -1, None),
        ("<1-5>", 1, 5),
        ("<1,5>", 1, 5),
        ("<1--5>", 1, -5),
        ("<1,-5>", 1, -5),
        ("<-3--1>", -3, -1),
        ("<-3-1>", -3, 1),
        ("<-3,-1>", -3, -1),
        ("<5-1>", 5, 1),
        ("<007>", 7, None),
        ("<999999999999999--999999999999999>", 999999999999999, -999999999999999),
    ],
)
def test_line_markers(marker: str, first: int, last: int | None) -> None:
    assert only(f"<<READ{marker}::READ") == Read(line_marker=LineMarker(first=first, last=last))


TAG_LISTS = [
    ("[]", ()),
    ("[ ]", ()),
    ("[a]", ("a",)),
    ("[a,b]", ("a", "b")),
    ("[a b\tc\r\nd]", ("a", "b", "c", "d")),
    ("[,,a, ,b,]", ("a", "b")),
    ("[a:b(c<d é-1.5]", ("a:b(c<d", "é-1.5")),
]


@pytest.mark.spec("1.2-signal-shapes")
@pytest.mark.parametrize(("signal", "tags"), TAG_LISTS)
@pytest.mark.parametrize("op", ["FIND", "READ", "EDIT", "COPY", "MOVE", "SHOW", "HIDE"])
def test_tag_lists(op: str, signal: str, tags: tuple[str, ...]) -> None:
    assert only(f"<<{op}{signal}::{op}").signal == tags


@pytest.mark.spec("1.2-signal-shapes")
@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("<<FIND[499]::FIND", ("499",)),
        ("<<HIDE[499]::HIDE", 499),
        ("<<HIDE[ 499, ]::HIDE", 499),
        ("<<HIDE[v499]::HIDE", ("v499",)),
        ("<<SEND[200]::SEND", 200),
        ("<<SEND[-1]::SEND", -1),
        ("<<SEND[]::SEND", None),
        ("<<EXEC[python3.11]::EXEC", "python3.11"),
        ("<<EXEC[_a+b-c]::EXEC", "_a+b-c"),
        ("<<EXEC[]::EXEC", None),
    ],
)
def test_signals_of_their_own_shape(text: str, signal: object) -> None:
    assert only(text).signal == signal


def test_an_empty_target_is_none() -> None:
    assert only("<<SEND():hi:SEND") == Send(body=SendBody(raw="hi"))


def test_bodies_by_operation() -> None:
    entry = UrlTarget(raw="known://b)", scheme="known", pathname="b)")
    assert only("<<FIND:*.py:FIND") == Find(body=GlobMatcher(raw="*.py"))
    assert only("<<HIDE:*:HIDE") == Hide(body=GlobMatcher(raw="*"))
    assert only("<<COPY(a):known://b):COPY") == Copy(target=LocalTarget(raw="a"), body=entry)
    assert only("<<MOVE(a): b :MOVE") == Move(target=LocalTarget(raw="a"), body=LocalTarget(raw=" b "))
    assert only("<<EXEC(a):ls\n:EXEC") == Exec(target=LocalTarget(raw="a"), body="ls\n")


DEEP = "[" * 100 + "]" * 100


@pytest.mark.parametrize(
    ("raw", "json"),
    [
        ("hello", None),
        ("null", None),
        (' {"a": [1, 2.5, "x"], "b": true} ', {"a": [1, 2.5, "x"], "b": True}),
        ("42", 42),
        ('"x"', "x"),
        ("9" * 40, int("9" * 40)),
        ("NaN", None),
        ("[1,]", None),
        ('"\ud800"', None),
        ('"\\ud800"', None),
        ("1e999", None),
        ("9" * 5000, None),
        (f'["{"[" * 200}"]', ["[" * 200]),
        (f'["\\"", {"[" * 98}{"]" * 98}]', ['"', None]),
        (f"[{DEEP}]", None),
        ("[" * 10**6, None),
        ('{"a":' * 10**5, None),
    ],
)
def test_send_bodies(raw: str, json: Any) -> None:
    body = only(f"<<SEND:{raw}:SEND").body
    assert isinstance(body, SendBody)
    assert body.raw == raw
    found = [body.json[0], None] if raw.startswith('["\\"') else body.json
    assert found == json


def test_json_may_nest_a_hundred_deep() -> None:
    body = only(f"<<SEND:{DEEP}:SEND").body
    assert isinstance(body, SendBody)
    assert body.json is not None
