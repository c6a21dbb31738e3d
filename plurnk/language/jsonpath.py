"""Whether a text is a JSONPath: the grammar of RFC 9535, with the types of its five functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from plurnk.errors import Malformed
from plurnk.language.wording import quote

MAX_JSONPATH_CHARS: Final = 4096
MAX_JSONPATH_DEPTH: Final = 50
"""Brackets within brackets; each costs a few frames of the stack."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
# Letters, digits, "_" and all beyond ASCII, said as what they are not: a wide range takes 2 ms to compile.
_NAME: Final = re.compile(r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*")
_HEX: Final = "[0-9A-Fa-f]"
_ESCAPE: Final = (
    rf"(?:[bfnrt/\\]|u(?:[0-9A-CE-Fa-ce-f]{_HEX}{{3}}|[Dd][0-7]{_HEX}{{2}}"
    rf"|[Dd][89ABab]{_HEX}{{2}}\\u[Dd][C-Fc-f]{_HEX}{{2}}))"  # a surrogate comes as the first of two
)
_STRING: Final = re.compile(
    rf"\"(?:[^\"\\\x00-\x1f]++|\\(?:\"|{_ESCAPE}))*+\"|'(?:[^'\\\x00-\x1f]++|\\(?:'|{_ESCAPE}))*+'"
)
_INTEGER: Final = re.compile(r"0(?![0-9])|-?[1-9][0-9]*")
_NUMBER: Final = re.compile(r"(?:-?0(?![0-9])|-?[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_CONSTANT: Final = re.compile(r"(?:true|false|null)(?![A-Za-z0-9_(])")
_FUNCTION: Final = re.compile(r"([a-z][a-z0-9_]*)\(")
_COMPARISON: Final = re.compile(r"==|!=|<=|>=|<|>")
_MAX_INTEGER_DIGITS: Final = 16

_Kind: TypeAlias = Literal["literal", "singular", "nodes", "value", "logical"]
"""What a piece of a filter is: ``singular`` and ``nodes`` are queries, ``value`` and ``logical`` results."""

_VALUES: Final = frozenset[_Kind]({"literal", "singular", "value"})
_QUERIES: Final = frozenset[_Kind]({"singular", "nodes"})
_TESTS: Final = frozenset[_Kind]({"singular", "nodes", "logical"})
_FUNCTIONS: Final[Mapping[str, tuple[tuple[frozenset[_Kind], ...], _Kind]]] = {
    "length": ((_VALUES,), "value"),
    "count": ((_QUERIES,), "value"),
    "value": ((_QUERIES,), "value"),
    "match": ((_VALUES, _VALUES), "logical"),
    "search": ((_VALUES, _VALUES), "logical"),
}


def check_jsonpath(path: str) -> None:
    """Refuse what RFC 9535 does not call well-formed and valid.

    Raises:
        Malformed: it is not, or it is beyond ``MAX_JSONPATH_CHARS`` or ``MAX_JSONPATH_DEPTH``.
    """
    if len(path) > MAX_JSONPATH_CHARS:
        raise Malformed(f"expected jsonpath of at most {MAX_JSONPATH_CHARS} characters; got {len(path)}")
    _Check(path).whole()


class _Check:
    """One pass over the path; each method reads one production, the cursor being on its first character."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._at = 0
        self._depth = 0

    def whole(self) -> None:
        self._expect("$")
        self._segments()
        if self._at < len(self._path):
            raise self._unexpected("end of jsonpath")

    def _segments(self) -> bool:
        """Read the segments of a query; whether it is singular: names and indices only."""
        singular = True
        while True:
            end = self._at
            self._space()
            if self._take(".."):
                singular = False
                if not (self._take("*") or self._match(_NAME)):
                    self._brackets()
            elif self._take("."):
                if self._take("*"):
                    singular = False
                elif not self._match(_NAME):
                    raise self._unexpected("a name or '*'")
            elif self._next() == "[":
                singular = self._brackets() and singular
            else:
                self._at = end
                return singular

    def _brackets(self) -> bool:
        """Read a bracketed selection; whether it is a single name or index."""
        self._expect("[")
        self._deeper()
        self._space()
        single = self._selector()
        self._space()
        while self._take(","):
            single = False
            self._space()
            self._selector()
            self._space()
        self._expect("]")
        self._depth -= 1
        return single

    def _selector(self) -> bool:
        if self._take("?"):
            self._space()
            self._logical()
            return False
        if self._take("*"):
            return False
        if self._match(_STRING):
            return True
        index = self._integer()
        self._space_before(":")
        if not self._take(":"):
            if not index:
                raise self._unexpected("a selector")
            return True
        self._space()
        self._integer()
        self._space_before(":")
        if self._take(":"):
            self._space()
            self._integer()
        return False

    def _integer(self) -> bool:
        integer = self._match(_INTEGER)
        if integer and (len(integer) > _MAX_INTEGER_DIGITS + 1 or abs(int(integer)) >= 2**53):
            raise Malformed("broken jsonpath: an integer too large")
        return integer is not None

    def _logical(self) -> None:
        """Operands between ``&&`` and ``||``: which of the two binds tighter is of no matter here."""
        self._basic()
        self._space_before("&&", "||")
        while self._take("&&") or self._take("||"):
            self._space()
            self._basic()
            self._space_before("&&", "||")

    def _basic(self) -> None:
        negated = self._next() == "!" and self._take("!")
        if negated:
            self._space()
        kind = self._operand()
        end = self._at
        self._space()
        if not negated and kind in _VALUES and self._match(_COMPARISON):
            self._space()
            if self._operand() not in _VALUES:
                raise Malformed("broken jsonpath: expected a single value to compare with")
            return
        self._at = end
        if kind not in _TESTS:
            raise self._unexpected("a comparison")

    def _operand(self) -> _Kind:
        if self._take("("):
            self._deeper()
            self._space()
            self._logical()
            self._space()
            self._expect(")")
            self._depth -= 1
            return "logical"
        return self._argument()

    def _argument(self) -> _Kind:
        if self._take("@") or self._take("$"):
            return "singular" if self._segments() else "nodes"
        if self._match(_STRING) or self._match(_NUMBER) or self._match(_CONSTANT):
            return "literal"
        if name := self._match(_FUNCTION):
            return self._call(name[:-1])
        raise self._unexpected("a query, a literal or a function")

    def _call(self, name: str) -> _Kind:
        """Read a function's arguments, the opening parenthesis being read."""
        if name not in _FUNCTIONS:
            raise Malformed(f"broken jsonpath: unknown function {quote(name)}")
        parameters, result = _FUNCTIONS[name]
        self._deeper()
        for index, accepted in enumerate(parameters):
            if index:
                self._expect(",")
            self._space()
            if self._argument() not in accepted:
                raise Malformed(f"broken jsonpath: unfit argument of function {quote(name)}")
            self._space()
        self._expect(")")
        self._depth -= 1
        return result

    # The text

    def _next(self) -> str:
        return self._path[self._at : self._at + 1]

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._path, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _take(self, text: str) -> bool:
        if not self._path.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected(quote(text))

    def _space(self) -> None:
        self._match(_SPACE)

    def _space_before(self, *wanted: str) -> None:
        """Skip white space if one of ``wanted`` follows it; elsewhere it belongs to what comes next."""
        end = self._at
        self._space()
        if not self._path.startswith(wanted, self._at):
            self._at = end

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_JSONPATH_DEPTH:
            raise Malformed(f"broken jsonpath: nests deeper than {MAX_JSONPATH_DEPTH}")

    def _unexpected(self, expected: str) -> Malformed:
        got = quote(self._next()) if self._at < len(self._path) else "end of jsonpath"
        return Malformed(f"broken jsonpath: expected {expected}; got {got}")
