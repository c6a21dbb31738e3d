"""Asking the person at the terminal what becomes of a proposal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from plurnk.cli.rows import REJECTED, printable
from plurnk.wire.answers import ProposalView
from plurnk.wire.notifications import LoopProposal
from plurnk.wire.params import Decision

_QUESTION: Final = "Accept? [y]es, [n]o (a word of why may follow), [e]dit: "
_ANSWER_BYTES: Final = 4096  # a terminal's longest line
_EDITORS: Final = ("VISUAL", "EDITOR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``body`` replaces what was proposed; ``outcome`` is what the model is told."""

    decision: Decision
    body: str | None = None
    outcome: str | None = None


def can_ask() -> bool:
    """Tell whether a person sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def described(proposal: LoopProposal | ProposalView, body: str) -> str:
    """Return what is to be decided about: the command, where it runs, and what it may do."""
    attrs = proposal.attrs
    heading = f"{proposal.op} by {attrs.get('runtime', '?')} in {attrs.get('cwd', '?')}"
    sandbox: Mapping[str, Any] = attrs.get("sandbox") or {}
    if sandbox:
        heading += f" ({_allowed(sandbox)})"
    lines = [f"{heading}:", *(f"  │ {line}" for line in body.rstrip("\n").split("\n"))]
    return printable("\n".join(lines))


def _allowed(sandbox: Mapping[str, Any]) -> str:
    profile = sandbox.get("profile", "?")
    if profile == "off":
        return "no sandbox: it may do whatever you may"
    parts = [f"sandbox {profile}", "with network" if sandbox.get("network") else "no network"]
    writable = [str(path) for path in sandbox.get("writable") or ()]
    if writable:
        parts.append(f"may write {', '.join(writable)}")
    return ", ".join(parts)


async def ask(proposal: LoopProposal | ProposalView) -> Answer:
    """Show the proposal on standard error and wait until a person has decided.

    Cancelled: nothing was decided; the line that was being typed is dropped.
    """
    body = proposal.body
    _say(described(proposal, body))
    while True:
        # What was typed before the question was there is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
        print(_QUESTION, end="", file=sys.stderr, flush=True)
        word, _, rest = (await _line()).strip().partition(" ")
        match word.lower():
            case "y" | "yes":
                return Answer(decision="accept", body=None if body == proposal.body else body)
            case "n" | "no" | "":
                return Answer(decision="reject", outcome=f"{REJECTED}: {rest.strip()}" if rest.strip() else None)
            case "e" | "edit":
                body = await _edited(body)
                _say(described(proposal, body))
            case _:
                _say("y, n or e, please.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _line() -> str:
    """Wait for a line; one that is ended by Ctrl-D is empty. Not on a thread, which nobody could call back."""
    try:
        await trio.lowlevel.wait_readable(sys.stdin)
    except trio.Cancelled:
        _say("")  # what is said next does not belong to the question
        raise
    return os.read(sys.stdin.fileno(), _ANSWER_BYTES).decode(errors="replace")


async def _edited(body: str) -> str:
    """Return what a person makes of ``body`` with their editor; it stays as it is if that does not work out."""
    named = next((os.environ[name] for name in _EDITORS if os.environ.get(name)), None)
    editor = named or shutil.which("vi") or shutil.which("nano")
    if editor is None:
        _say("There is no editor; the variable EDITOR would name one.")
        return body
    with tempfile.TemporaryDirectory(prefix="plurnk-") as folder:
        file = Path(folder) / "command"
        file.write_text(body, "utf-8")
        try:
            done = await trio.run_process([*shlex.split(editor), str(file)], stdin=None, check=False)
            edited = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            _say(f"{editor} did not work: {error}")
            return body
    if done.returncode != 0:
        _say(f"{editor} ended with {done.returncode}; the command stays as it was.")
        return body
    # Editors end the last line; who proposed it may not have.
    return edited if body.endswith("\n") else edited.removesuffix("\n")
