"""Whether a text is an XPath 1.0 expression: its grammar alone. Functions, variables and prefixes are not looked up."""

from __future__ import annotations

import re
from typing import Final

from plurnk.errors import Malformed
from plurnk.language.wording import quote

MAX_XPATH_CHARS: Final = 4096
MAX_XPATH_DEPTH: Final = 50
"""Brackets within brackets; each costs a few frames of the stack."""

_S: Final = r"[ \t\r\n]*"
# Letters, digits, "_", ".", "-" and all beyond ASCII, said as what they are not: a wide range takes 2 ms to compile.
_NAME_CHARACTER: Final = r"[^\x00-,/:-@\[-^`{-\x7f]"
_NCNAME: Final = rf"[^\x00-@\[-^`{{-\x7f]{_NAME_CHARACTER}*+"
_QNAME: Final = rf"{_NCNAME}(?::(?!:){_NCNAME})?"
_SPACE: Final = re.compile(_S)
_LITERAL: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_VARIABLE: Final = re.compile(rf"\${_QNAME}")
_CALL: Final = re.compile(rf"(?!(?:comment|text|processing-instruction|node){_S}\(){_QNAME}{_S}\(")
_AXIS: Final = re.compile(
    "(?:ancestor-or-self|ancestor|attribute|child|descendant-or-self|descendant|following-sibling|following"
    rf"|namespace|parent|preceding-sibling|preceding|self){_S}::"
)
_NODE_TEST: Final = re.compile(
    rf"(?:comment|text|node){_S}\({_S}\)|processing-instruction{_S}\({_S}(?:{_LITERAL.pattern})?{_S}\)"
    rf"|\*|{_NCNAME}:\*|{_QNAME}(?!{_S}\(|{_S}::)"
)
_OPERATOR: Final = re.compile(rf"<=|>=|!=|[=<>+*-]|(?:and|or|mod|div)(?!{_NAME_CHARACTER})")


def check_xpath(path: str) -> None:
    """Refuse what the grammar of XPath 1.0 does not produce.

    Raises:
        Malformed: it does not, or it is beyond ``MAX_XPATH_CHARS`` or ``MAX_XPATH_DEPTH``.
    """
    if len(path) > MAX_XPATH_CHARS:
        raise Malformed(f"expected xpath of at most {MAX_XPATH_CHARS} characters; got {len(path)}")
    _Check(path).whole()


class _Check:
    """One pass over the expression; the cursor is always on a token, white space being skipped behind each."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._at = 0
        self._depth = 0

    def whole(self) -> None:
        self._match(_SPACE)
        self._expression()
        if self._at < len(self._path):
            raise self._unexpected("end of xpath")

    def _expression(self) -> None:
        """Operands between operators: which of them binds tighter is of no matter here."""
        self._depth += 1
        if self._depth > MAX_XPATH_DEPTH:
            raise Malformed(f"broken xpath: nests deeper than {MAX_XPATH_DEPTH}")
        self._operand()
        while self._match(_OPERATOR):
            self._operand()
        self._depth -= 1

    def _operand(self) -> None:
        while self._take("-"):
            pass
        self._path_or_filter()
        while self._take("|"):
            self._path_or_filter()

    def _path_or_filter(self) -> None:
        if self._primary():
            self._predicates()
            if self._take("//") or self._take("/"):
                self._steps()
        elif self._take("//"):
            self._steps()
        elif self._take("/"):
            if self._step():
                self._more_steps()
        else:
            self._steps()

    def _primary(self) -> bool:
        if self._take("("):
            self._expression()
            self._expect(")")
            return True
        if self._match(_CALL):
            if not self._take(")"):
                self._expression()
                while self._take(","):
                    self._expression()
                self._expect(")")
            return True
        return self._match(_LITERAL) or self._match(_NUMBER) or self._match(_VARIABLE)

    def _steps(self) -> None:
        if not self._step():
            raise self._unexpected("a step")
        self._more_steps()

    def _more_steps(self) -> None:
        while self._take("//") or self._take("/"):
            if not self._step():
                raise self._unexpected("a step")

    def _step(self) -> bool:
        if self._take("..") or self._take("."):
            return True
        axis = self._take("@") or self._match(_AXIS)
        if self._match(_NODE_TEST):
            self._predicates()
            return True
        if axis:
            raise self._unexpected("a node test")
        return False

    def _predicates(self) -> None:
        while self._take("["):
            self._expression()
            self._expect("]")

    # The text

    def _match(self, token: re.Pattern[str]) -> bool:
        found = token.match(self._path, self._at)
        if found is None:
            return False
        self._skip(found.end())
        return True

    def _take(self, token: str) -> bool:
        if not self._path.startswith(token, self._at):
            return False
        self._skip(self._at + len(token))
        return True

    def _skip(self, to: int) -> None:
        space = _SPACE.match(self._path, to)
        self._at = space.end() if space else to

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._unexpected(quote(token))

    def _unexpected(self, expected: str) -> Malformed:
        got = quote(self._path[self._at]) if self._at < len(self._path) else "end of xpath"
        return Malformed(f"broken xpath: expected {expected}; got {got}")
