"""Which directory contains what, by names alone. Paths are absolute and have neither links nor dots in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet


def contains(directory: str, path: str) -> bool:
    """Whether ``path`` is ``directory`` or beneath it."""
    return directory in {path, "/"} or path.startswith(directory + "/")


def is_beneath(path: str, directory: str) -> bool:
    return path != directory and contains(directory, path)


def is_within(path: str, directories: Iterable[str]) -> bool:
    """Whether one of ``directories`` contains ``path``."""
    return any(contains(directory, path) for directory in directories)


def is_within_any(path: str, directories: AbstractSet[str]) -> bool:
    """``is_within`` for many directories: costs the depth of ``path``, not their number."""
    while path not in directories:
        if path == "/":
            return False
        path = path.rpartition("/")[0] or "/"
    return True


def parents_between(top: str, path: str) -> Iterator[str]:
    """The directories beneath ``top`` that contain ``path``, without that; none if it is not beneath ``top``."""
    if is_beneath(path, top):
        above = path.rpartition("/")[0] or "/"
        while above != top:
            yield above
            above = above.rpartition("/")[0] or "/"
