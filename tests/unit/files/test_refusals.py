"""Each error of the disk is one of ours, with a sentence that names the path."""

from __future__ import annotations

import errno
import os

import pytest

from plurnk.files.refusals import ours, refusal


@pytest.mark.parametrize(
    ("number", "status", "detail"),
    [
        (errno.ENOENT, 404, "a/b is not there"),
        (errno.ENOTDIR, 404, "a/b is not there: a part of the path is not a directory"),
        (errno.ELOOP, 404, "a/b is not there: too many links"),
        (errno.EACCES, 403, "a/b may not be touched: permission denied"),
        (errno.EROFS, 403, "a/b may not be written: the file system is read-only"),
        (errno.ENAMETOOLONG, 400, "a/b is too long a name for this file system"),
        (errno.EEXIST, 409, "a/b is there already"),
        (errno.EISDIR, 415, "a/b is a directory"),
        (errno.ENXIO, 415, "a/b is a device, socket or pipe"),
        (errno.EFBIG, 413, "a/b would be larger than this file system takes"),
        (errno.EMFILE, 503, "a/b cannot be opened now: too many files are open"),
        (errno.ENOSPC, 507, "a/b cannot be written: the disk is full"),
        (errno.EDQUOT, 507, "a/b cannot be written: the quota is used up"),
        (errno.EIO, 500, "a/b failed on the disk: Input/output error"),
    ],
)
def test_what_the_disk_says(number: int, status: int, detail: str) -> None:
    refused = refusal(OSError(number, os.strerror(number)), "a/b")
    assert (refused.status, refused.detail) == (status, detail)


def test_the_root_has_a_name_too() -> None:
    assert refusal(OSError(errno.ENOENT, ""), "").detail == "the workspace is not there"


def test_what_has_no_number_is_told_in_its_own_words() -> None:
    refused = refusal(OSError("odd"), "a")
    assert (refused.status, refused.detail) == (500, "a failed on the disk: odd")


def test_a_block_raises_ours_and_keeps_the_cause() -> None:
    def fail() -> None:
        with ours("a"):
            raise FileNotFoundError(errno.ENOENT, "")

    with pytest.raises(Exception, match="a is not there") as refused:
        fail()
    assert isinstance(refused.value.__cause__, FileNotFoundError)
