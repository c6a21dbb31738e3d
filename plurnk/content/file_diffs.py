"""What a proposal to change a file shows of it (SPEC 5.2)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from plurnk.content import diffs

Kind: TypeAlias = Literal["edit", "create", "delete", "move", "copy"]


def file_diff(path: str, old: bytes | None, new: bytes | None, *, kind: Kind, source: str | None = None) -> str:
    r"""The whole diff of the file ``path`` from what it holds to what it is to hold; None: it is not there.

    For a move and a copy ``source`` is where ``new`` comes from: that is said in git's words, and ``path`` has hunks
    only if what it holds is lost. What is not UTF-8 or has a NUL is binary: no diff could bring it back. The rest
    applies: ``patches.replaced`` makes the text of ``new`` of that of ``old`` – of that of ``new`` where a move or copy
    finds no file at ``path``. ``""``: nothing changes.
    """
    moved = ""
    if source is not None and kind in {"move", "copy"}:
        word = "rename" if kind == "move" else "copy"
        moved = f"diff --git a/{source} b/{path}\n{word} from {source}\n{word} to {path}\n"
        old = new if old is None else old
    if old == new:
        return moved
    old_text, new_text = _text(old), _text(new)
    if (old is None) == (old_text is None) and (new is None) == (new_text is None):
        return moved + diffs.unified(old_text, new_text, path, max_lines=None)
    before = "/dev/null" if old is None else f"a/{path}"
    after = "/dev/null" if new is None else f"b/{path}"
    return (moved or f"diff --git a/{path} b/{path}\n") + f"Binary files {before} and {after} differ\n"


def _text(data: bytes | None) -> str | None:
    """``data`` as a text; None: it is none, or there is no data."""
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
