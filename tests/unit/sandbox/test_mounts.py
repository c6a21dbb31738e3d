"""Mounts as the kernel lists them, and whether they are what was meant."""

from __future__ import annotations

import pytest

from sandbox.mounts import Meant, Mount, are_as_meant, mounts_of
from sandbox.paths import parents_between


def _mount(point: str, root: str, device: str = "8:1", kind: str = "ext4") -> Mount:
    return Mount(device=device, root=root, point=point, kind=kind)


OUTSIDE = [_mount("/", "/"), _mount("/srv", "/volumes/s", "8:2"), _mount("/dev", "/", "0:6", "devtmpfs")]
PROJECT = _mount("/srv/p", "/volumes/s/p", "8:2")
GIT = _mount("/srv/p/.git", "/volumes/s/p/.git", "8:2")
COVERED = _mount("/srv/p/x", "/", "0:50", "tmpfs")
MEANT = [
    Meant(path="/srv/p", source="/srv/p"),
    Meant(path="/srv/p/.git", source="/srv/p/.git"),
    Meant(path="/srv/p/x", source=None),
]


def test_as_meant() -> None:
    assert are_as_meant(MEANT, OUTSIDE, [*OUTSIDE, PROJECT, GIT, COVERED])
    assert are_as_meant([Meant(path="/t", source="/t")], OUTSIDE, [*OUTSIDE, _mount("/t", "/t")])
    hidden = [Meant(path="/srv/p/.env", source="/dev/null")]
    assert are_as_meant(hidden, OUTSIDE, [_mount("/srv/p/.env", "/null", "0:6", "devtmpfs")])
    assert are_as_meant([], OUTSIDE, [])


@pytest.mark.parametrize(
    "inside",
    [
        [],
        OUTSIDE,
        [*OUTSIDE, PROJECT, COVERED],  # it is elsewhere
        [*OUTSIDE, PROJECT, _mount("/srv/p/.git", "/home/a"), COVERED],  # something else
        [*OUTSIDE, PROJECT, _mount("/srv/p/.git", "/volumes/s/p/.git"), COVERED],  # the name, on another device
        [*OUTSIDE, PROJECT, _mount("/srv/p/.git", "/volumes/s/p/.git//deleted", "8:2"), COVERED],
        [*OUTSIDE, PROJECT, GIT, _mount("/srv/p/x", "/volumes/s/p/x", "8:2")],  # not covered
        [*OUTSIDE, PROJECT, GIT, COVERED, _mount("/srv/p", "/home/a")],  # covered by something else
    ],
)
def test_not_as_meant(inside: list[Mount]) -> None:
    assert not are_as_meant(MEANT, OUTSIDE, inside)


def test_a_mount_that_was_there_before_is_not_ours() -> None:
    """While bubblewrap has not begun, its process sees ours."""
    outside = [*OUTSIDE, PROJECT]
    assert not are_as_meant(MEANT[:1], outside, outside)
    assert are_as_meant(MEANT[:1], outside, [*outside, PROJECT])
    twice = [Meant(path="/srv/p", source="/srv/p"), Meant(path="/srv/p", source=None)]
    cover = _mount("/srv/p", "/", "0:50", "tmpfs")
    assert are_as_meant(twice, OUTSIDE, [*OUTSIDE, PROJECT, cover])
    assert not are_as_meant(twice, OUTSIDE, [*OUTSIDE, cover])


def test_ours_can_be_read() -> None:
    assert "/proc" in {mount.point for mount in mounts_of("self")}


def test_parents_between() -> None:
    assert list(parents_between("/srv", "/srv/a/b/c")) == ["/srv/a/b", "/srv/a"]
    assert list(parents_between("/", "/etc/shadow")) == ["/etc"]
    assert [list(parents_between("/srv", path)) for path in ("/srv/a", "/srv", "/", "/srvx/a/b")] == [[], [], [], []]
    assert list(parents_between("/", "/etc")) == []
