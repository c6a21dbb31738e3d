"""Bare paths: the files of the session's project (SPEC 5)."""

from plurnk.schemes.files.scheme import FileScheme, file

__all__ = ["FileScheme", "file"]
