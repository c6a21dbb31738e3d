"""Asking the person at the terminal what becomes of a proposal."""

from __future__ import annotations

import os
import sys
import termios
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import trio

from plurnk.cli.approving import covers, in_words, narrowest, pattern, with_pattern
from plurnk.cli.editing import edited, paged
from plurnk.cli.reviewing import Proposed, has_colours, is_of_file, review
from plurnk.cli.rows import REJECTED, printable
from plurnk.wire.params import ApprovalAddParams, Decision

_QUESTION: Final = "Accept? [y]es, [n]o (a word of why may follow), [e]dit, [a]lways, [v]iew: "
_ANSWER_BYTES: Final = 4096  # a terminal's longest line


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``body`` replaces what was proposed; ``outcome`` is what the model is told; ``always`` holds from now on."""

    decision: Decision
    body: str | None = None
    outcome: str | None = None
    always: ApprovalAddParams | None = None


def can_ask() -> bool:
    """Tell whether a person sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(proposal: Proposed, draft: str | None = None) -> Answer:
    """Show the proposal on standard error and wait until a person has decided.

    ``draft``: what the editor is to begin with, where that is not what was proposed.

    Cancelled: nothing was decided; the line that was being typed is dropped.
    """
    body: str | None = None  # None: as it was proposed
    colours = has_colours(sys.stderr)
    _say(review(proposal, colours=colours))
    while True:
        word, _, rest = (await _line(_QUESTION) or "").strip().partition(" ")
        match word.lower():
            case "y" | "yes":
                return Answer(decision="accept", body=body)
            case "n" | "no" | "":
                return Answer(decision="reject", outcome=f"{REJECTED}: {rest.strip()}" if rest.strip() else None)
            case "e" | "edit":
                body = await _edited(proposal, draft if body is None else body)
                draft = None
                _say(review(proposal, body=body, colours=colours))
            case "a" | "always" if body is not None:
                _say("It was edited, and always would accept it as it was proposed; y accepts this one.")
            case "a" | "always":
                if (always := await _always(proposal)) is not None:
                    return Answer(decision="accept", always=always)
            case "v" | "view":
                await paged(review(proposal, body=body, colours=colours, whole=True))
            case _:
                _say("y, n, e, a or v, please.")


async def _edited(proposal: Proposed, body: str | None) -> str | None:
    """Have the command or the file's new text edited; None: it is as it was proposed."""
    proposed: str | None = proposal.body
    name = "command"
    if is_of_file(proposal):
        proposed, name = proposal.attrs.get("patched"), PurePosixPath(proposal.attrs["path"]).name
    if proposed is None:
        _say("There is no new text that could be edited here: it is none, or too much.")
        return None
    result = await edited(proposed if body is None else body, name)
    return None if result == proposed else result


async def _always(proposal: Proposed) -> ApprovalAddParams | None:
    """Have a person say what is accepted from now on; None: nothing."""
    approval = narrowest(proposal)
    if approval is None:
        _say("Nothing narrow would accept this one always; y accepts it once.")
        return None
    while True:
        _say(printable(f"From now on, in this session, accept {in_words(approval)}"))
        text = await _line("Enter agrees, another pattern replaces this one, n goes back: ")
        # A line without even an end is Ctrl-D: somebody who leaves agrees to nothing.
        if text is None or text.strip() == "n":
            return None
        if not text.strip():
            return approval
        other = with_pattern(approval, text.strip())
        if covers(other, proposal):
            approval = other
        else:
            _say(printable(f"{pattern(other)} would not accept this one."))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _line(question: str) -> str | None:
    """Ask, and wait for a line; None: Ctrl-D. Not on a thread, which nobody could call back."""
    # What was typed before the question was there is no answer to it.
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    print(question, end="", file=sys.stderr, flush=True)
    try:
        await trio.lowlevel.wait_readable(sys.stdin)
    except trio.Cancelled:
        _say("")  # what is said next does not belong to the question
        raise
    line = os.read(sys.stdin.fileno(), _ANSWER_BYTES).decode(errors="replace")
    if not line.endswith("\n"):
        _say("")  # Ctrl-D ends no line
    return line or None
