"""Which directory contains what, by names alone. Paths are absolute and have neither links nor dots in them."""

from __future__ import annotations

from collections.abc import Iterable


def contains(directory: str, path: str) -> bool:
    """Whether ``path`` is ``directory`` or beneath it."""
    return directory in {path, "/"} or path.startswith(directory + "/")


def is_beneath(path: str, directory: str) -> bool:
    return path != directory and contains(directory, path)


def is_within(path: str, directories: Iterable[str]) -> bool:
    """Whether one of ``directories`` contains ``path``."""
    return any(contains(directory, path) for directory in directories)
