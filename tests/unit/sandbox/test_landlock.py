"""Policies as Landlock rules, compared whole; and what rules mean, compared with the marks they are made of."""

from __future__ import annotations

import ctypes
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import domain, landlock
from sandbox.landlock import (
    BIND_TCP,
    CONNECT_TCP,
    DEVICE,
    DEVICES,
    IOCTL_DEV,
    MAKE,
    READ,
    READ_FILE,
    REFER,
    TRUNCATE,
    WRITE,
    WRITE_FILE,
    Ruleset,
    handled_fs,
    marks,
    ruleset,
    signals_only,
)
from sandbox.paths import contains
from sandbox.policy import Policy
from sandbox.repository import NONE
from sandbox.surroundings import Bound, Hidden, Surroundings

TREE = {
    "/": ["etc", "home", "srv", "tmp", "usr"],
    "/etc": ["passwd", "shadow"],
    "/home": ["me", "you"],
    "/home/me": [".ssh", "tools", "project"],
    "/home/me/project": ["secret", "src"],
    "/srv": ["a", "b"],
}
"""What is in which directory."""

AROUND = Surroundings(
    is_root=False,
    can_mount=False,
    home="/home/me",
    covered=("/home", "/tmp"),
    tools=(Bound(path="/home/me/tools", source="/home/me/tools"),),
    hidden=(Hidden(path="/etc/shadow", kind="file"),),
    missing=(),
    repository=NONE,
)


def _names(directory: str) -> list[str]:
    return TREE.get(directory, [])


def _rules(given_marks: dict[str, int], abi: int = 7) -> dict[str, int]:
    return dict(ruleset(given_marks, _names, abi=abi, has_network=True).rules)


def test_what_gets_more_needs_no_way_around() -> None:
    assert _rules({"/": READ, "/srv": WRITE}) == {"/": READ, "/srv": WRITE}


def test_a_directory_with_something_hidden_is_granted_child_by_child() -> None:
    assert _rules({"/": READ, "/etc/shadow": 0, "/home": 0}) == {
        "/etc/passwd": READ,
        "/srv": READ,
        "/tmp": READ,
        "/usr": READ,
    }


def test_what_a_part_may_not_do_the_whole_cannot_but_its_other_parts_can() -> None:
    assert _rules({"/srv": WRITE, "/srv/b": READ}) == {"/srv": READ, "/srv/a": WRITE & ~READ, "/srv/b": READ}


def test_what_lies_in_something_hidden_may_be_granted_all_the_same() -> None:
    assert _rules({"/home": 0, "/home/me/project": WRITE}) == {"/home/me/project": WRITE}


@given(
    st.dictionaries(
        st.sampled_from(["/", *TREE, *(f"{top.rstrip('/')}/{name}" for top, names in TREE.items() for name in names)]),
        st.sampled_from([0, READ_FILE, READ, WRITE_FILE, WRITE]),
    )
)
def test_rules_give_every_leaf_what_its_nearest_mark_says(given_marks: dict[str, int]) -> None:
    rules = _rules(given_marks)
    leaves = [f"{top.rstrip('/')}/{name}" for top, names in TREE.items() for name in names]
    for leaf in leaves:
        if leaf in TREE:
            continue
        above = [path for path in given_marks if contains(path, leaf)]
        wanted = given_marks[max(above, key=lambda path: len(PurePosixPath(path).parts))] if above else 0
        got = 0
        for path, rights in rules.items():
            got |= rights if contains(path, leaf) else 0
        assert got == wanted


def test_each_version_is_asked_for_what_it_knows() -> None:
    assert [handled_fs(abi).bit_length() for abi in range(1, 8)] == [13, 14, 15, 15, 16, 16, 16]
    old = ruleset({"/srv": WRITE, "/dev/null": DEVICE}, _names, abi=1, has_network=False)
    assert (old.handled_net, old.scoped) == (0, 0)
    assert dict(old.rules) == {"/srv": WRITE & ~(REFER | TRUNCATE), "/dev/null": DEVICE & ~IOCTL_DEV}
    assert ruleset({}, _names, abi=4, has_network=False).handled_net == BIND_TCP | CONNECT_TCP
    assert ruleset({}, _names, abi=7, has_network=True).handled_net == 0
    assert ruleset({}, _names, abi=5, has_network=False).scoped == 0
    assert ruleset({}, _names, abi=6, has_network=False).scoped == 3


def test_without_a_sandbox_only_signals_are_kept_in() -> None:
    assert signals_only(5) is None
    assert signals_only(6) == Ruleset(handled_fs=0, handled_net=0, scoped=2, rules=())


def test_a_project_in_a_home() -> None:
    policy = Policy(profile="workspace", root="/home/me/project", tmp="/state/tmp", writable=("/srv/a",))
    assert marks(policy, AROUND, private_directory="/tmp/private") == {
        "/": READ,
        "/dev": 0,
        "/home": 0,
        "/tmp": 0,
        "/home/me/tools": READ,
        **dict.fromkeys(DEVICES, DEVICE),
        "/dev/shm": WRITE,
        "/home/me/project": WRITE,
        "/srv/a": WRITE,
        "/etc/shadow": 0,
        "/state/tmp": WRITE,
        "/tmp/private/home": WRITE,
        "/tmp/private/tmp": WRITE,
        "/tmp/private/script": READ,
    }


def test_read_only_means_the_root_too() -> None:
    found = marks(Policy(profile="read-only", root="/srv"), AROUND, private_directory="/tmp/private")
    assert found["/srv"] == READ
    assert {path for path, rights in found.items() if rights & MAKE} == {
        "/dev/shm",
        "/tmp/private/home",
        "/tmp/private/tmp",
    }


@pytest.mark.spec("4.6-secrets-hidden")
def test_of_what_is_hidden_only_the_root_and_temporary_files_are_seen() -> None:
    hidden = (Hidden(path="/home/me", kind="directory"), Hidden(path="/home/me/project/secret", kind="file"))
    policy = Policy(
        profile="workspace", root="/home/me/project", tmp="/home/me/tmp", writable=("/home/me/more", "/gone")
    )
    around = Surroundings(
        is_root=False,
        can_mount=False,
        home=None,
        covered=(),
        tools=AROUND.tools,
        hidden=hidden,
        missing=("/gone",),
        repository=NONE,
    )
    found = marks(policy, around, private_directory="/tmp/private")
    assert {path: rights for path, rights in found.items() if path.startswith(("/home", "/gone"))} == {
        "/home/me": 0,
        "/home/me/project": WRITE,
        "/home/me/project/secret": 0,
        "/home/me/tmp": WRITE,
    }


def test_a_home_in_the_project_and_private_files_in_it_take_nothing_from_it() -> None:
    found = marks(Policy(profile="workspace", root="/home/me"), AROUND, private_directory="/home/me/private")
    assert {path for path, rights in found.items() if path.startswith("/home/me/") and rights != WRITE} == set()
    assert found["/home/me"] == WRITE


def test_the_kernel_refuses_what_is_none() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        domain.landlock_ruleset(1 << 60, 0, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        domain.landlock_allow(2**20, 0, READ)
    with pytest.raises(OSError, match="Bad file descriptor"):
        domain.landlock_restrict(2**20)


def test_a_rule_has_the_size_that_the_kernel_takes() -> None:
    assert ctypes.sizeof(domain._PathBeneath) == 12
    assert landlock.OF_FILES & landlock.READ_DIR == 0
