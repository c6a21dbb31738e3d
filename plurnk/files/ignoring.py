"""What FIND passes over: in a repository what git calls ignored, else what the ``.gitignore`` files say (SPEC 5.1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from plurnk.files import gitignore
from plurnk.files.git import Repository, ignored, repository, small_file

_MAX_ASKED: Final = 100
"""Repositories that git is asked about in one walk, each by a process of its own; of more, the files say it."""


class Rules(Protocol):
    """What is ignored in one directory and, as long as no ``.git`` begins another repository, beneath it."""

    def ignores(self, path: str, *, is_dir: bool) -> bool:
        """Whether ``path``, from the project's root on, is passed over, given that what it is in is not."""
        ...

    def within(self, fd: int, path: str) -> Rules:
        """The rules for what is in the directory ``path``, open as ``fd``."""
        ...


@dataclass(frozen=True, slots=True)
class _Listed:
    """Git has said it all."""

    names: frozenset[str]

    def ignores(self, path: str, *, is_dir: bool) -> bool:
        return (f"{path}/" if is_dir else path) in self.names

    def within(self, fd: int, path: str) -> Self:
        del fd, path
        return self


@dataclass(frozen=True, slots=True)
class _Layer:
    """The patterns of one file, which are about paths beneath one directory."""

    skipped: int
    """How long that directory's path is, with a ``/``."""
    patterns: Sequence[gitignore.Pattern]


@dataclass(frozen=True, slots=True)
class _Patterned:
    """Paths from the root on, ``top`` before them, are those that the layers are about; the deepest decides first."""

    top: str
    layers: tuple[_Layer, ...] = ()

    def ignores(self, path: str, *, is_dir: bool) -> bool:
        whole = os.fsencode(f"{self.top}/{path}")
        for layer in reversed(self.layers):
            said = gitignore.verdict(layer.patterns, whole[layer.skipped :], is_dir=is_dir)
            if said is not None:
                return said
        return False

    def within(self, fd: int, path: str) -> Self:
        return self.with_layer(path, small_file(".gitignore", dir_fd=fd))

    def with_layer(self, path: str, data: bytes) -> Self:
        patterns = gitignore.parse(data)
        if not patterns:
            return self
        skipped = len(os.fsencode(f"{self.top}/{path}" if path else self.top)) + 1
        return type(self)(self.top, (*self.layers, _Layer(skipped, patterns)))


class Ignoring:
    """The rules of one walk. Blocks on the disk: for a thread of ``trio.to_thread.run_sync``.

    Args:
        root: the real path of the project's root.
        scope: the directory, from the root on, that the walk goes to; "" for all of the project.
    """

    def __init__(self, root: str, scope: str) -> None:
        self._root = root.rstrip("/")
        self._scope = scope
        self._asked = 0

    def of_root(self, fd: int) -> Rules:
        """The rules for what is in the root, open as ``fd``, which may lie within a repository."""
        own = repository(f"/proc/self/fd/{fd}")
        if own is not None:
            return self._of_repository(own, fd, "")
        for above in Path(self._root or "/").parents:
            found = repository(str(above))
            if found is not None:
                rules = self._of_outer(found, os.path.relpath(self._root, above))
                return _Patterned(self._root).within(fd, "") if rules is None else rules.within(fd, "")
        return _Patterned(self._root).within(fd, "")

    def of_directory(self, fd: int, path: str, rules: Rules) -> Rules:
        """The rules for what is in ``path``, open as ``fd``, which was found in a directory with ``rules``."""
        own = repository(f"/proc/self/fd/{fd}")
        return rules.within(fd, path) if own is None else self._of_repository(own, fd, path)

    def _of_repository(self, own: Repository, fd: int, path: str) -> Rules:
        beneath = f"{path}/" if path else ""
        names = self._ask(own, self._scope[len(beneath) :] if self._scope.startswith(beneath) else "")
        if names is None:
            return _Patterned(self._root).with_layer(path, own.exclude).within(fd, path)
        return _Listed(frozenset(beneath + name for name in names))

    def _of_outer(self, outer: Repository, way: str) -> Rules | None:
        """What a repository says of the root, which is ``way`` down in it; None when it ignores the root itself."""
        names = self._ask(outer, f"{way}/{self._scope}".rstrip("/"))
        if names is None:
            return self._patterns_of_outer(outer, way)
        beneath = frozenset(name.removeprefix(f"{way}/") for name in names if name.startswith(f"{way}/")) - {""}
        # Git names a directory alone when it is ignored, and with what is in it when just all of that is.
        alone = not beneath and any(name.endswith("/") and f"{way}/".startswith(name) for name in names)
        return None if alone else _Listed(beneath)

    def _patterns_of_outer(self, outer: Repository, way: str) -> Rules | None:
        rules = _Patterned(outer.directory.rstrip("/")).with_layer("", outer.exclude)
        path = ""
        for name in way.split("/"):
            rules = rules.with_layer(path, small_file(f"{rules.top}/{path}/.gitignore"))
            path = f"{path}/{name}".lstrip("/")
            if rules.ignores(path, is_dir=True):
                return None
        return _Patterned(self._root, rules.layers)

    def _ask(self, asked: Repository, scope: str) -> frozenset[str] | None:
        self._asked += 1
        return ignored(asked, scope) if self._asked <= _MAX_ASKED else None
