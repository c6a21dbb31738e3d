"""Changes of one file for tests: each kind, and all that lies beneath the root before and after."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plurnk.files.beneath import Root
from plurnk.files.writing import Step, plan, sha256

OLD: Final = b"old\n" * 3
NEW: Final = b"the new content\n" * 3

Tree = dict[str, tuple[int, bytes | None]]
"""Mode and content by path; None: a directory."""


@dataclass(frozen=True, slots=True)
class Change:
    path: str
    base: bytes | None
    new: bytes | None

    def set_up(self, project: Path) -> None:
        """Make the project as it is before the change, in a directory that may be there."""
        project.mkdir(exist_ok=True)
        if self.base is not None:
            file = project / self.path
            file.write_bytes(self.base)
            file.chmod(0o754)

    def step(self, root: Root) -> Step:
        base = None if self.base is None else sha256(self.base)
        new = None if self.new is None else sha256(self.new)
        return plan(root, self.path, base=base, new=new)


CHANGES: Final = {
    "replace": Change("file", OLD, NEW),
    "create": Change("file", None, NEW),
    "create deep": Change("a/b/file", None, NEW),
    "delete": Change("file", OLD, None),
}


def tree(project: Path) -> Tree:
    """All that is beneath it."""
    return {
        str(path.relative_to(project)): (
            stat.S_IMODE(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(project.rglob("*"))
    }
