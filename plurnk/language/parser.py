"""The incremental parser: text in pieces in, items out (SPEC 1.1, 1.5).

What it decides where the grammar leaves room:

- An opener is ``<<``, one of the nine operations, and as many suffix characters as follow:
  ``<<EDITOR`` is EDIT with the suffix ``OR``. Other ``<<`` are text. White space may stand anywhere
  between the opener and the colon of the body, but for the insides of slots.
- Text between statements is one item, given out when the next opener is recognised or at the end.
  A statement is given out with the character after its close tag, which might have belonged to
  the tag. So any way of cutting a text into chunks gives the same items.
- An error is the item of a whole broken statement. If the shape of the header is broken, that is
  all from its opener up to the next opener after the place of the error: no part of it comes back as
  text. If a part does not mean anything (source ``visitor``), that is the statement with its body.
  The item's position is the opener's, the error's line and column are where it went wrong.
- Sources: ``lexer``, a slot holds what no slot can (``<<``, an integer too long); ``parser``, a part
  is missing, doubled or misplaced; ``visitor``, a signal, target or matcher that cannot be understood.
- A statement that the end of input cuts off, in its header or its body, is one ``parser`` error *and*
  the ``unparsed_tail``, whose reason is the error's message.
- Lines end at LF (CRLF included); a lone CR is a character like others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal

from plurnk.language.ast import (
    OPS,
    ErrorItem,
    Item,
    LineMarker,
    OpName,
    ParseError,
    ParseResult,
    Position,
    StatementItem,
    TextItem,
    UnparsedTail,
)
from plurnk.language.scanner import Scanner
from plurnk.language.statements import MAX_INTEGER_DIGITS, Draft, Refused, Slot, assemble
from plurnk.language.targets import AUTHORITY_SCHEMES
from plurnk.language.wording import END_OF_INPUT, clip, quote

_OP_NAMES: Final[Mapping[str, OpName]] = {op: op for op in OPS}
_OPENER: Final = re.compile(f"<<({'|'.join(OPS)})([A-Za-z0-9_]*)")
_OPENER_PREFIXES: Final = frozenset(f"<<{op}"[:n] for op in OPS for n in range(1, len(op) + 2))
_SUFFIX: Final = re.compile(r"[A-Za-z0-9_]*")
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_SIGNAL_STOP: Final = re.compile(r"\]|<<")
_TARGET_STOP: Final = re.compile(r"[)\r\n]|<<")
_INTEGER: Final = f"-?[0-9]{{1,{MAX_INTEGER_DIGITS}}}"
_MARKER: Final = re.compile(f"<({_INTEGER})(?:[-,]({_INTEGER}))?>")
_MARKER_BEGUN: Final = re.compile(f"<(?:{_INTEGER}(?:[-,](?:{_INTEGER}|-?))?|-?)")

_START: Final = Position(line=1, column=0)

_Source = Literal["lexer", "parser", "visitor"]


class Parser:
    """Feed it the text in any pieces, then close it; the items come in source order.

    Work and memory are linear in the text. Nothing is raised for what the text holds.
    """

    def __init__(self, authority_schemes: AbstractSet[str] = AUTHORITY_SCHEMES) -> None:
        """``authority_schemes`` are the lower-case schemes whose targets have a host (SPEC 1.3)."""
        self._authority_schemes = authority_schemes
        self._scan = Scanner()
        self._items: list[Item] = []
        # A step reads one part, and returns False when it needs more text.
        self._step: Callable[[Parser], bool] = Parser._between
        self._closed = False
        self._draft = Draft("FIND", _START)  # the statement being read
        self._slot_at = _START  # where its slot, or its body, that is being read begins
        self._tag = ""  # what closes its body
        self._matched = 0  # how much of the tag the body read so far ends with
        self._text_at: Position | None = None  # where the text between statements began
        self._broken = False  # what is between statements belongs to a broken one

    def feed(self, chunk: str) -> list[Item]:
        """Return the items that ``chunk`` completed.

        Raises:
            RuntimeError: the parser was closed.
        """
        if self._closed:
            raise RuntimeError("the parser is closed")
        self._scan.feed(chunk)
        while self._step(self):
            pass
        return self._give()

    def close(self) -> ParseResult:
        """Say that the text ends here. Return the items that only its end completes, and the tail.

        Raises:
            RuntimeError: the parser was closed before.
        """
        if self._closed:
            raise RuntimeError("the parser is closed")
        self._closed = True
        tail: UnparsedTail | None = None
        if self._step is Parser._body and self._matched == len(self._tag):
            self._finish()
        elif self._step is not Parser._between:
            tail = self._cut_off()
        self._pass(len(self._scan.window))
        self._end_text()
        return ParseResult(items=tuple(self._give()), unparsed_tail=tail)

    def _give(self) -> list[Item]:
        items, self._items = self._items, []
        return items

    # Between statements

    def _between(self) -> bool:
        scan = self._scan
        found = scan.search(_OPENER)
        if found is None:
            self._pass(self._possible_opener())
            return False
        self._pass(found.start())
        self._end_text()
        self._draft = Draft(_OP_NAMES[found[1]], scan.position())
        if found.end() < len(scan.window):
            self._draft.suffix = found[2]
            scan.skip(found.end())
            self._step = Parser._header
        else:  # the suffix may go on in the next chunk
            scan.skip(found.end(1))
            self._step = Parser._suffix
        return True

    def _possible_opener(self) -> int:
        """Where in the window an opener begins that the next chunk may complete, or its end."""
        window = self._scan.window
        end = len(window)
        start = window.find("<", max(self._scan.at, end - len("<<FIND") + 1))
        while start >= 0:
            if window[start:] in _OPENER_PREFIXES:
                return start
            start = window.find("<", start + 1)
        return end

    def _pass(self, to: int) -> None:
        """Go on to ``to`` in the window, keeping what is text."""
        scan = self._scan
        if self._broken:
            scan.skip(to)
        elif to > scan.at:
            if self._text_at is None:
                self._text_at = scan.position()
            scan.hold(to)

    def _end_text(self) -> None:
        if self._text_at is not None:
            self._items.append(TextItem(text=self._scan.take(), position=self._text_at))
            self._text_at = None
        self._broken = False

    # The header

    def _suffix(self) -> bool:
        scan = self._scan
        word = scan.match(_SUFFIX)
        assert word is not None  # the pattern matches nothing, too
        scan.hold(word.end())
        if not scan.unread:
            return False
        self._draft.suffix = scan.take()
        self._step = Parser._header
        return True

    def _header(self) -> bool:
        scan, draft = self._scan, self._draft
        if scan.at == len(scan.window):
            return False
        match scan.window[scan.at]:
            case " " | "\t" | "\r" | "\n":
                space = scan.match(_SPACE)
                assert space is not None  # it is on one
                scan.skip(space.end())
            case ":":
                self._tag = f":{draft.op}{draft.suffix}"
                self._matched = 0
                self._enter(Parser._body)
            case "[" if draft.signal is None:
                self._enter(Parser._signal)
            case "(" if draft.target is None:
                self._enter(Parser._target)
            case "<":
                self._step = Parser._marker
            case "[":
                self._fail("parser", "expected ':'; got a second signal")
            case "(":
                self._fail("parser", "expected ':'; got a second target")
            case other:
                self._fail("parser", f"expected ':'; got {quote(other)}")
        return True

    def _enter(self, slot: Callable[[Parser], bool]) -> None:
        """Go behind the bracket (or colon) at the cursor, into what it opens."""
        self._scan.at += 1
        self._slot_at = self._scan.position()
        self._step = slot

    def _signal(self) -> bool:
        stop = self._slot_end(_SIGNAL_STOP)
        if stop == "]":
            self._draft.signal = self._leave()
        elif stop:
            self._fail("lexer", "unrecognized character '<<' in signal")
        return stop is not None

    def _target(self) -> bool:
        stop = self._slot_end(_TARGET_STOP)
        if stop == ")":
            self._draft.target = self._leave()
        elif stop == "<<":
            self._fail("lexer", "unrecognized character '<<' in target")
        elif stop:
            self._fail("parser", f"expected ')'; got {quote(stop)}")
        return stop is not None

    def _slot_end(self, stops: re.Pattern[str]) -> str | None:
        """Hold what is before the first of ``stops``, and return that one."""
        scan = self._scan
        found = scan.search(stops)
        if found is None:
            end = len(scan.window)
            scan.hold(end - 1 if scan.window.endswith("<", scan.at) else end)  # half a "<<", maybe
            return None
        scan.hold(found.start())
        return found[0]

    def _leave(self) -> Slot:
        scan = self._scan
        scan.at += 1
        self._step = Parser._header
        return Slot(scan.take(), self._slot_at)

    def _marker(self) -> bool:
        scan, draft = self._scan, self._draft
        if scan.unread < len("<<"):
            return False
        if scan.window.startswith("<<", scan.at):
            self._fail("parser", "expected ':'; got '<<'")
        elif draft.marker is not None:
            self._fail("parser", "expected ':'; got a second line marker")
        elif draft.op in {"SEND", "EXEC"}:
            self._fail("parser", f"expected ':'; got a line marker on {draft.op}")
        elif marker := scan.match(_MARKER):
            first, last = marker.groups()
            draft.marker = LineMarker(first=int(first), last=None if last is None else int(last))
            scan.skip(marker.end())
            self._step = Parser._header
        else:
            begun, expected = self._marker_begun()
            if begun == len(scan.window):
                return False
            scan.skip(begun)
            if expected == "'>'" and scan.window[begun] in "0123456789":
                self._fail("lexer", f"expected integer of at most {MAX_INTEGER_DIGITS} digits in line marker")
            else:
                self._fail("parser", f"expected {expected}; got {quote(scan.window[begun])}")
        return True

    def _marker_begun(self) -> tuple[int, str]:
        """Where in the window the line marker at the cursor stops being one, and what is missing there."""
        begun = self._scan.match(_MARKER_BEGUN)
        assert begun is not None  # the cursor is on "<"
        return begun.end(), "'>'" if begun[0][-1].isdigit() else "integer in line marker"

    # The body

    def _body(self) -> bool:
        """Search the close tag.

        It holds one colon, its first character: what matched a part of it in vain cannot hold the
        beginning of another match.
        """
        scan, tag = self._scan, self._tag
        window, end, seen = scan.window, len(scan.window), scan.at
        while seen < end:
            if self._matched == len(tag):
                if not _is_word(window[seen]):
                    scan.hold(seen)
                    self._finish()
                    return True
                self._matched = 0
            if self._matched:
                more = tag[self._matched : self._matched + end - seen]
                if window.startswith(more, seen):
                    self._matched += len(more)
                    seen += len(more)
                    continue
                self._matched = 0
            start = scan.find(tag, seen)
            if start >= 0:
                self._matched = len(tag)
                seen = start + len(tag)
            else:
                start = window.rfind(":", max(seen, end - len(tag) + 1))
                if start >= 0 and tag.startswith(window[start:]):
                    self._matched = end - start
                seen = end
        scan.hold(end)
        return False

    def _finish(self) -> None:
        """The body and its close tag are held: give out the statement, or what is wrong with it."""
        draft = self._draft
        body = Slot(self._scan.take()[: -len(self._tag)], self._slot_at)
        try:
            statement = assemble(draft, body, self._authority_schemes)
        except Refused as fault:
            self._report("visitor", fault.message, fault.position)
        else:
            self._items.append(StatementItem(statement=statement, position=draft.position))
        self._step = Parser._between

    # What is broken

    def _fail(self, source: _Source, message: str) -> None:
        """The header is broken at the cursor: report it and go on to the next opener from here."""
        self._report(source, message, self._scan.position())
        self._scan.take()
        self._broken = True
        self._step = Parser._between

    def _report(self, source: _Source, message: str, at: Position) -> None:
        error = ParseError(line=at.line, column=at.column, source=source, message=message)
        self._items.append(ErrorItem(error=error, position=self._draft.position))

    def _cut_off(self) -> UnparsedTail:
        """The text ends within a statement."""
        if self._step is Parser._body:
            expected = f"close tag {clip(self._tag)}"
        elif self._step is Parser._marker:
            expected = self._marker_begun()[1]
        elif self._step is Parser._signal:
            expected = "']'"
        elif self._step is Parser._target:
            expected = "')'"
        else:
            expected = "':'"
        self._scan.skip(len(self._scan.window))
        message = f"expected {expected}; got {END_OF_INPUT}"
        self._fail("parser", message)
        return UnparsedTail(from_=self._draft.position, reason=message)


def _is_word(character: str) -> bool:
    return character == "_" or (character.isascii() and character.isalnum())


def parse(text: str, authority_schemes: AbstractSet[str] = AUTHORITY_SCHEMES) -> ParseResult:
    """Parse a whole text at once; never raises for what it holds."""
    parser = Parser(authority_schemes)
    items = parser.feed(text)
    rest = parser.close()
    return ParseResult(items=(*items, *rest.items), unparsed_tail=rest.unparsed_tail)
