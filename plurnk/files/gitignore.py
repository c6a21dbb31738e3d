r"""The patterns of a ``.gitignore``, read as git reads them, for where git itself cannot be asked.

A workspace may be hostile and the patterns run in this process, so none may be slow: each becomes a regex in which
nothing is tried twice. After a ``*`` the first place where the next piece fits is right, because the pieces have a
fixed length, so it is taken for good (an atomic group); in the same way ``**/`` takes whole segments.

Bytes, because git's ``?`` is one byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

MAX_PATTERNS: Final = 5000
"""Of one file; what follows does not count. Large projects have some hundred, and each name is held against each."""

_BOM: Final = b"\xef\xbb\xbf"
_LITERAL: Final = re.compile(rb"[^*?\[\\]*")
_STAR: Final = b"*"
_DEEP: Final = b"**"
_SLASH: Final = b"/"
_ANY: Final = rb"[^/]"
_MEMBER: Final = re.compile(rb"\[:(?P<named>[^\]]*):\]|(?P<low>\\.|[^\\])(?:-(?P<high>\\.|[^\\\]]))?", re.DOTALL)
_CLASSES: Final = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": b"0-9",
    b"graph": b"!-~",
    b"lower": b"a-z",
    b"print": b" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    ignore: bool
    """False after a ``!``: what it matches is not ignored after all."""
    directories_only: bool
    by_name: bool
    """Its text has no ``/``: it is held against the last name of a path instead of the whole."""
    matches: Callable[[bytes], bool]


def parse(data: bytes) -> tuple[Pattern, ...]:
    """The patterns of a ``.gitignore`` with this content. Lines that are none, or can match nothing, are left out."""
    found: list[Pattern] = []
    for line in data.removeprefix(_BOM).split(b"\n"):
        pattern = _pattern(line.removesuffix(b"\r").split(b"\0", 1)[0])
        if pattern is not None:
            found.append(pattern)
            if len(found) == MAX_PATTERNS:
                break
    return tuple(found)


def verdict(patterns: Sequence[Pattern], path: bytes, *, is_dir: bool) -> bool | None:
    """Whether ``path`` (from the directory of the ``.gitignore`` on) is ignored; None if nothing matches it."""
    name = path[path.rfind(b"/") + 1 :]
    for pattern in reversed(patterns):  # the last that matches decides
        if (is_dir or not pattern.directories_only) and pattern.matches(name if pattern.by_name else path):
            return pattern.ignore
    return None


def _pattern(line: bytes) -> Pattern | None:
    if line.startswith(b"#"):
        return None
    text = line.rstrip(b" ")
    if text != line and (len(text) - len(text.rstrip(b"\\"))) % 2:
        text += b" "  # the backslash keeps it
    negated = text.startswith(b"!")
    text = text[negated:]
    directories_only = text.endswith(b"/")
    text = text[: len(text) - directories_only]
    by_name = b"/" not in text
    matches = _matcher(text.removeprefix(b"/"), by_name=by_name)
    if not text or matches is None:
        return None
    return Pattern(ignore=not negated, directories_only=directories_only, by_name=by_name, matches=matches)


def _matcher(text: bytes, *, by_name: bool) -> Callable[[bytes], bool] | None:
    """None: it can match nothing."""
    start = _LITERAL.match(text)
    literal = start.group() if start else b""
    if literal == text:
        return text.__eq__
    rest = text[len(literal) :]
    suffix = rest.removeprefix(_STAR)
    if by_name and not literal and suffix != rest and _LITERAL.fullmatch(suffix):
        return lambda name: name.endswith(suffix)
    # The rest alone, as git does it: its ``**`` counts as at the start of a segment (``a**/b`` is ``a`` and ``**/b``).
    tokens = _tokens(rest, in_path=not by_name)
    if tokens is None:
        return None
    fits = re.compile(re.escape(literal) + _regex(tokens), re.DOTALL).fullmatch
    return lambda path: fits(path) is not None


def _tokens(text: bytes, *, in_path: bool) -> list[bytes] | None:
    """``_STAR``, ``_DEEP``, ``_SLASH`` or a regex for one byte each; None for what git calls malformed."""
    tokens: list[bytes] = []
    at = 0
    while at < len(text):
        start, char = at, text[at : at + 1]
        at += 1
        if char == b"*":
            while text.startswith(b"*", at):
                at += 1
            begins = start == 0 or text[start - 1 : start] == b"/"
            ends = at == len(text) or text.startswith((b"/", rb"\/"), at)
            tokens.append(_DEEP if in_path and at - start > 1 and begins and ends else _STAR)
        elif char == b"?":
            tokens.append(_ANY)
        elif char == b"[":
            bracket = _bracket(text, at)
            if bracket is None:
                return None
            token, at = bracket
            tokens.append(token)
        else:
            if char == b"\\":
                char = text[at : at + 1]
                at += 1
                if not char:
                    return None
            tokens.append(_SLASH if char == b"/" else re.escape(char))
    return tokens


def _bracket(text: bytes, at: int) -> tuple[bytes, int] | None:
    """The regex for the ``[…]`` that was opened before ``at``, and where it ends; None when it is malformed."""
    negated = text.startswith((b"!", b"^"), at)
    at += negated
    ranges: list[bytes] = []
    while not (ranges and text.startswith(b"]", at)):  # A "]" in the first place is a member.
        member = _MEMBER.match(text, at)
        if member is None:
            return None
        at = member.end()
        named, low, high = member.group("named", "low", "high")
        if named is None:
            first, last = low[-1], (high or low)[-1]
            ranges.append(b"\\x%02x-\\x%02x" % (first, max(first, last)))  # of one the wrong way round, the first is in
        elif named in _CLASSES:
            ranges.append(_CLASSES[named])
        else:
            return None
    members = b"".join(ranges)
    return (b"[^/%b]" if negated else b"(?!/)[%b]") % members, at + 1


def _regex(tokens: list[bytes]) -> bytes:
    first, *deep = _split(tokens, _DEEP)
    if not deep:
        return _segments(first)
    # Each of the others begins with the slash behind its ``**``, and all but the last end with the one before the next.
    *between, last = deep
    parts = [_segments(first)]
    parts += [b"(?>(?:[^/]*/)*?%b)" % _segments(run[1:]) for run in between if run[1:]]
    parts.append(b"(?:[^/]*/)*?" + _segments(last[1:]) if last else b".*")
    return b"".join(parts)


def _segments(tokens: list[bytes]) -> bytes:
    return b"/".join(_segment(segment) for segment in _split(tokens, _SLASH))


def _segment(tokens: list[bytes]) -> bytes:
    first, *starred = (b"".join(piece) for piece in _split(tokens, _STAR))
    if not starred:
        return first
    between = b"".join(b"(?>[^/]*?%b)" % piece for piece in starred[:-1] if piece)
    return b"%b%b[^/]*%b" % (first, between, starred[-1])  # and then comes a slash or the end


def _split(tokens: list[bytes], separator: bytes) -> list[list[bytes]]:
    runs: list[list[bytes]] = [[]]
    for token in tokens:
        if token == separator:
            runs.append([])
        else:
            runs[-1].append(token)
    return runs
