"""Any text parses, to the same items however it is cut, each of them where it says (SPEC 1.5)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.language import ErrorItem, Item, Parser, ParseResult, Position, StatementItem, TextItem, parse

# Alone, random characters hardly ever make a statement; these pieces make and break them all the time.
PIECES = r"""
<< < << FIND READ EDIT EDIT EDIT SEND HIDE EXEC COPY MOVE SHOW x 1 _ ( ) ( ) [ ] [ ] : : :: :EDIT :EDIT :EDITx
:READ :SEND <<EDIT <<EDIT( <<EDITx <<READ( <<SEND[ )::READ ):a:EDIT <1> <1-2> <-3--1> < > - , 0 9 200
123456789012345 known://a http://[ http://h:1 a b /a/g /( $.a $[ //a //[ {} {"a":1} é 𝄞 . .. %2e ? #
"""
SPECIAL = [" ", "\n", "\r\n", "\r", "\t", "\0", "\ud800"]
TEXTS = st.lists(st.sampled_from(PIECES.split() + SPECIAL), max_size=25).map("".join) | st.text(max_size=40)
CUTS = st.lists(st.integers(0, 200), max_size=12)


def in_pieces(text: str, cuts: list[int]) -> ParseResult:
    parser = Parser()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    items: list[Item] = [item for start, end in pairwise(edges) for item in parser.feed(text[start:end])]
    rest = parser.close()
    return ParseResult(items=(*items, *rest.items), unparsed_tail=rest.unparsed_tail)


@pytest.mark.spec("1.5-chunking-invariant")
@given(TEXTS, CUTS)
def test_any_cutting_gives_the_same_items(text: str, cuts: list[int]) -> None:
    whole = parse(text)
    assert in_pieces(text, cuts) == whole
    assert in_pieces(text, list(range(len(text)))) == whole


@pytest.mark.spec("1.5-recovery")
@given(TEXTS)
def test_items_are_where_they_say(text: str) -> None:
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)

    def offset(line: int, column: int) -> int:
        assert 0 <= column <= len(lines[line - 1])
        return offsets[line - 1] + column

    result = parse(text)
    starts = [offset(item.position.line, item.position.column) for item in result.items]
    assert starts == sorted(set(starts))
    for start, item in zip(starts, result.items, strict=True):
        match item:
            case TextItem():
                assert item.text
                assert text.startswith(item.text, start)
            case StatementItem():
                assert text.startswith("<<", start)
                assert item.statement.position == item.position
            case ErrorItem():
                assert text.startswith("<<", start)
                assert start < offset(item.error.line, item.error.column) <= len(text)
    if result.unparsed_tail is not None:
        tail = result.unparsed_tail.from_
        assert tail == result.items[-1].position
        assert isinstance(result.items[-1], ErrorItem)
    msgspec.to_builtins(result)


NEARLY_OPENERS = st.lists(st.sampled_from(["a", " ", "\n", "<", "<<", "<<EDI", "EDIT", "T ", ":EDIT"]), max_size=12)


@pytest.mark.spec("1.1-interstatement-text")
@given(NEARLY_OPENERS.map("".join).filter(lambda text: text and "<<EDIT" not in text))
def test_text_without_an_opener_is_one_item(text: str) -> None:
    assert parse(text).items == (TextItem(text=text, position=Position(line=1, column=0)),)
