"""Mounts as the kernel lists those of a bubblewrap at work, and whether they are what was meant."""

from __future__ import annotations

import pytest

from sandbox.mounts import Meant, are_as_meant
from sandbox.paths import parents_between


def _row(point: str, root: str, device: str = "8:1", kind: str = "ext4") -> str:
    return f"36 35 {device} {root} {point} rw,noatime master:1 - {kind} /dev/sda rw"


OUTSIDE = [
    _row("/oldroot", "/"),
    _row("/oldroot/srv", "/volumes/s", "8:2"),
    _row("/oldroot/dev", "/", "0:6", "devtmpfs"),
]
BEFORE = [row.replace("/oldroot", "/newroot") for row in OUTSIDE]
"""All of the machine comes along."""
START = [*OUTSIDE, _row("/", "/", "0:39", "tmpfs"), _row("/newroot", "/newroot", "0:39", "tmpfs"), *BEFORE]
PROJECT = _row("/newroot/srv/p", "/volumes/s/p", "8:2")
GIT = _row("/newroot/srv/p/.git", "/volumes/s/p/.git", "8:2")
COVERED = _row("/newroot/srv/p/x", "/", "0:50", "tmpfs")
MEANT = [
    Meant(path="/srv/p", source="/srv/p"),
    Meant(path="/srv/p/.git", source="/srv/p/.git"),
    Meant(path="/srv/p/x", source=None),
]


def _are_as_meant(meant: list[Meant], *rows: str) -> bool:
    return are_as_meant(meant, "".join(f"{row}\n" for row in rows))


def test_as_meant() -> None:
    assert _are_as_meant(MEANT, *START, PROJECT, GIT, COVERED)
    assert _are_as_meant([Meant(path="/t", source="/t")], *START, _row("/newroot/t", "/t"))
    hidden = [Meant(path="/srv/p/.env", source="/dev/null")]
    assert _are_as_meant(hidden, *START, _row("/newroot/srv/p/.env", "/null", "0:6", "devtmpfs"))
    assert _are_as_meant(
        [Meant(path="/a b\\\n", source="/a b\\\n")], *START, _row("/newroot/a\\040b\\134\\012", "/a\\040b\\134\\012")
    )
    assert _are_as_meant([])


@pytest.mark.parametrize(
    "rows",
    [
        [],
        START,
        [*OUTSIDE, PROJECT.replace("/newroot", ""), GIT.replace("/newroot", ""), COVERED.replace("/newroot", "")],
        [*START, PROJECT, COVERED],  # it is elsewhere
        [*START, PROJECT, _row("/newroot/srv/p/.git", "/home/a"), COVERED],  # something else
        [*START, PROJECT, _row("/newroot/srv/p/.git", "/volumes/s/p/.git"), COVERED],  # the name, on another device
        [*START, PROJECT, _row("/newroot/srv/p/.git", "/volumes/s/p/.git//deleted", "8:2"), COVERED],
        [*START, PROJECT, GIT, _row("/newroot/srv/p/x", "/volumes/s/p/x", "8:2")],  # not covered
        [*START, PROJECT, GIT, COVERED, _row("/newroot/srv/p", "/home/a")],  # covered by something else
    ],
)
def test_not_as_meant(rows: list[str]) -> None:
    assert not _are_as_meant(MEANT, *rows)


def test_a_mount_that_was_there_before_is_not_ours() -> None:
    before = [PROJECT.replace("/newroot", "/oldroot"), PROJECT]
    assert not _are_as_meant(MEANT[:1], *START, *before)
    assert _are_as_meant(MEANT[:1], *START, *before, PROJECT)
    twice = [Meant(path="/srv/p", source="/srv/p"), Meant(path="/srv/p", source=None)]
    cover = _row("/newroot/srv/p", "/", "0:50", "tmpfs")
    assert _are_as_meant(twice, *START, PROJECT, cover)
    assert not _are_as_meant(twice, *START, cover)


def test_parents_between() -> None:
    assert list(parents_between("/srv", "/srv/a/b/c")) == ["/srv/a/b", "/srv/a"]
    assert list(parents_between("/", "/etc/shadow")) == ["/etc"]
    assert [list(parents_between("/srv", path)) for path in ("/srv/a", "/srv", "/", "/srvx/a/b")] == [[], [], [], []]
    assert list(parents_between("/", "/etc")) == []
