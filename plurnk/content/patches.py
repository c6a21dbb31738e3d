r"""What a person's edited body makes of a file: a diff that is applied, or the whole new text (SPEC 5.2).

Diffs come back out of editors, so what people do to them is provided for, and nothing is guessed:

- The lines of a hunk say how long it is, as in a file's diff nothing can follow a hunk but another one. The counts
  in its header are not believed: a line that was added or taken away by hand makes them wrong.
- The line at which a hunk stands is believed. A hunk that would fit elsewhere is refused: code repeats itself.
- An empty line in a hunk is an empty line of the file whose leading space an editor has cut off. At the end of a
  hunk it is nothing; neither is it missed there.
- A last line of the diff without its newline has one: only ``\ No newline at end of file`` takes it away.
- Where all lines of the file end alike and all lines in the hunks end alike, but otherwise, the ends are those of the
  program that sent the diff, and the file's are taken. In a diff that is faithful some line of the file would show its
  own end. Where either is mixed, or the file has no line that ends, the lines are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import chain, pairwise
from typing import Final

from plurnk.content.lines import BYTE_ORDER_MARK
from plurnk.errors import Malformed
from plurnk.language.wording import quote

_BEGINS: Final = re.compile(r"(?:[ \t\r]*\n)*+(?:diff --git |@@ -|--- [^\n]*\n(?:\+\+\+ |@@ -))")
_FIRST_HUNK: Final = re.compile(r"^@@ -", re.MULTILINE)
_NEXT_HUNK: Final = re.compile(r"\n(?=@@ -)")
_HUNK: Final = re.compile(r"@@ -([0-9]{1,9})(?:,([0-9]{1,9}))? \+[0-9]{1,9}(?:,[0-9]{1,9})? @@[^\n]*?(\r?)(?:\n|\Z)")
# What may stand before the first hunk, each at most once. A change of the mode may not: nothing would come of it.
_HEADER: Final = re.compile(
    r"(diff --git|index|new file mode|deleted file mode|similarity index|(?:rename|copy) (?:from|to)|---|\+\+\+) "
)
_PATCH_FILES: Final = (".diff", ".patch")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hunk:
    """``old`` are whole lines of the file behind its first ``lines_before`` ones; ``new`` comes in their place."""

    number: int
    lines_before: int
    old: str
    new: str


def replaced(base: str, body: str, *, path: str) -> str:
    """The text that ``body`` makes of ``base``, the text of the file ``path``; linear in their lengths.

    A body is a diff if its first line that is not blank begins with ``diff --git``, ``@@ -``, or ``---`` above a line
    with ``+++`` or ``@@ -``. Any other is the whole new text, to the letter. What is itself to begin so can be written
    by a diff; of a ``.diff`` or ``.patch`` file only a body with headers that name it is a diff.

    Raises:
        Malformed: ``body`` is a diff that is broken or does not fit ``base``; it says where.
    """
    diff = body.removeprefix(BYTE_ORDER_MARK)
    if _BEGINS.match(diff) is None:
        return body
    first = _FIRST_HUNK.search(diff)
    at = first.start() if first else len(diff)
    headers = [line.removesuffix("\r") for line in diff[:at].split("\n") if line.strip()]
    if path.lower().endswith(_PATCH_FILES) and not _name(headers, path):
        return body
    _check(headers)
    return _applied(base, _with_line_ends_of(base, list(_hunks(diff, at))))


def _name(headers: Iterable[str], path: str) -> bool:
    """Whether one of them is of the file ``path``."""
    named = {f"--- a/{path}", f"+++ b/{path}", f"--- {path}", f"+++ {path}", f"rename to {path}", f"copy to {path}"}
    return any(header.partition("\t")[0] in named for header in headers)  # A moment may follow, behind a tab.


def _check(headers: Iterable[str]) -> None:
    """See that they are the headers of one text file's diff."""
    seen: set[str] = set()
    for header in headers:
        known = _HEADER.match(header)
        if known is None:
            raise Malformed(f"the diff has a line that has no place before its first hunk: {quote(header)}")
        if known[1] in seen:
            raise Malformed(f"the diff is of more than one file: there is a second {quote(known[1])}")
        seen.add(known[1])


def _hunks(diff: str, at: int) -> Iterator[_Hunk]:
    """Those of ``diff``, the first of which begins at ``at``."""
    number = 0
    while at < len(diff):
        number += 1
        header = _HUNK.match(diff, at)
        if header is None:
            line = diff[at:].partition("\n")[0]
            raise Malformed(f"hunk {number} of the diff has a broken header: {quote(line)}; expected '@@ -a,b +c,d @@'")
        following = _NEXT_HUNK.search(diff, header.end() - 1)
        end = following.end() if following else len(diff)
        old, new = _sides(diff[header.end() : end], number, from_crlf=bool(header[3]))
        # Where there was no old line when the diff was made, the header names the line before.
        names_line_before = header[2] is not None and int(header[2]) == 0
        lines_before = int(header[1]) if names_line_before else int(header[1]) - 1
        yield _Hunk(number=number, lines_before=lines_before, old=old, new=new)
        at = end


def _sides(text: str, number: int, *, from_crlf: bool) -> tuple[str, str]:
    """What the lines of a hunk take away and what they bring. ``from_crlf``: all lines of the diff were ended so."""
    old, new = StringIO(), StringIO()
    over = ""  # The signs that can have no more lines.
    for line, following in pairwise(chain(_lines(text), ("",))):
        sign, content = (line[0], line[1:]) if line not in {"", "\r"} else (" ", line)
        if sign == "\\":
            continue
        if sign not in " -+":
            raise Malformed(f"hunk {number} of the diff has a line that begins with none of ' -+\\': {quote(line)}")
        if over and (sign in over or sign == " "):
            raise Malformed(f"hunk {number} of the diff goes on behind a line without a newline")
        if not following.startswith("\\"):
            content += "\n"
        else:
            over += "-+" if sign == " " else sign
            content = content.removesuffix("\r") if from_crlf else content
        if sign != "+":
            old.write(content)
        if sign != "-":
            new.write(content)
    return old.getvalue(), new.getvalue()


def _lines(text: str) -> Iterator[str]:
    """The lines of a hunk without their newlines, up to the last that is not empty."""
    end, at = len(text.rstrip("\r\n")), 0
    while at < end:
        newline = text.find("\n", at)
        if newline < 0:
            newline = len(text)
        yield text[at:newline]
        at = newline + 1


def _with_line_ends_of(base: str, hunks: Sequence[_Hunk]) -> Sequence[_Hunk]:
    """``hunks`` with their lines ended as those of ``base``, if both have one way to end lines."""
    theirs = _line_end([side for hunk in hunks for side in (hunk.old, hunk.new)])
    ours = _line_end([base])
    if theirs is None or ours is None or theirs == ours:
        return hunks
    return [replace(hunk, old=hunk.old.replace(theirs, ours), new=hunk.new.replace(theirs, ours)) for hunk in hunks]


def _line_end(texts: Iterable[str]) -> str | None:
    """How all lines of ``texts`` end that do; None: some so and some otherwise, or there is none."""
    newlines = crlfs = 0
    for text in texts:
        newlines += text.count("\n")
        crlfs += text.count("\r\n")
    if newlines and crlfs in (0, newlines):
        return "\r\n" if crlfs else "\n"
    return None


def _applied(base: str, hunks: Iterable[_Hunk]) -> str:
    parts: list[str] = []
    at = lines = 0  # Up to where ``base`` is done with.
    is_over = False  # Whether the new text has had its last line, one without a newline.
    for hunk in hunks:
        start = _behind(base, at, hunk.lines_before - lines)
        end = start + len(hunk.old)
        is_whole = all(side.endswith("\n") for side in (hunk.old, hunk.new) if side) or end == len(base)
        if is_over or start < 0 or not is_whole or not base.startswith(hunk.old, start):
            raise _misfit(base, hunk, start)
        parts += (base[at:start], hunk.new)
        at, lines = end, hunk.lines_before + hunk.old.count("\n")
        is_over = bool(hunk.new) and not hunk.new.endswith("\n")
    return "".join((*parts, base[at:]))


def _behind(base: str, at: int, lines: int) -> int:
    """Where the line begins that is ``lines`` lines behind the one at ``at``; -1: there is none."""
    if lines < 0:
        return -1
    for _ in range(lines):
        at = base.find("\n", at) + 1
        if not at:
            return -1
    return at


def _misfit(base: str, hunk: _Hunk, at: int) -> Malformed:
    """Why ``hunk`` does not fit at offset ``at``; -1: because the file has no such line left."""
    where = f"hunk {hunk.number} of the diff does not fit at line"
    line = hunk.lines_before + 1
    if at < 0:
        return Malformed(f"{where} {line}: there is no such line behind the hunk before")
    for match in re.finditer(r"[^\n]*\n|[^\n]+", hunk.old):
        wanted, end = match[0], base.find("\n", at) + 1 or len(base)
        found = base[at:end]
        if found != wanted:
            pairs = enumerate(zip(found, wanted, strict=False))
            same = next((column for column, (a, b) in pairs if a != b), min(len(found), len(wanted)))
            reason = f"from column {same} on the file has {quote(found[same:])}, not {quote(wanted[same:])}"
            return Malformed(f"{where} {line}: {reason}")
        at = end
        line += 1
    return Malformed(f"{where} {line}: a line without a newline is not the last one")
