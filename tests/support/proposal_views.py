"""Proposals as ``proposal.list`` shows them, for tests that read or answer them."""

from __future__ import annotations

from typing import Any

from plurnk.content.diffs import unified
from plurnk.language.ast import OpName
from plurnk.wire.answers import ProposalView
from plurnk.wire.notifications import ProposalTarget

DIGEST = "d1" * 32
OLD = "".join(f"line {number}\n" for number in range(1, 11))
NEW = OLD.replace("line 5\n", "line five\nand more\n")


def view(op: OpName, body: str, attrs: dict[str, Any], **fields: Any) -> ProposalView:
    default: dict[str, Any] = {
        "log_entry_id": 7,
        "run_id": 1,
        "loop_id": 5,
        "turn_id": 2,
        "target": ProposalTarget(scheme=None, pathname=attrs.get("path")),
        "flags": {"yolo": False},
        "at": "2026-01-01T00:00:00.000Z",
    }
    return ProposalView(op=op, body=body, attrs={**attrs, "digest": DIGEST}, **(default | fields))


def of_file(
    old: str | None = OLD, new: str | None = NEW, path: str = "src/app.py", op: OpName = "EDIT", **attrs: Any
) -> ProposalView:
    """A change of a file from ``old`` to ``new``; None: it is not there. ``attrs`` beyond what follows from that."""
    what = "create" if old is None else "delete" if new is None else "edit"
    default = {"path": path, "op": what, "base": None, "patched": new, "patchedSha256": None, "created": old is None}
    return view(op, unified(old, new, path, max_lines=None), default | attrs)


def of_note(op: OpName) -> ProposalView:
    """A note that goes to a new file."""
    attrs = {"path": "a.md", "op": "create", "base": None, "patched": "a\n", "patchedSha256": None, "created": True}
    body = unified(None, "a\n", "a.md", max_lines=None)
    return view(op, body, attrs, target=ProposalTarget(scheme="known", pathname="a"))


def of_command(
    command: str = "make all", runtime: str = "sh", profile: str = "workspace", **fields: Any
) -> ProposalView:
    writable = [] if profile == "read-only" else ["/project"]
    sandbox = {"profile": profile, "network": profile == "workspace-net", "writable": writable}
    attrs = {"runtime": runtime, "cwd": ".", "command": command, "sandbox": sandbox, "timeoutMs": 0}
    return view("EXEC", command, attrs, **fields)
