"""A file as clients look at it, without an operation and its row in the log (``entry.read``)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from plurnk.errors import UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.reading import look
from plurnk.schemes.files.project import EXACT_TOKENS_BYTES, tokens_of, type_of
from plurnk.schemes.reading import SNIFF_BYTES

VIEW_MAX_BYTES: int = 100 * 1024 * 1024
"""More than anybody could be sent; a file with holes may be of any length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """Bytes ``start`` and what follows of a file."""

    path: str
    mimetype: str
    tokens: int
    size_bytes: int
    data: bytes


def view(path: str, start: int, max_bytes: int, root: Root) -> FileView:
    """At most ``max_bytes`` of the file, from ``start`` on.

    Raises:
        NotFound, Denied, Malformed: as ``Root.open``.
        UnsupportedType: it is no regular file.
    """
    path = root.locate(path)
    if look(root, path).kind == "directory":
        raise UnsupportedType(f"{path or '.'} is a directory; READ lists it")
    fd = root.open(path)
    try:
        size_bytes = os.fstat(fd).st_size
        # Never beyond its size: what the kernel makes up, as in a /proc that is mounted here, has none.
        whole = os.pread(fd, size_bytes, 0) if size_bytes <= EXACT_TOKENS_BYTES else None
        return FileView(
            path=path,
            mimetype=type_of(path, os.pread(fd, min(SNIFF_BYTES, size_bytes), 0)),
            tokens=tokens_of(size_bytes, whole),
            size_bytes=size_bytes,
            data=os.pread(fd, max(0, min(max_bytes, VIEW_MAX_BYTES, size_bytes - start)), start),
        )
    finally:
        os.close(fd)
