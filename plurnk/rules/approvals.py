r"""Standing approvals: which proposals a session accepts by itself (SPEC 5.3).

In doubt one does not match, and a person is asked. What is decided here:

- A glob is over every path of a file operation, where it takes from and where it brings to included; one that is not
  spelled plainly beneath the root (``..``, an address of a note) matches none. Without a scheme it is of files.
- An EDIT that takes a file away (going back to when it was not there) matches none: who lets files be changed has not
  said that.
- A command prefix is compared word by word with what a shell makes of the command, for ``sh`` and ``bash``. A command
  never matches that can be more than one program with its arguments: with ``; | & $ ` < > ( )``, a line end or another
  control character, quoted or not.
- The words of a prefix hold nothing that a shell reads otherwise when it is not quoted, and do not begin with an
  assignment: so it makes no difference how the command quotes them.
- A program that is named by a relative path, such as ``./run``, is another one in another directory: it matches in the
  project's root only. One that is named alone matches everywhere; so do the words behind it.
- The sandbox of a command is at most what is named, or ``workspace``. Network makes it ``workspace-net``, and nothing
  but the one directory of the profile may be writable. A command of which this is not told never matches.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plurnk.content.globs import path_glob
from plurnk.errors import Malformed
from plurnk.language.ast import OpName
from plurnk.language.wording import quote
from plurnk.wire.params import SandboxProfile

MAX_COMMAND_CHARS: Final = 10_000
"""A longer command never matches: nobody has such a one in mind, and words of that length are slow to split."""

_FILE: Final = "file"
_EXEC: Final = "exec"
_PROPOSED: Final = frozenset({"EDIT", "COPY", "MOVE", "SEND", "EXEC"})
_SHELLS: Final = ("sh", "bash")
_PROFILES: Final = ("read-only", "workspace", "workspace-net", "off")
"""Each allows what those before it do."""

_COMPOUND: Final = re.compile(r"[;|&$`<>()\x00-\x08\x0a-\x1f\x7f]")
_READ_BY_SHELLS: Final = re.compile(r"[*?\[\]{}~#!]")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """All that is not None must match; ``sandbox_profile`` None is ``workspace``."""

    op: OpName
    scheme: str | None = None
    path_glob: str | None = None
    command_prefix: str | None = None
    sandbox_profile: SandboxProfile | None = None


def check(approval: Approval) -> None:
    """See that it can match something, and what its words say.

    Raises:
        Malformed: it names the field that is wrong.
    """
    op = approval.op
    if op not in _PROPOSED:
        raise Malformed(f"op: {op} is never proposed; expected one of EDIT, COPY, MOVE, SEND, EXEC")
    if op == "EXEC":
        if approval.scheme not in {None, _EXEC}:
            raise Malformed(f"scheme: EXEC is of {_EXEC}; got {quote(approval.scheme or '')}")
        if approval.path_glob is not None:
            raise Malformed("pathGlob: is for files; of EXEC name commandPrefix")
    else:
        if approval.command_prefix is not None:
            raise Malformed(f"commandPrefix: is for EXEC; of {op} name pathGlob")
        if approval.sandbox_profile is not None:
            raise Malformed(f"sandboxProfile: is for EXEC, not for {op}")
    if approval.path_glob is not None and not _is_plain(approval.path_glob):
        raise Malformed(f"pathGlob: expected a path beneath the project's root; got {quote(approval.path_glob)}")
    if approval.command_prefix is not None:
        _prefix_words(approval.command_prefix)


def approves(approval: Approval, *, op: OpName, scheme: str, attrs: Mapping[str, Any]) -> bool:
    """Whether a proposal is accepted by ``approval``; one that ``check`` refuses accepts nothing.

    ``scheme``: ``exec`` for EXEC, ``file`` for files; ``attrs``: the proposal's. The paths among these have to be real
    ones, with links resolved: a glob says where something happens.
    """
    try:
        check(approval)
    except Malformed:
        return False
    is_of_files = approval.path_glob is not None and approval.scheme is None
    if op != approval.op or scheme != (_FILE if is_of_files else approval.scheme or scheme):
        return False
    if op == "EXEC":
        fits = approval.command_prefix is None or _begins_with(attrs, approval.command_prefix)
        return fits and _holds(approval.sandbox_profile or "workspace", attrs.get("sandbox"))
    is_told = op != "EDIT" or attrs.get("op") != "delete"
    return is_told and (approval.path_glob is None or _paths_match(approval.path_glob, attrs))


def _paths_match(glob: str, attrs: Mapping[str, Any]) -> bool:
    matches = path_glob(glob)
    paths = [attrs.get("path"), *(attrs[name] for name in ("from", "to") if attrs.get(name) is not None)]
    return all(isinstance(path, str) and _is_plain(path) and matches(path) for path in paths)


def _is_plain(path: str) -> bool:
    """Whether it is a path beneath the root as it is spelled: every segment a name."""
    return all(segment not in {"", ".", ".."} for segment in path.split("/"))


def _begins_with(attrs: Mapping[str, Any], prefix: str) -> bool:
    """Whether the command is one program of which the first words are those of ``prefix``."""
    command = attrs.get("command")
    if attrs.get("runtime") not in _SHELLS or not isinstance(command, str):
        return False
    wanted = _prefix_words(prefix)
    try:
        words = _words(command)
    except ValueError:
        return False
    is_relative = "/" in wanted[0] and not wanted[0].startswith("/")
    return words[: len(wanted)] == wanted and (not is_relative or attrs.get("cwd") == ".")


def _prefix_words(prefix: str) -> list[str]:
    """Its words. Raises Malformed: it has none, or what they are depends on how they are quoted."""
    strange = _READ_BY_SHELLS.search(prefix)
    if strange:
        raise Malformed(f"commandPrefix: cannot hold {quote(strange[0])}, which shells read as more than itself")
    try:
        words = _words(prefix)
    except ValueError as error:
        raise Malformed(f"commandPrefix: {error}") from error
    if not words or not words[0]:
        raise Malformed("commandPrefix: names no program")
    if _ASSIGNMENT.match(words[0]):
        raise Malformed(f"commandPrefix: begins with an assignment, not with a program: {quote(words[0])}")
    return words


def _words(command: str) -> list[str]:
    """The words of one simple command. Raises ValueError: it is more than that, or is broken."""
    if len(command) > MAX_COMMAND_CHARS:
        raise ValueError(f"more than {MAX_COMMAND_CHARS} characters")
    compound = _COMPOUND.search(command)
    if compound:
        raise ValueError(f"cannot hold {quote(compound[0])}, with which it could be more than one command")
    return shlex.split(command)


def _holds(profile: SandboxProfile, sandbox: Any) -> bool:
    """Whether ``sandbox``, as a proposal tells it, is no wider than ``profile``."""
    match sandbox:
        case {"profile": "read-only" as asked, "network": bool(network), "writable": []}:
            pass
        case {"profile": str(asked), "network": bool(network), "writable": [] | [_]} if asked in _PROFILES[1:]:
            pass
        case _:
            return False
    width = _PROFILES.index(asked)
    return (max(width, _PROFILES.index("workspace-net")) if network else width) <= _PROFILES.index(profile)
