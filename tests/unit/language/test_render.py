"""Writing statements down, and refusing what the syntax cannot carry (SPEC 1.5)."""

from __future__ import annotations

import msgspec
import pytest

from plurnk.errors import Malformed
from plurnk.language import (
    Copy,
    Edit,
    Exec,
    Find,
    GlobMatcher,
    Hide,
    LineMarker,
    LocalTarget,
    Move,
    ParseResult,
    Position,
    Read,
    RegexMatcher,
    Send,
    SendBody,
    Show,
    Statement,
    StatementItem,
    UrlTarget,
    parse,
    parse_target,
    render,
)

HERE = LocalTarget(raw="a")


@pytest.mark.spec("1.5-render-roundtrip")
@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (Read(), "<<READ::READ"),
        (Find(signal=(), target=parse_target("known://**")), "<<FIND[](known://**)::FIND"),
        (Read(target=HERE, line_marker=LineMarker(first=-3, last=-1)), "<<READ(a)<-3--1>::READ"),
        (Show(line_marker=LineMarker(first=7), body=GlobMatcher(raw="*")), "<<SHOW<7>:*:SHOW"),
        (Edit(suffix="x", signal=("b", "c:d"), target=HERE, body=" t\n"), "<<EDITx[b,c:d](a): t\n:EDITx"),
        (Copy(target=HERE, body=parse_target("known://b)")), "<<COPY(a):known://b):COPY"),
        (Move(target=LocalTarget(raw=" a b ")), "<<MOVE( a b )::MOVE"),
        (Hide(signal=499), "<<HIDE[499]::HIDE"),
        (Hide(signal=("v499",)), "<<HIDE[v499]::HIDE"),
        (Send(signal=-1, body=SendBody(raw="[1]", json=[1])), "<<SEND[-1]:[1]:SEND"),
        (Exec(signal="sh", body="ls | wc"), "<<EXEC[sh]:ls | wc:EXEC"),
        (
            Read(body=RegexMatcher(raw=r"/a\/b/g", pattern="a/b", flags="g"), position=Position(line=5, column=2)),
            r"<<READ:/a\/b/g:READ",
        ),
        # The suffix: kept while it can be, else the first that is free.
        (Edit(body=":EDITx :EDI :edit"), "<<EDIT::EDITx :EDI :edit:EDIT"),
        (Edit(body="a:EDIT"), "<<EDIT1:a:EDIT:EDIT1"),
        (Edit(body=":EDIT:EDIT1 :EDIT2:EDIT4"), "<<EDIT3::EDIT:EDIT1 :EDIT2:EDIT4:EDIT3"),
        (Edit(suffix="x", body=":EDIT :EDITx-"), "<<EDITx1::EDIT :EDITx-:EDITx1"),
        (Edit(body=":READ"), "<<EDIT::READ:EDIT"),
    ],
)
def test_a_statement_is_written_so_that_it_reads_back(statement: Statement, text: str) -> None:
    assert render(statement) == text
    (item,) = parse(text).items
    assert isinstance(item, StatementItem)
    suffix, position = item.statement.suffix, item.position
    assert item.statement == msgspec.structs.replace(statement, suffix=suffix, position=position)


@pytest.mark.spec("1.5-render-roundtrip")
@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        (Read(target=LocalTarget(raw="a)b")), "a target cannot hold ')'"),
        (Read(target=LocalTarget(raw="a\nb")), r"a target cannot hold '\n'"),
        (Read(target=LocalTarget(raw="a\rb")), r"a target cannot hold '\r'"),
        (Read(target=LocalTarget(raw="a<<b")), "a target cannot hold '<<'"),
        (Read(target=LocalTarget(raw="")), "an empty target is written as null"),
        (Copy(body=LocalTarget(raw="a\nb")), r"unrecognized character '\n' in target"),
        (Copy(body=LocalTarget(raw="")), "an empty body is written as null"),
        (Edit(body=""), "an empty body is written as null"),
        (Edit(signal=("a,b",)), "a tag cannot hold ','"),
        (Edit(signal=("a]",)), "a tag cannot hold ']'"),
        (Edit(signal=("a b",)), "a tag cannot hold ' '"),
        (Edit(signal=("a\t",)), r"a tag cannot hold '\t'"),
        (Edit(signal=("<<",)), "a tag cannot hold '<<'"),
        (Edit(signal=("",)), "a tag cannot be empty"),
        (Hide(signal=("a", "499")), "expected tags or one integer for HIDE signal"),
        (Hide(signal=("499",)), "the statement's parts contradict each other"),
        (Hide(signal=10**15), "expected integer of at most 15 digits for HIDE signal"),
        (Exec(signal="a b"), "expected Runtime Tag for EXEC signal"),
        (Exec(signal=""), "the statement's parts contradict each other"),
        (Read(line_marker=LineMarker(first=10**15)), "expected integer of at most 15 digits in line marker"),
        (Read(suffix="a b"), "expected ':'; got 'b'"),
        (Edit(suffix="é", body="b"), "expected ':'; got 'é'"),
        (Edit(suffix="[a]", body="b"), "the statement's parts contradict each other"),
        (Edit(suffix="::EDIT<<EDIT", body="b"), "the statement's parts contradict each other"),
        (Read(target=LocalTarget(raw="known://a")), "the statement's parts contradict each other"),
        (Read(target=UrlTarget(raw="known://a", scheme="known")), "the statement's parts contradict each other"),
        (Read(body=GlobMatcher(raw="/a/")), "the statement's parts contradict each other"),
        (Read(body=RegexMatcher(raw="/a/", pattern="b")), "the statement's parts contradict each other"),
        (Read(body=RegexMatcher(raw="/(/", pattern="(")), "broken regex: expected ')'; got end of regex"),
        (Send(body=SendBody(raw="[1]", json=[2])), "the statement's parts contradict each other"),
    ],
)
def test_what_the_syntax_cannot_carry_is_refused(statement: Statement, detail: str) -> None:
    with pytest.raises(Malformed) as caught:
        render(statement)
    assert caught.value.detail == detail


def test_a_target_with_a_host_needs_its_scheme_named() -> None:
    schemes = frozenset({"foo"})
    statement = Read(target=parse_target("foo://h/p", schemes))
    assert render(statement, schemes) == "<<READ(foo://h/p)::READ"
    with pytest.raises(Malformed):
        render(statement)


def test_many_close_tags_cost_no_more_than_their_text() -> None:
    body = "".join(f":EDIT{n}" for n in range(20_000)) + ":EDIT"
    text = render(Edit(body=body))
    assert text.startswith("<<EDIT20000:")


def test_the_wire_form_of_a_statement_reads_back() -> None:
    result = parse("So <<EDITx[a](known://b?c=1#d)<1-2>:e:EDITx <<SEND[x]::SEND <<READ(f):/g/:READ <<EDIT")
    wire = msgspec.json.encode(result)
    assert msgspec.json.decode(wire, type=ParseResult) == result
