"""Globs: over paths (targets and FIND, SPEC 2.4) and over whole lines (matcher bodies, SPEC 2.6).

``?`` is one character, ``[…]`` one of a set, ``[!…]`` one outside it, ``*`` any run of characters; an
unclosed ``[`` means itself. In a path none of these matches ``/``, and ``**`` is a run that may:
``**/`` at the start of a segment is any number of whole segments, none included. In a line ``/`` is a
character like others, and ``**`` is ``*``.

Patterns come from a model, so no pattern may be slow: nothing here backtracks. Paths are matched by
walking all states of the pattern at once, one bit each (length of path × length of pattern / word
size). A line has one kind of run only, so taking each piece at its first place is right, and a search
for pieces of fixed length does it (length of line × length of pattern at worst, ``str.find`` mostly).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from plurnk.errors import Malformed

MAX_PATH_GLOB_CHARS: Final = 10_000
"""Longer than any path that the system takes. The memory of a glob goes with the square of its length."""

Matcher: TypeAlias = Callable[[str], bool]


class _Run(enum.Enum):
    """A run of characters: within a segment, across segments, or of whole segments (``**/``)."""

    WITHIN = enum.auto()
    ACROSS = enum.auto()
    SEGMENTS = enum.auto()


@dataclass(frozen=True, slots=True)
class _Set:
    """One character that is in one of the ranges; ``negated``: in none."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated

    def regex(self) -> str:
        ranges = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in self.ranges)
        if not ranges:
            return "." if self.negated else "(?!)"
        return f"[{'^' if self.negated else ''}{ranges}]"


_ANY = _Set((), negated=True)
_Token: TypeAlias = str | _Set | _Run


def has_glob(pathname: str) -> bool:
    """Whether ``pathname`` has a glob character that is more than itself."""
    return any(not isinstance(token, str) for token in _path_tokens(pathname))


def literal_prefix(pattern: str) -> str:
    """What every path that ``pattern`` matches begins with; all of ``pattern`` when it has no glob."""
    return _leading_literal(_path_tokens(pattern))


def path_glob(pattern: str) -> Matcher:
    """A function that says whether a whole path matches ``pattern``.

    Raises:
        Malformed: ``pattern`` is too long.
    """
    if len(pattern) > MAX_PATH_GLOB_CHARS and has_glob(pattern):
        raise Malformed(f"a glob over paths has at most {MAX_PATH_GLOB_CHARS} characters; got {len(pattern)}")
    tokens = _path_tokens(pattern)
    prefix = _leading_literal(tokens)
    if len(prefix) == len(tokens):
        return lambda path: path == pattern
    suffix = _leading_literal(reversed(tokens))[::-1]
    middle_matches = _automaton(tokens[len(prefix) : len(tokens) - len(suffix)])

    def matches(path: str) -> bool:
        end = len(path) - len(suffix)
        fits = end >= len(prefix) and path.startswith(prefix) and path.endswith(suffix)
        return fits and middle_matches(path[len(prefix) : end])

    return matches


def line_glob(pattern: str) -> Matcher:
    """A function that says whether a whole line matches ``pattern``."""
    pieces: list[list[str | _Set]] = [[]]
    for token in _tokens(pattern):
        if isinstance(token, _Run):
            pieces.append([])
        else:
            pieces[-1].append(token)
    if len(pieces) == 1:
        whole = _piece_regex(pieces[0])
        return lambda line: whole.fullmatch(line) is not None
    head, tail = _piece_regex(pieces[0]), _piece_regex(pieces[-1])
    head_chars, tail_chars = len(pieces[0]), len(pieces[-1])
    between = [(_finder(piece), len(piece)) for piece in pieces[1:-1]]

    def matches(line: str) -> bool:
        at, end = head_chars, len(line) - tail_chars
        if end < at or head.match(line) is None or tail.match(line, end) is None:
            return False
        for find, chars in between:
            at = find(line, at, end)
            if at < 0:
                return False
            at += chars
        return True

    return matches


def _automaton(tokens: Sequence[_Token]) -> Matcher:
    """The matcher for ``tokens`` as a set of states: bit *i* is "all before place *i* has matched"."""
    exact: dict[str, int] = {}
    sets: list[tuple[_Set, int]] = []
    within = across = skippable = segments = 0
    bit = 1
    for token in tokens:
        if isinstance(token, str):
            exact[token] = exact.get(token, 0) | bit
        elif isinstance(token, _Set):
            sets.append((token, bit))
        elif token is _Run.WITHIN:
            within |= bit
        elif token is _Run.ACROSS:
            across |= bit
        else:
            # Two places: one to step over all of it or to enter, one that only a "/" leaves.
            segments |= bit
            bit <<= 1
            across |= bit
            exact["/"] = exact.get("/", 0) | bit
        bit <<= 1
    skippable = within | (across & ~(segments << 1))
    accepting = bit
    steps: dict[str, int] = {}

    def step_of(char: str) -> int:
        """The places that ``char`` carries one further."""
        found = exact.get(char, 0)
        if char != "/":
            for members, at in sets:
                if members.has(char):
                    found |= at
        steps[char] = found
        return found

    def closed(states: int) -> int:
        """``states`` and what is reached from them for nothing; SEGMENTS never follows another run."""
        entered = states & segments
        states |= (entered << 1) | (entered << 2)
        return states | ((states & skippable) << 1)

    start = closed(1)

    def matches(text: str) -> bool:
        states = start
        for char in text:
            step = steps.get(char)
            if step is None:
                step = step_of(char)
            staying = across if char == "/" else across | within
            states = closed(((states & step) << 1) | (states & staying))
            if not states:
                return False
        return bool(states & accepting)

    return matches


def _path_tokens(pattern: str) -> list[_Token]:
    """The tokens of ``pattern`` with ``**/`` at the start of a segment made one run of whole segments."""
    tokens: list[_Token] = []
    for token in _tokens(pattern):
        last = tokens[-1] if tokens else None
        before = tokens[-2] if len(tokens) > 1 else "/"
        if (last, token) == (_Run.ACROSS, "/") and before in ("/", _Run.SEGMENTS):
            tokens.pop()
            if before is not _Run.SEGMENTS:  # Twice is no more than once.
                tokens.append(_Run.SEGMENTS)
        else:
            tokens.append(token)
    return tokens


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    may_close = True
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            run = at
            while pattern.startswith("*", at):
                at += 1
            tokens.append(_Run.WITHIN if at == run else _Run.ACROSS)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "[" and may_close:
            first = at + pattern.startswith("!", at)
            end = pattern.find("]", first + 1)  # A "]" in the first place is a member.
            if end < 0:
                may_close = False  # Nor does any later one: without this, "[[[[…" would be quadratic.
                tokens.append(char)
            else:
                tokens.append(_Set(_ranges(pattern[first:end]), negated=first > at))
                at = end + 1
        else:
            tokens.append(char)
    return tokens


def _ranges(members: str) -> tuple[tuple[str, str], ...]:
    """``a-z_`` as pairs of first and last; a pair the wrong way round has no members."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(members):
        last = members[at + 2] if members.startswith("-", at + 1) and at + 2 < len(members) else members[at]
        if members[at] <= last:
            found.append((members[at], last))
        at += 3 if members.startswith("-", at + 1) and at + 2 < len(members) else 1
    return tuple(found)


def _leading_literal(tokens: Iterable[_Token]) -> str:
    literal: list[str] = []
    for token in tokens:
        if not isinstance(token, str):
            break
        literal.append(token)
    return "".join(literal)


def _piece_regex(piece: Sequence[str | _Set]) -> re.Pattern[str]:
    """A regex of fixed length: no quantifier, so nothing to backtrack over."""
    return re.compile("".join(t.regex() if isinstance(t, _Set) else re.escape(t) for t in piece), re.DOTALL)


def _finder(piece: Sequence[str | _Set]) -> Callable[[str, int, int], int]:
    """Where ``piece`` is first found in ``text[start:end]``, or -1."""
    literal = _leading_literal(piece)
    if len(literal) == len(piece):
        return lambda line, start, end: line.find(literal, start, end)
    search = _piece_regex(piece).search

    def find(line: str, start: int, end: int) -> int:
        found = search(line, start, end)
        return found.start() if found else -1

    return find
