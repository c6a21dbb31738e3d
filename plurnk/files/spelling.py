"""How a path in the workspace is spelled: one canonical form, found by the text alone."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from plurnk.errors import Denied, Malformed

ESCAPES: Final = "path escapes the workspace"

_MAX_PATH_BYTES: Final = 4096
_MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 255
"""Names in one path. Each directory on the way down is held open, and a process has 1,024 descriptors as a rule."""


_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What Unicode says may be ignored, and file systems that fold names do ignore."""

_SHORT_GIT: Final = re.compile(r"git~[0-9]")
"""The short names that a FAT or NTFS disk gives to ``.git``: ``GIT~1``, or with the next number when that is taken."""


def is_gits(name: str) -> bool:
    """Whether some file system takes this for ``.git``: by its case, by what is not seen, by what is at its end."""
    folded = _UNSEEN.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return folded.partition(":")[0].rstrip(". ") == ".git" or _SHORT_GIT.fullmatch(folded) is not None


def names_of(path: str) -> list[str]:
    """The names in ``path`` from left to right, without what says nothing; ``..`` is kept."""
    return [name for name in path.split("/") if name not in {"", "."}]


def _check(path: str) -> None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise Malformed("a path has to be UTF-8") from None
    if b"\0" in encoded:
        raise Malformed("a path has no NUL")
    if len(encoded) > _MAX_PATH_BYTES:
        raise Malformed(f"a path has at most {_MAX_PATH_BYTES} bytes")
    if max(map(len, encoded.split(b"/"))) > _MAX_NAME_BYTES:
        raise Malformed(f"a name in a path has at most {_MAX_NAME_BYTES} bytes")


def inside(root: str, path: str) -> str:
    """Return the canonical spelling of ``path`` from ``root`` on: no ``.``, ``//`` or ``/`` at an end; "" is the root.

    By the text alone, so ``src/../a`` is ``a`` whatever ``src`` is. An absolute path beneath ``root`` becomes relative.

    Raises:
        Malformed: NUL, not UTF-8, a name over 255 bytes, over 4,096 bytes or 255 names in all.
        Denied: it leads out.
    """
    _check(path)
    absolute = path.startswith("/")
    names: list[str] = []
    for name in names_of(path):
        if name != "..":
            names.append(name)
        elif names:
            names.pop()
        elif not absolute:  # above / is / again
            raise Denied(ESCAPES)
    if absolute:
        above = names_of(root)
        if names[: len(above)] != above:
            raise Denied(ESCAPES)
        names = names[len(above) :]
    if len(names) > MAX_DEPTH:
        raise Malformed(f"a path has at most {MAX_DEPTH} names")
    return "/".join(names)
