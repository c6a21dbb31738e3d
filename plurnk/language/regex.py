r"""Regular expressions of the language: the check at parse time, and their Python spelling (SPEC 1.4).

Taught is the common subset of ECMAScript and Python, with ``(?<name>...)``. Accepted is what Python's
``re`` compiles, but for conditional groups, comments, and the inline flags ``x`` and ``L``.

``re.compile`` by itself would not do for a pattern out of a model's mouth: a class with one wide
range costs it 2 ms (``[\0-\uffff]`` 2,000 times: 4 s), deep nesting overruns the stack, and doubtful
classes warn. So classes are checked here and the compiler sees a small one in their place, length
and depth are bounded, and what remains costs it about 2 us a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from plurnk.errors import Malformed
from plurnk.language.wording import quote

MAX_REGEX_CHARS: Final = 4096
MAX_REGEX_DEPTH: Final = 50
"""Groups within groups: each takes the compiler some four frames of a stack of a thousand."""

_PIECE: Final = re.compile(r"\\.|\[|\(\?<(?![=!])|\(\?[(#]|\(\?[A-Za-z-]*|[()]|[^\\\[()]+", re.DOTALL)
_CLASS_ESCAPE: Final = re.compile(
    r"\\(?:([dDsSwW])|([abfnrtv])|([0-7]{1,3})|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([^A-Za-z0-9]))",
    re.DOTALL,
)
_CONTROLS: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_SPECIAL_IN_CLASS: Final = frozenset("[]^-&~|")
_SMALL_CLASS: Final = "[a]"

# The compiler's complaints, by how they begin, in words that are the same on every version of it.
_COMPLAINTS: Final = (
    ("nothing to repeat", "nothing to repeat"),
    ("multiple repeat", "expected one repeat; got two"),
    ("min repeat", "bad bounds of a repeat"),
    ("missing ), unterminated subpattern", "expected ')'; got end of regex"),
    ("unbalanced parenthesis", "unexpected ')'"),
    ("bad escape", "bad escape"),
    ("incomplete escape", "bad escape"),
    ("octal escape", "bad escape"),
    ("missing {", "bad escape"),
    ("missing }", "bad escape"),
    ("undefined character name", "bad escape"),
    ("unexpected end of pattern", "unexpected end of regex"),
    ("unknown extension", "unknown kind of group"),
    ("missing", "bad group"),
    ("bad character in group name", "bad group name"),
    ("redefinition of group name", "two groups of one name"),
    ("unknown group name", "reference to no group"),
    ("invalid group reference", "reference to no group"),
    ("cannot refer to", "reference into an open group"),
    ("look-behind", "look-behind of no fixed width"),
    ("looks too much behind", "look-behind too long"),
    ("", "bad flags"),
)


class _Piece(NamedTuple):
    """Some of a pattern as Python spells it, and what the check compiles for it."""

    python: str
    checked: str


def check_regex(pattern: str) -> None:
    """Refuse what does not compile.

    Raises:
        Malformed: it does not, or it is beyond ``MAX_REGEX_CHARS`` or ``MAX_REGEX_DEPTH``.
    """
    if len(pattern) > MAX_REGEX_CHARS:
        raise Malformed(f"expected regex of at most {MAX_REGEX_CHARS} characters; got {len(pattern)}")
    checked = "".join(piece.checked for piece in _pieces(pattern))
    try:
        re.compile(checked)
    except re.error as fault:
        raise _broken(
            next((ours for theirs, ours in _COMPLAINTS if fault.msg.startswith(theirs)), "bad flags")
        ) from None
    except (OverflowError, RecursionError):
        raise _broken("a repeat too large") from None


def to_python_regex(pattern: str) -> str:
    """``pattern`` in the spelling of Python's ``re``, which compiles it without a warning.

    Raises:
        Malformed: never for a pattern that passed ``check_regex``.
    """
    return "".join(piece.python for piece in _pieces(pattern))


def _pieces(pattern: str) -> Iterator[_Piece]:
    at = depth = 0
    while at < len(pattern):
        found = _PIECE.match(pattern, at)
        if found is None:
            raise _broken("bad escape")  # a backslash at the end
        piece, at = found[0], found.end()
        if piece == "[":
            spelled, at = _class(pattern, at)
            yield _Piece(f"[{spelled}]", _SMALL_CLASS)
            continue
        if piece in {"(?(", "(?#"} or (piece.startswith("(?") and not {"x", "L"}.isdisjoint(piece)):
            raise _broken(f"unexpected {quote(piece)}")
        if piece.startswith("("):
            depth += 1
        elif piece == ")":
            depth -= 1
        if depth > MAX_REGEX_DEPTH:
            raise _broken(f"groups nest deeper than {MAX_REGEX_DEPTH}")
        if piece == "(?<":
            piece = "(?P<"
        yield _Piece(piece, piece)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The inside of the character class that begins before ``at``, and where it is left."""
    spelled: list[str] = []
    if pattern.startswith("^", at):
        spelled.append("^")
        at += 1
    first = at
    while at == first or not pattern.startswith("]", at):
        low, text, at = _element(pattern, at)
        spelled.append(text)
        if pattern.startswith("-", at) and not pattern.startswith("-]", at):
            high, text, at = _element(pattern, at + 1)
            spelled.append("-" + text)
            if low is None or high is None or low > high:
                raise _broken("bad range in a class")
    return "".join(spelled), at + 1


def _element(pattern: str, at: int) -> tuple[str | None, str, int]:
    """One character of a class (None for a kind of characters), its spelling, and where it ends."""
    if at >= len(pattern):
        raise _broken("expected ']'; got end of regex")
    character = pattern[at]
    if character != "\\":
        return character, "\\" * (character in _SPECIAL_IN_CLASS) + character, at + 1
    escape = _CLASS_ESCAPE.match(pattern, at)
    if escape is None:
        raise _broken("bad escape")
    kind, control, octal, *codes, itself = escape.groups()
    code = int(octal, 8) if octal else int(next(filter(None, codes), "0"), 16)
    if code > (0o377 if octal else 0x10FFFF):
        raise _broken("bad escape")
    meant = None if kind else _CONTROLS[control] if control else itself or chr(code)
    return meant, escape[0], escape.end()


def _broken(how: str) -> Malformed:
    return Malformed(f"broken regex: {how}")
