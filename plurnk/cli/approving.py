"""Standing approvals as a person gives them: narrow, and in words that say what they let pass (SPEC 5.3)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from plurnk.cli.reviewing import Proposed, is_of_file
from plurnk.rules.approvals import Approval, approves
from plurnk.wire.answers import ApprovalView
from plurnk.wire.params import ApprovalAddParams

Standing: TypeAlias = ApprovalAddParams | ApprovalView

_GLOB_SIGNS: Final = re.compile(r"[*?[]")
_EXEC: Final = "EXEC"


def narrowest(proposal: Proposed) -> ApprovalAddParams | None:
    """Return what would let this one pass and as little else as can be; None where nothing narrow does.

    Of a file: its path alone. Of a command: its first two words, which are ``git status`` or ``make test``; all of
    its words if the second is an option, as ``rm -rf`` and ``python -c`` say nothing of what is done.
    """
    if is_of_file(proposal):
        glob = _GLOB_SIGNS.sub(r"[\g<0>]", proposal.attrs["path"])
        approval = ApprovalAddParams(op=proposal.op, scheme=_scheme_of(proposal), path_glob=glob)
    elif proposal.op != _EXEC:
        return None  # of a plugin's: nobody knows here what is narrow
    else:
        try:
            words = shlex.split(proposal.body)
        except ValueError:
            return None
        if len(words) < 2 or not words[1].startswith("-"):
            words = words[:2]
        sandbox: Mapping[str, Any] = proposal.attrs.get("sandbox") or {}
        approval = ApprovalAddParams(
            op=proposal.op,
            scheme=_scheme_of(proposal),
            command_prefix=shlex.join(words) or None,
            sandbox_profile=sandbox.get("profile"),
        )
        if approval.command_prefix is None:
            return None
    return approval if covers(approval, proposal) else None


def covers(approval: Standing, proposal: Proposed) -> bool:
    """Tell whether it would let this one pass."""
    rule = Approval(
        op=approval.op,
        scheme=approval.scheme,
        path_glob=approval.path_glob,
        command_prefix=approval.command_prefix,
        sandbox_profile=approval.sandbox_profile,
    )
    return approves(rule, op=proposal.op, scheme=_scheme_of(proposal), attrs=proposal.attrs)


def _scheme_of(proposal: Proposed) -> str:
    """As the daemon has it: of a COPY of a note to a file it is the note's."""
    return "exec" if proposal.op == _EXEC else proposal.target.scheme or "file"


def pattern(approval: Standing) -> str:
    """Return the part that is a person's to choose: the glob, or how the command begins."""
    return approval.path_glob or approval.command_prefix or ""


def with_pattern(approval: ApprovalAddParams, text: str) -> ApprovalAddParams:
    if approval.path_glob is not None:
        return msgspec.structs.replace(approval, path_glob=text)
    return msgspec.structs.replace(approval, command_prefix=text)


def in_words(approval: Standing) -> str:
    """Return ``EDIT of src/*.py`` or ``EXEC of make test … (sandbox workspace at most)``."""
    words = f"{approval.op} of "
    if approval.command_prefix is not None:
        words += f"{approval.command_prefix} …"
    else:
        words += approval.path_glob or f"everything in {approval.scheme or 'every scheme'}"
    if approval.sandbox_profile == "off":
        return f"{words} (without a sandbox)"
    return f"{words} (sandbox {approval.sandbox_profile} at most)" if approval.sandbox_profile else words
