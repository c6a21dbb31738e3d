"""The incremental parser: when items come, that they are the same for any chunks, and that it does not look twice."""

from __future__ import annotations

import re

import pytest

from plurnk.language import Item, Parser, ParseResult, Position, StatementItem, TextItem, parse
from plurnk.language import parser as parser_module
from plurnk.language.scanner import MAX_LOOKAHEAD, Scanner


def in_chunks(text: str, size: int) -> ParseResult:
    parser = Parser()
    items: list[Item] = []
    for start in range(0, len(text), size):
        items += parser.feed(text[start : start + size])
    rest = parser.close()
    return ParseResult(items=(*items, *rest.items), unparsed_tail=rest.unparsed_tail)


def test_items_come_as_soon_as_they_are_certain() -> None:
    parser = Parser()
    assert parser.feed("So <<REA") == []
    (text,) = parser.feed("D")
    assert text == TextItem(text="So ", position=Position(line=1, column=0))
    assert parser.feed("(a)::READ") == []  # the tag might go on
    (statement,) = parser.feed(" ")
    assert isinstance(statement, StatementItem)
    rest = parser.close()
    assert rest == ParseResult(items=(TextItem(text=" ", position=Position(line=1, column=18)),))


def test_the_end_completes_a_statement() -> None:
    parser = Parser()
    assert parser.feed("<<READ(a)::READ") == []
    (item,) = parser.close().items
    assert isinstance(item, StatementItem)


def test_a_closed_parser_is_closed() -> None:
    parser = Parser()
    parser.close()
    with pytest.raises(RuntimeError, match="closed"):
        parser.feed("")
    with pytest.raises(RuntimeError, match="closed"):
        parser.close()


def test_a_scheme_may_be_given_an_authority() -> None:
    text = "<<READ(Foo://u@Host:1/a)::READ"
    (entry,) = parse(text).items
    (network,) = parse(text, authority_schemes=frozenset({"foo"})).items
    assert isinstance(entry, StatementItem)
    assert isinstance(network, StatementItem)
    assert getattr(entry.statement.target, "pathname", None) == "u@Host:1/a"
    assert getattr(network.statement.target, "hostname", None) == "host"


EVERYTHING = """Let me see.
<<FIND[a b](known://**)<1-5>:/x:y/g:FIND
 <<EDITx2 (src/é.py)\r\n[t]\r\n<-3--1> :𝄞:EDIT:EDITx:EDITx2:EDITx2<<SEND[200]::SEND
<<EDI <<EDIT(a <<EDIT(a)<1<<EDIT(a)<<2>x<<HIDE[499](exec://sh-1)::HIDE:HIDE
<<SEND[x]:<<READ(a)::READ:SEND<<EXEC[sh]:cat <<EOF\nx\nEOF\n:EXEC

<<SEND[102]:{"a": 1}:SEND<<EDIT(b):never closed <<READ(a)::READ :EDI"""


@pytest.mark.spec("1.5-chunking-invariant")
@pytest.mark.parametrize("end", [0, 5, 11, 60])
@pytest.mark.parametrize("size", range(1, 40))
def test_chunks_of_any_size_give_the_same_items(size: int, end: int) -> None:
    text = EVERYTHING[: len(EVERYTHING) - end]
    assert in_chunks(text, size) == parse(text)


@pytest.mark.spec("1.5-chunking-invariant")
def test_any_one_cut_gives_the_same_items() -> None:
    whole = parse(EVERYTHING)
    for cut in range(len(EVERYTHING) + 1):
        parser = Parser()
        items = [*parser.feed(EVERYTHING[:cut]), *parser.feed(""), *parser.feed(EVERYTHING[cut:])]
        rest = parser.close()
        assert ParseResult(items=(*items, *rest.items), unparsed_tail=rest.unparsed_tail) == whole


class CountingScanner(Scanner):
    """Counts what is asked of a scanner: a unit for each call, and one for each character looked at or copied."""

    total = 0

    def _count(self, characters: int) -> None:
        type(self).total += 1 + characters

    def feed(self, chunk: str) -> None:
        assert self.unread <= MAX_LOOKAHEAD
        self._count(self.unread + len(chunk))
        super().feed(chunk)

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = super().match(pattern)
        self._count(found.end() - self.at if found else MAX_LOOKAHEAD)
        return found

    def search(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = super().search(pattern)
        self._count((found.end() if found else len(self.window)) - self.at)
        return found

    def find(self, text: str, start: int) -> int:
        found = super().find(text, start)
        self._count((len(self.window) if found < 0 else found + len(text)) - start)
        return found

    def skip(self, to: int) -> None:
        self._count(to - self.at)
        super().skip(to)

    def hold(self, to: int) -> None:
        self._count(to - self.at)
        super().hold(to)


SIZE = 20_000
NASTY = {
    "openers": "<<EDIT(" * (SIZE // 7),
    "unclosed signals": "<<EDIT[" * (SIZE // 7),
    "half openers": "<<EDI" * (SIZE // 5),
    "less-than signs": "<" * SIZE,
    "half close tags": "<<EDIT(a):" + ":EDI" * (SIZE // 4),
    "longer close tags": "<<EDIT(a):" + ":EDIT0" * (SIZE // 6),
    "one half close tag": "<<EDIT(a)::EDI" + "x" * SIZE,
    "colons": "<<EDIT(a):" + ":" * SIZE,
    "an endless body": "<<EDIT(a):" + "x" * SIZE,
    "an endless target": "<<EDIT(" + "x" * SIZE,
    "an endless signal": "<<EDIT[" + "<," * (SIZE // 2),
    "an endless suffix": "<<EDIT" + "x" * SIZE,
    "half close tags as long as the text": f"<<EDIT{'x' * (SIZE // 4)}:" + f":EDIT{'x' * (SIZE // 5)}" * 3,
    "white space": "<<EDIT" + " \n" * (SIZE // 2),
    "markers": "<<EDIT<-123456789012345,-12345678901234" * (SIZE // 40),
    "text": "x\n" * (SIZE // 2),
    "statements": "<<EDIT[a](b)<1>:c:EDIT\n" * (SIZE // 23),
    "broken statements": "<<SEND[x]::SEND" * (SIZE // 15),
}


@pytest.mark.spec("1.5-linear")
@pytest.mark.parametrize("size", [1, 7, 4096, SIZE * 2])
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_work_is_linear_in_the_text(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character costs a bounded number of looks, and each feed a bounded number more."""
    monkeypatch.setattr(parser_module, "Scanner", CountingScanner)
    monkeypatch.setattr(CountingScanner, "total", 0)
    in_chunks(text, size)
    feeds = -(-len(text) // size)
    assert CountingScanner.total <= 8 * len(text) + 2 * MAX_LOOKAHEAD * feeds


@pytest.mark.spec("1.5-linear")
def test_a_mebibyte_of_openers_is_one_error_each() -> None:
    result = parse("<<EDIT(" * (2**20 // 7))
    assert len(result.items) == 2**20 // 7
    assert result.items[-1].position == Position(line=1, column=2**20 // 7 * 7 - 7)


def test_deep_nesting_is_no_recursion() -> None:
    depth = 50_000
    text = "".join(f"<<EDIT{n}:" for n in range(depth)) + "".join(f":EDIT{n}" for n in reversed(range(depth)))
    (item,) = parse(text).items
    assert isinstance(item, StatementItem)
