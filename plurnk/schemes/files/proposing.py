"""What is shown of a change of files before it is made, and the change when it was accepted (SPEC 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import trio

from plurnk.content import diffs, mimetypes
from plurnk.content.file_diffs import Kind, file_diff
from plurnk.content.patches import replaced
from plurnk.errors import Malformed, TooLarge
from plurnk.files.reading import can_be_written
from plurnk.files.writing import sha256
from plurnk.plugins.api import Accepted, Call, OpResult, Proposal, Tx
from plurnk.schemes.disk import Change, carry_out
from plurnk.schemes.files.project import FILE_MAX_BYTES, type_of

BODY_MAX_CHARS: int = 1024 * 1024
"""A longer diff is nothing that anybody could judge, nor would every client take it."""

PATCHED_MAX_BYTES: int = 256 * 1024

Record: TypeAlias = Callable[[Tx], OpResult]
"""Writes what the store has to know, in the transaction of the operation's row."""

Prepare: TypeAlias = Callable[[Change], Record]
"""What is to be recorded of the change as it is made. Called on a thread: to compare long texts takes its time, in
which nobody else's transaction should have to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is to happen to files: a change of the one that the operation is about, and what goes with it.

    ``source``: the file that the content comes from, and what it holds; ``left``: what becomes of that one.
    ``to``: the address of the entry that the content goes to.
    """

    kind: Kind
    change: Change
    source: str | None = None
    source_base: bytes | None = None
    left: Change | None = None
    to: str | None = None
    may_be_edited: bool = False


async def proposal(call: Call, intent: Intent, prepare: Prepare) -> Proposal:
    """Show what is intended; when that is accepted, do it.

    Raises:
        TooLarge, Malformed: it cannot be shown.
    """
    body, attrs = await trio.to_thread.run_sync(_shown, intent, abandon_on_cancel=True)

    async def apply(accepted: Accepted) -> None:
        other = None if accepted.body == body else accepted.body
        change, record = await trio.to_thread.run_sync(_accepted, intent, prepare, other, abandon_on_cancel=True)
        changes = [change] if intent.left is None else [change, intent.left]
        await carry_out(call, accepted, changes, record)

    async def check(other: str) -> None:
        if other != body:
            await trio.to_thread.run_sync(_as_accepted, intent, other, abandon_on_cancel=True)

    return Proposal(body=body, attrs=attrs, apply=apply, check=check)


def _shown(intent: Intent) -> tuple[str, dict[str, Any]]:
    """The diff, and what it does not say. Whatever the change depends on has to be in one of them."""
    change = intent.change
    if not all(map(can_be_written, filter(None, [change.path, intent.source]))):
        raise Malformed(
            "a path that is written has no control characters: what is shown could look like something else"
        )
    body = _diff(change, intent.kind, intent.source)
    if intent.left is not None and intent.left.new is not None:
        body += _diff(intent.left, "edit")
    if len(body) > BODY_MAX_CHARS:
        if change.new is not None:
            raise TooLarge("the change is too large to be shown")
        body = _gone(change.path)
    new = change.new
    text = None if new is None or len(new) > PATCHED_MAX_BYTES else _text(new)
    attrs = {
        "path": change.path,
        "op": intent.kind,
        "from": intent.source,
        "fromBase": None if intent.source_base is None else sha256(intent.source_base),
        "to": intent.to,
        "base": None if change.base is None else sha256(change.base),
        "patched": text,
        "patchedSha256": None if new is None else sha256(new),
        "created": change.base is None,
    }
    optional = {"from", "fromBase", "to"}
    return body, {name: value for name, value in attrs.items() if value is not None or name not in optional}


def _gone(path: str) -> str:
    return f"diff --git a/{path} b/{path}\nBinary files a/{path} and /dev/null differ\n"


def _diff(change: Change, kind: Kind, source: str | None = None) -> str:
    old, new = change.base or b"", change.new or b""
    if change.new is None and len(old) > 4 * BODY_MAX_CHARS:
        return _gone(change.path)  # a character has four bytes at most: its lines would not fit
    if kind == "edit" and mimetypes.is_text(type_of(change.path, old), old) and _is_foreign(old, new):
        # What is shown of a text that is not UTF-8 can be read, though it would not apply.
        return diffs.readable(old, new, change.path, max_lines=None)
    if kind == "create" and change.base is None and b"\0" in new:
        # Who writes a text and one NUL must not have it shown as nothing but "binary".
        with suppress(UnicodeDecodeError):
            return diffs.unified(None, new.decode(), change.path, max_lines=None)
    return file_diff(change.path, change.base, change.new, kind=kind, source=source)


def _is_foreign(old: bytes, new: bytes) -> bool:
    return _text(old) is None or _text(new) is None


def _accepted(intent: Intent, prepare: Prepare, other: str | None) -> tuple[Change, Record]:
    change = intent.change if other is None else _as_accepted(intent, other)
    return change, prepare(change)


def _as_accepted(intent: Intent, body: str) -> Change:
    """The change that was accepted with another body than was proposed.

    Raises:
        Malformed: what is proposed can only be accepted as it is, or ``body`` is a diff that does not apply.
        TooLarge: for a file.
    """
    change = intent.change
    base = _text(change.base or b"")
    if not intent.may_be_edited or base is None or _text(change.new or b"") is None:
        raise Malformed("this can only be accepted as it was proposed, not with another body")
    new = replaced(base, body, path=change.path).encode()
    if len(new) > FILE_MAX_BYTES:
        raise TooLarge(f"a file that is written has at most {FILE_MAX_BYTES} bytes")
    return replace(change, new=new)


def _text(data: bytes) -> str | None:
    """``data`` as a text; None: it is none."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None
