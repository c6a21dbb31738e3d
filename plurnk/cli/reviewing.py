"""A proposal as a person reviews it: what would be done and what that changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TextIO, TypeAlias

from plurnk.cli.rows import first_line, printable
from plurnk.content.diffs import unified
from plurnk.wire.answers import ProposalView
from plurnk.wire.notifications import LoopProposal

Proposed: TypeAlias = LoopProposal | ProposalView

SHOWN_LINES: Final = 400
"""More would only roll by; the rest is a key away."""
SHOWN_OF_LINE_CHARS: Final = 400
"""As for ``SHOWN_LINES``: minified files have lines of megabytes."""

_Kind: TypeAlias = Literal["added", "removed", "hunk", "same"]
_COLOURS: Final[Mapping[_Kind, str]] = {"added": "\x1b[32m", "removed": "\x1b[31m", "hunk": "\x1b[36m"}
_NO_COLOUR: Final = "\x1b[m"
_SIGNS: Final[Mapping[str, _Kind]] = {"+": "added", "-": "removed"}
_HUNK: Final = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_BINARY: Final = re.compile(r"^Binary files .* differ$", re.MULTILINE)
# These would have a terminal show the characters in another order than whoever carries it out reads them.
_DISORDER: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def has_colours(stream: TextIO) -> bool:
    """Tell whether what ``stream`` leads to shows colours, and is to."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def is_of_file(proposal: Proposed) -> bool:
    return isinstance(proposal.attrs.get("path"), str)


def subject(proposal: Proposed) -> str:
    """Return in a line what it is about: the file, from where to where it moves, or how the command begins."""
    if not is_of_file(proposal):
        return first_line(proposal.body)
    attrs, target = proposal.attrs, proposal.target
    source = attrs.get("from")
    if source is None and target.scheme is not None and proposal.op in {"COPY", "MOVE"}:
        source = f"{target.scheme}://{target.pathname or ''}"  # an entry
    return " → ".join(end for end in (source, attrs["path"], attrs.get("to")) if end)


def summary(proposal: Proposed) -> str:
    """Return what is said of it where there is no room for more: the command, or the file with how much changes."""
    return _in_a_line(_file_heading(proposal) if is_of_file(proposal) else first_line(proposal.body))


def digest_of(proposal: Proposed) -> str | None:
    """Return what stands for all of it, so that the answer is to this and nothing else."""
    digest = proposal.attrs.get("digest")
    return digest if isinstance(digest, str) else None


def review(proposal: Proposed, *, body: str | None = None, colours: bool, whole: bool = False) -> str:
    """Return all that a person decides about: a heading, then the command or the diff. No newline at the end.

    ``body``: what it was changed to; of a file the new text, of which is shown what differs from the proposed one.
    Not ``whole``: cut to what fits on a few screens, saying so.
    """
    shown: list[tuple[_Kind, str]]
    if is_of_file(proposal):
        heading, diff = _file_heading(proposal), proposal.body
        if body is not None:
            heading += "; edited, which changes of what was proposed"
            diff = unified(proposal.attrs["patched"], body, proposal.attrs["path"], max_lines=None)
        shown = list(_kinds(_split(diff)))
    else:
        heading = _command_heading(proposal)
        shown = [("same", f"  │ {line}") for line in _split(proposal.body if body is None else body)]
    texts = [f"{_in_a_line(heading)}:"]
    for kind, line in shown if whole else shown[:SHOWN_LINES]:
        text = _harmless(line if whole else _cut(line))
        colour = _COLOURS.get(kind) if colours else None
        texts.append(text if colour is None else f"{colour}{text}{_NO_COLOUR}")
    if len(shown) > SHOWN_LINES and not whole:
        texts.append(f"… {len(shown) - SHOWN_LINES} more lines; [v]iew shows all")
    return "\n".join(texts)


def _split(text: str) -> list[str]:
    """The lines, which end at a newline and at nothing else."""
    return text.removesuffix("\n").split("\n")


def _cut(line: str) -> str:
    left_out = len(line) - SHOWN_OF_LINE_CHARS
    return line if left_out <= 0 else f"{line[:SHOWN_OF_LINE_CHARS]}… {left_out} more characters"


def _harmless(text: str) -> str:
    # Of a line that ends in CR LF the CR says nothing to fear, and yet it may be what changes.
    ended = f"{text[:-1]}␍" if text.endswith("\r") else text
    return _DISORDER.sub("�", printable(ended))


def _in_a_line(text: str) -> str:
    return _harmless(text).replace("\n", "�")


def _command_heading(proposal: Proposed) -> str:
    attrs, target = proposal.attrs, proposal.target
    if proposal.op != "EXEC":
        return f"{proposal.op} {target.scheme}://{target.pathname or ''}"  # a plugin's
    heading = f"{proposal.op} by {attrs.get('runtime', '?')} in {attrs.get('cwd', '?')}"
    sandbox: Mapping[str, Any] = attrs.get("sandbox") or {}
    return f"{heading} ({_allowed(sandbox)})" if sandbox else heading


def _allowed(sandbox: Mapping[str, Any]) -> str:
    profile = sandbox.get("profile", "?")
    if profile == "off":
        return "no sandbox: it may do whatever you may"
    parts = [f"sandbox {profile}", "with network" if sandbox.get("network") else "no network"]
    writable = [str(path) for path in sandbox.get("writable") or ()]
    if writable:
        parts.append(f"may write {', '.join(writable)}")
    return ", ".join(parts)


def _file_heading(proposal: Proposed) -> str:
    attrs = proposal.attrs
    match attrs.get("op"):
        case "delete":
            what = "deletes it, "
        case "create":
            what = "a new file, "
        case "move" | "copy" if attrs.get("created") is False:
            what = "over what is there, "
        case _:
            what = ""
    return f"{proposal.op} {subject(proposal)} ({what}{_amount(proposal.body)})"


def _amount(diff: str) -> str:
    if _BINARY.search(diff):
        return "no text"
    kinds = [kind for kind, _line in _kinds(_split(diff))]
    return f"+{kinds.count('added')} -{kinds.count('removed')} lines"


def _kinds(lines: Sequence[str]) -> Iterator[tuple[_Kind, str]]:
    """What each line of a diff is. A hunk is as long as it says, so that ``--- x`` may be a line that goes."""
    old = new = 0
    for line in lines:
        if old > 0 or new > 0:
            sign = line[:1]
            old -= sign in {"-", " "}
            new -= sign in {"+", " "}
            yield _SIGNS.get(sign, "same"), line
        elif hunk := _HUNK.match(line):
            old, new = (int(count or 1) for count in hunk.groups())
            yield "hunk", line
        else:
            yield "same", line
