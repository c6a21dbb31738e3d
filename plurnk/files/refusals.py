"""What the disk refuses, as plurnk's own errors: a status and a sentence for each (SPEC 2)."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from plurnk.errors import (
    Conflict,
    Denied,
    Draining,
    Malformed,
    NotFound,
    OutOfRoom,
    PlurnkError,
    TooLarge,
    UnsupportedType,
)

_KINDS: Final[Mapping[int, tuple[type[PlurnkError], str]]] = {
    errno.ENOENT: (NotFound, "is not there"),
    errno.ESTALE: (NotFound, "is not there any more"),
    errno.ENOTDIR: (NotFound, "is not there: a part of the path is not a directory"),
    errno.ELOOP: (NotFound, "is not there: too many links"),
    errno.EACCES: (Denied, "may not be touched: permission denied"),
    errno.EPERM: (Denied, "may not be touched: operation not permitted"),
    errno.EROFS: (Denied, "may not be written: the file system is read-only"),
    errno.ENAMETOOLONG: (Malformed, "is too long a name for this file system"),
    errno.EILSEQ: (Malformed, "is not a name for this file system"),
    errno.EEXIST: (Conflict, "is there already"),
    errno.ENOTEMPTY: (Conflict, "is not empty"),
    errno.EBUSY: (Conflict, "is in use"),
    errno.ETXTBSY: (Conflict, "is a program that runs"),
    errno.EISDIR: (UnsupportedType, "is a directory"),
    errno.ENXIO: (UnsupportedType, "is a device, socket or pipe"),
    errno.ENODEV: (UnsupportedType, "is a device, socket or pipe"),
    errno.EFBIG: (TooLarge, "would be larger than this file system takes"),
    errno.ENOSPC: (OutOfRoom, "cannot be written: the disk is full"),
    errno.EDQUOT: (OutOfRoom, "cannot be written: the quota is used up"),
    errno.EMFILE: (Draining, "cannot be opened now: too many files are open"),
    errno.ENFILE: (Draining, "cannot be opened now: too many files are open"),
    errno.ENOMEM: (Draining, "cannot be opened now: no memory is left"),
}


def refusal(error: OSError, path: str) -> PlurnkError:
    """Ours for what the disk said about ``path``; 500 with its own words for what nobody foresaw (EIO)."""
    kind, words = _KINDS.get(error.errno or 0, (PlurnkError, f"failed on the disk: {error.strerror or error}"))
    return kind(f"{path or 'the workspace'} {words}")


@contextmanager
def ours(path: str) -> Iterator[None]:
    """Turn an OSError of the block into the refusal of ``path``."""
    try:
        yield
    except OSError as error:
        raise refusal(error, path) from error
