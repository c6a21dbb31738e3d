"""What is said of a broken statement, and where the parser goes on (SPEC 1.5)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from plurnk.language import ErrorItem, Item, ParseError, Parser, ParseResult, Position, StatementItem, TextItem, parse

LEXER = [
    ("<<EDIT(a<<b):x:EDIT", 8, "unrecognized character '<<' in target"),
    ("<<EDIT[a<<b]:x:EDIT", 8, "unrecognized character '<<' in signal"),
    ("<<READ<1234567890123456>::READ", 22, "expected integer of at most 15 digits in line marker"),
    ("<<READ<1,-1234567890123456>::READ", 25, "expected integer of at most 15 digits in line marker"),
]
PARSER = [
    ("<<EDIT(a)x:EDIT", 9, "expected ':'; got 'x'"),
    ("<<EDIT is an operation", 7, "expected ':'; got 'i'"),
    ("<<EDIT)", 6, "expected ':'; got ')'"),
    ("<<EDIT\x07", 6, "expected ':'; got 'U+0007'"),
    ("<<EDIT\ud800", 6, "expected ':'; got 'U+D800'"),
    ("<<EDIT(a\n):x:EDIT", 8, r"expected ')'; got '\n'"),
    ("<<EDIT(a\r\n):x:EDIT", 8, r"expected ')'; got '\r'"),
    ("<<EDIT(a)(b):x:EDIT", 9, "expected ':'; got a second target"),
    ("<<EDIT[a][b]:x:EDIT", 9, "expected ':'; got a second signal"),
    ("<<EDIT[](b)[]:x:EDIT", 11, "expected ':'; got a second signal"),
    ("<<EDIT<1><2>:x:EDIT", 9, "expected ':'; got a second line marker"),
    ("<<SEND<1>:x:SEND", 6, "expected ':'; got a line marker on SEND"),
    ("<<EXEC(a)<1>:x:EXEC", 9, "expected ':'; got a line marker on EXEC"),
    ("<<EDIT<>:x:EDIT", 7, "expected integer in line marker; got '>'"),
    ("<<EDIT<a>:x:EDIT", 7, "expected integer in line marker; got 'a'"),
    ("<<EDIT<+1>:x:EDIT", 7, "expected integer in line marker; got '+'"),
    ("<<EDIT< 1>:x:EDIT", 7, "expected integer in line marker; got ' '"),
    ("<<EDIT<->:x:EDIT", 8, "expected integer in line marker; got '>'"),
    ("<<EDIT<1->:x:EDIT", 9, "expected integer in line marker; got '>'"),
    ("<<EDIT<1---2>:x:EDIT", 10, "expected integer in line marker; got '-'"),
    ("<<EDIT<1-2-3>:x:EDIT", 10, "expected '>'; got '-'"),
    ("<<EDIT<1 >:x:EDIT", 8, "expected '>'; got ' '"),
    ("<<EDIT<1:x:EDIT", 8, "expected '>'; got ':'"),
]
VISITOR = [
    ("<<SEND[ok]:x:SEND", 7, "expected integer for SEND signal"),
    ("<<SEND[2,3]:x:SEND", 7, "expected integer for SEND signal"),
    ("<<SEND[ 2 ]:x:SEND", 7, "expected integer for SEND signal"),
    ("<<SEND[2.0]:x:SEND", 7, "expected integer for SEND signal"),
    ("<<SEND[٢]:x:SEND", 7, "expected integer for SEND signal"),
    ("<<SEND[1234567890123456]:x:SEND", 7, "expected integer of at most 15 digits for SEND signal"),
    ("<<EXEC[sh,bash]:x:EXEC", 7, "expected Runtime Tag for EXEC signal"),
    ("<<EXEC[sh bash]:x:EXEC", 7, "expected Runtime Tag for EXEC signal"),
    ("<<EXEC[3]:x:EXEC", 7, "expected Runtime Tag for EXEC signal"),
    ("<<HIDE[499,foo]::HIDE", 7, "expected tags or one integer for HIDE signal"),
    ("<<HIDE[foo 499]::HIDE", 7, "expected tags or one integer for HIDE signal"),
    ("<<HIDE[499,410]::HIDE", 7, "expected tags or one integer for HIDE signal"),
    ("<<HIDE[1234567890123456]::HIDE", 7, "expected integer of at most 15 digits for HIDE signal"),
    ("<<READ(http://[::1)::READ", 7, "expected an address in '[…]' as host in target; got '[::1'"),
    ("<<READ(http://a:b)::READ", 7, "expected port number in target; got 'b'"),
    ("<<COPY(a):ws://a:b:COPY", 10, "expected port number in target; got 'b'"),
    ("<<COPY(a):b\nc:COPY", 10, r"unrecognized character '\n' in target"),
    ("<<READ(a):/x:READ", 10, "expected '/' at the end of regex; got end of body"),
    ("<<READ(a):/x(/:READ", 10, "broken regex: expected ')'; got end of regex"),
    ("<<READ(a):/x/gx:READ", 10, "expected flags of 'gimsu' after regex; got 'x'"),
    ("<<READ(a):$.a[:READ", 10, "broken jsonpath: expected a selector; got end of jsonpath"),
    ("<<READ(a)://a[]:READ", 10, "broken xpath: expected a step; got ']'"),
]
CUT_OFF = [
    ("<<EDIT", "expected ':'; got end of input"),
    ("<<EDITx", "expected ':'; got end of input"),
    ("<<EDIT(a) ", "expected ':'; got end of input"),
    ("<<EDIT[a", "expected ']'; got end of input"),
    ("<<EDIT(a<", "expected ')'; got end of input"),
    ("<<EDIT<", "expected integer in line marker; got end of input"),
    ("<<EDIT<-", "expected integer in line marker; got end of input"),
    ("<<EDIT<1", "expected '>'; got end of input"),
    ("<<EDIT<1,", "expected integer in line marker; got end of input"),
    ("<<EDIT(a):", "expected close tag :EDIT; got end of input"),
    ("<<EDIT(a):b", "expected close tag :EDIT; got end of input"),
    ("<<EDIT(a):b:EDI", "expected close tag :EDIT; got end of input"),
    ("<<EDIT(a):b:EDITx", "expected close tag :EDIT; got end of input"),
    ("<<EDITx(a):b:EDIT <<READ(c)::READ", "expected close tag :EDITx; got end of input"),
    ("<<SEND[bad]:b", "expected close tag :SEND; got end of input"),
]


def only_error(text: str, items: tuple[Item, ...]) -> ParseError:
    (item,) = items
    assert isinstance(item, ErrorItem), (text, item)
    assert item.position == Position(line=1, column=0)
    return item.error


@pytest.mark.spec("1.5-error-vocabulary", "1.2-signal-shapes", "1.4-matcher-dialects", "1.3-authority-schemes")
@pytest.mark.parametrize(
    ("source", "text", "column", "message"),
    [("lexer", *row) for row in LEXER] + [("parser", *row) for row in PARSER] + [("visitor", *row) for row in VISITOR],
)
def test_errors_in_the_words_of_the_language(source: str, text: str, column: int, message: str) -> None:
    error = only_error(text, parse(text).items)
    assert (error.line, error.column, error.source, error.message) == (1, column, source, message)


@pytest.mark.spec("1.5-recovery", "1.5-error-vocabulary")
@pytest.mark.parametrize(("text", "message"), CUT_OFF)
def test_a_statement_cut_off_is_an_error_and_the_tail(text: str, message: str) -> None:
    result = parse("\n " + text)
    blank, error = result.items
    assert blank == TextItem(text="\n ", position=Position(line=1, column=0))
    assert isinstance(error, ErrorItem)
    assert error.error == ParseError(line=2, column=len(text) + 1, source="parser", message=message)
    assert result.unparsed_tail is not None
    assert result.unparsed_tail.reason == message
    assert result.unparsed_tail.from_ == error.position == Position(line=2, column=1)


def test_a_long_tag_is_clipped() -> None:
    tail = parse("<<EDIT" + "x" * 100 + "::").unparsed_tail
    assert tail is not None
    assert tail.reason == "expected close tag :EDIT" + "x" * 27 + "…; got end of input"


def kinds(result: ParseResult) -> list[tuple[str, int]]:
    return [(type(item).__name__.removesuffix("Item").lower(), item.position.column) for item in result.items]


@pytest.mark.spec("1.5-recovery")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A broken header: on to the next opener, and what is between belongs to the error.
        ("<<EDIT(a <<READ(b)::READ", [("error", 0), ("statement", 9)]),
        ("<<EDIT(a) x:b:EDIT <<READ(b)::READ t", [("error", 0), ("statement", 19), ("text", 34)]),
        ("<<EDIT[a <<<READ(b)::READ", [("error", 0), ("statement", 10)]),
        ("<<EDIT(a)<<READ(b)::READ", [("error", 0), ("statement", 9)]),
        ("<<EDIT<<READ(b)::READ", [("error", 0), ("statement", 6)]),
        ("<<EDIT<1<<READ(b)::READ", [("error", 0), ("statement", 8)]),
        ("<<SEND<<READ(b)::READ", [("error", 0), ("statement", 6)]),
        ("<<EDIT(<<EDIT(<<READ(b)::READ", [("error", 0), ("error", 7), ("statement", 14)]),
        ("<<EDIT(a)y<<EDIT(a)z<<READ(b)::READ", [("error", 0), ("error", 10), ("statement", 20)]),
        ("<<EDIT(a)x:<<FOO<<READ(b)::READ", [("error", 0), ("statement", 16)]),
        # A part that means nothing: the statement with its body, openers in it included.
        ("<<SEND[x]:<<READ(a)::READ:SEND t", [("error", 0), ("text", 30)]),
        # A body that is never closed takes all.
        ("<<EDIT(a):<<READ(b)::READ", [("error", 0)]),
    ],
)
def test_where_the_parser_goes_on(text: str, expected: list[tuple[str, int]]) -> None:
    assert kinds(parse(text)) == expected


@pytest.mark.spec("1.5-chunking-invariant")
@pytest.mark.parametrize("text", [row[0] for row in (*LEXER, *PARSER, *VISITOR, *CUT_OFF)])
def test_errors_are_the_same_one_character_at_a_time(text: str) -> None:
    text = f"\r\n{text}<<READ(a)::READ"
    parser = Parser()
    items = [item for character in text for item in parser.feed(character)]
    rest = parser.close()
    assert ParseResult(items=(*items, *rest.items), unparsed_tail=rest.unparsed_tail) == parse(text)


@pytest.mark.spec("1.5-recovery")
def test_errors_come_in_the_order_of_the_text() -> None:
    text = "".join(f"{row[0]}\n<<READ(a)::READ\n" for row in (*LEXER, *PARSER, *VISITOR))
    items = parse(text).items
    places = [(item.position.line, item.position.column) for item in items]
    assert all(before < after for before, after in pairwise(places))
    assert sum(isinstance(item, ErrorItem) for item in items) == len(LEXER) + len(PARSER) + len(VISITOR)
    assert sum(isinstance(item, StatementItem) for item in items) == len(LEXER) + len(PARSER) + len(VISITOR)
