"""Policy and surroundings to a command line, compared whole."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sandbox import bubblewrap
from sandbox.policy import Command, Policy, Profile
from sandbox.process import Fds
from sandbox.repository import Held, Repository
from sandbox.surroundings import Bound, Hidden, Surroundings

COMMAND: Final = Command(argv=("make", "-k"), cwd="/srv/p", env={"PATH": "/bin", "HOME": "/home/a"})
FDS: Final = Fds(arguments=2, status=3, block=4, seccomp=5, script=6)
UNFILTERED: Final = Fds(arguments=2, status=3, block=4, script=6)
PIPES: Final = ["--json-status-fd", "3", "--block-fd", "4", "--perms", "0400", "--file", "6", "/dev/script"]
COVERED: Final = ("/tmp", "/var/tmp", "/run", "/home")

START: Final = ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
ROOTS: Final = ["--new-session", "--cap-drop", "ALL", "--seccomp", "5"]
TEMPORARY: Final = ["--perms", "1777", "--tmpfs", "/tmp"]
LASTING: Final = ["--perms", "1777", "--tmpfs", "/var/tmp"]
HOMES: Final = ["--perms", "0755", "--tmpfs", "/home"]
HOME: Final = ["--perms", "0700", "--dir", "/home/a"]
RUN: Final = ["--perms", "0755", "--tmpfs", "/run"]


def _around(**more: Any) -> Surroundings:
    given: dict[str, Any] = {
        "is_root": False,
        "can_mount": False,
        "home": "/home/a",
        "covered": (*COVERED, "/home/a"),
        "tools": (),
        "hidden": (),
        "missing": (),
        "repository": Repository(),
    }
    return Surroundings(**{**given, **more})


def _argv(policy: Policy, around: Surroundings, command: Command = COMMAND, fds: Fds = FDS, **more: Any) -> list[str]:
    return bubblewrap.arguments(policy, command, around, fds=fds, **more)


def _policy(profile: Profile = "workspace", **more: Any) -> Policy:
    given: dict[str, Any] = {"root": "/srv/p", **more}
    return Policy(profile=profile, **given)


def _mounts(policy: Policy, around: Surroundings, command: Command = COMMAND) -> list[str]:
    """What comes between /proc and the end."""
    argv = _argv(policy, around, command)
    return argv[argv.index("/proc") + 1 : argv.index("--json-status-fd")]


def _binds(mounts: list[str]) -> list[tuple[str, str]]:
    """What is bound or covered, and how."""
    return [
        (option, mounts[at + 2] if "bind" in option else mounts[at + 1])
        for at, option in enumerate(mounts)
        if option in {"--bind", "--ro-bind", "--tmpfs"}
    ]


def test_a_workspace_of_an_ordinary_user_whole() -> None:
    assert _argv(_policy(), _around()) == [
        *("--die-with-parent", "--unshare-pid"),
        *(*START, "--unshare-net", "--unshare-user", "--disable-userns", *ROOTS),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *(*HOMES, *HOME, *RUN, "--bind", "/srv/p", "/srv/p", *TEMPORARY, *LASTING),
        *(*PIPES, "--chdir", "/srv/p", "--clearenv"),
        *("--setenv", "HOME", "/home/a", "--setenv", "PATH", "/bin", "--setenv", "TMPDIR", "/tmp"),
    ]


def test_all_that_there_can_be_of_root_whole() -> None:
    policy = _policy("workspace-net", tmp="/state/t", root="/home/a/p", writable=("/data",), hidden=("/state",))
    around = _around(
        is_root=True,
        can_mount=True,
        tools=(Bound(path="/home/a/.nvm", source="/opt/nvm"), Bound(path="/run/dns", source="/run/dns")),
        hidden=(Hidden(path="/state", kind="directory"), Hidden(path="/etc/shadow", kind="file")),
        repository=Repository(
            held=(
                Held(path="/home/a/p/.git", access="writable"),
                Held(path="/home/a/p/.git/config", access="read-only"),
                Held(path="/home/a/p/.git/hooks", access="empty"),
            )
        ),
    )
    command = Command(argv=("sh",), cwd="/home/a/p/x", env={}, script=b"true")
    assert _argv(policy, around, command, FDS) == [
        *("--die-with-parent", "--unshare-pid", *START, *ROOTS),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--remount-ro", "/proc"),
        *("--bind", "/data", "/data", "--ro-bind", "/dev/null", "/etc/shadow"),
        *(*HOMES, *HOME, "--ro-bind", "/opt/nvm", "/home/a/.nvm", "--bind", "/home/a/p", "/home/a/p"),
        *("--bind", "/home/a/p/.git", "/home/a/p/.git"),
        *("--ro-bind", "/home/a/p/.git/config", "/home/a/p/.git/config"),
        *("--perms", "0555", "--tmpfs", "/home/a/p/.git/hooks"),
        *(*RUN, "--ro-bind", "/run/dns", "/run/dns", "--perms", "0000", "--tmpfs", "/state"),
        *("--bind", "/state/t", "/tmp", *LASTING),
        *(*PIPES, "--chdir", "/home/a/p/x", "--clearenv"),
        *("--setenv", "TMPDIR", "/tmp"),
    ]


def test_the_way_to_what_is_hidden_is_held_where_it_could_be_renamed() -> None:
    hidden = tuple(Hidden(path=path, kind="file") for path in ("/srv/p/a/b/.env", "/srv/p/.git/x/key", "/srv/q/a/.env"))
    around = _around(hidden=hidden, repository=Repository(held=(Held(path="/srv/p/.git", access="read-only"),)))
    inside = [bind for bind in _binds(_mounts(_policy(), around)) if bind[1].startswith("/srv")]
    assert inside == [
        ("--bind", "/srv/p"),
        ("--ro-bind", "/srv/p/.git"),  # and nothing writable in it
        ("--ro-bind", "/srv/p/.git/x/key"),
        ("--bind", "/srv/p/a"),
        ("--bind", "/srv/p/a/b"),
        ("--ro-bind", "/srv/p/a/b/.env"),
        ("--ro-bind", "/srv/q/a/.env"),
    ]
    assert {each.path: each.source for each in bubblewrap.meant(_policy(), around)} == {
        "/srv/p": "/srv/p",
        "/srv/p/.git": "/srv/p/.git",
        "/srv/p/.git/x/key": "/dev/null",
        "/srv/p/a": "/srv/p/a",
        "/srv/p/a/b": "/srv/p/a/b",
        "/srv/p/a/b/.env": "/dev/null",
    }
    assert not any(bind[1] == "/srv/p/a" for bind in _binds(_mounts(_policy("read-only"), around)))
    assert bubblewrap.meant(_policy("off"), around) == ()


def test_off_is_a_pid_namespace_whole() -> None:
    command = Command(argv=("sh",), cwd="/", env={}, script=b"true")
    assert _argv(_policy("off", tmp="/state/t"), _around(can_mount=True), command) == [
        *("--die-with-parent", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc"),
        *("--tmpfs", "/proc/driver"),
        *(*PIPES[:-1], "/proc/driver/script", "--chdir", "/", "--clearenv", "--setenv", "TMPDIR", "/state/t"),
    ]


@pytest.mark.spec("4.6-no-network")
@pytest.mark.parametrize(
    ("policy", "has_network"),
    [
        (_policy("read-only"), False),
        (_policy(), False),
        (_policy(network=True), True),
        (_policy("read-only", network=True), True),
        (_policy("workspace-net"), True),
    ],
)
def test_a_network_is_granted_or_there_is_none(policy: Policy, has_network: bool) -> None:
    assert ("--unshare-net" not in _argv(policy, _around())) == has_network


@pytest.mark.parametrize(
    ("can_mount", "fds", "version", "expected"),
    [
        (True, FDS, (0, 8), []),
        (True, UNFILTERED, (0, 11, 1), ["--unshare-user", "--disable-userns"]),
        (True, UNFILTERED, (0, 7), []),
        (False, FDS, (0, 8), ["--unshare-user", "--disable-userns"]),
        (False, FDS, (0, 6, 1), ["--unshare-user"]),
    ],
)
def test_a_user_namespace_is_made_to_mount_or_to_forbid_others(
    can_mount: bool, fds: Fds, version: tuple[int, ...], expected: list[str]
) -> None:
    argv = _argv(_policy(), _around(can_mount=can_mount), fds=fds, version=version)
    assert [word for word in argv if word in {"--unshare-user", "--disable-userns"}] == expected


@pytest.mark.spec("4.6-write-outside-denied")
def test_read_only_makes_the_root_so_and_shows_git_as_it_is() -> None:
    held = (
        Held(path="/home/a/p/.git", access="writable"),
        Held(path="/home/a/p/.git/config", access="read-only"),
        Held(path="/home/a/p/.git/hooks", access="empty"),
        Held(path="/home/a/main/.git", access="writable"),
        Held(path="/home/a/main/.git/config", access="read-only"),
    )
    policy = _policy("read-only", root="/home/a/p", writable=("/data",))
    assert _binds(_mounts(policy, _around(repository=Repository(held=held)))) == [
        ("--bind", "/data"),
        ("--tmpfs", "/home"),
        ("--ro-bind", "/home/a/main/.git"),
        ("--ro-bind", "/home/a/p"),
        ("--tmpfs", "/run"),
        ("--tmpfs", "/tmp"),
        ("--tmpfs", "/var/tmp"),
    ]


@pytest.mark.spec("4.6-secrets-hidden")
def test_the_root_alone_may_lie_in_what_is_hidden() -> None:
    around = _around(
        home=None,
        covered=(),
        tools=(Bound(path="/state/tool", source="/state/tool"),),
        hidden=(
            Hidden(path="/state", kind="directory"),
            Hidden(path="/state/1/own", kind="directory"),
            Hidden(path="/state/2", kind="directory"),
        ),
        repository=Repository(
            held=(Held(path="/state/1/.git", access="writable"), Held(path="/state/other/.git", access="writable"))
        ),
    )
    policy = _policy(root="/state/1", writable=("/state/3", "/state/1/own/deeper"))
    assert _mounts(policy, around) == [
        *("--perms", "0111", "--tmpfs", "/state", "--bind", "/state/1", "/state/1"),
        *("--bind", "/state/1/.git", "/state/1/.git", "--perms", "0000", "--tmpfs", "/state/1/own"),
    ]


@pytest.mark.spec("4.6-secrets-hidden")
def test_what_is_hidden_is_hidden_under_its_other_names_and_wins_over_the_root() -> None:
    around = _around(
        home=None,
        tools=(Bound(path="/home/a/.nvm", source="/opt/nvm"),),
        hidden=(Hidden(path="/opt/nvm/key", kind="file"), Hidden(path="/state/t/key", kind="file")),
    )
    mounts = _mounts(_policy(tmp="/state/t"), around)
    assert {path for option, path in _binds(mounts) if option == "--ro-bind"} == {
        *("/home/a/.nvm", "/home/a/.nvm/key", "/opt/nvm/key", "/state/t/key", "/tmp/key"),
    }
    around = _around(hidden=(Hidden(path="/srv/p", kind="directory"),))
    assert ("--tmpfs", "/srv/p") in (binds := _binds(_mounts(_policy(), around)))
    assert ("--bind", "/srv/p") not in binds


@pytest.mark.parametrize(
    ("root", "home", "place"),
    [
        ("/srv/p", "/home/a", "/tmp"),
        ("/tmp/p", "/home/a", "/var/tmp"),
        ("/tmp", "/home/a", "/var/tmp"),
        ("/srv/p", "/tmp/home", "/var/tmp"),
        ("/tmp/p", "/var/tmp/home", "/state/t"),
    ],
)
def test_no_mount_point_is_made_in_the_directory_for_temporary_files(root: str, home: str, place: str) -> None:
    around = _around(home=home, covered=(*COVERED, home))
    policy = _policy(root=root, tmp="/state/t")
    argv = _argv(policy, around)
    assert argv[argv.index("TMPDIR") + 1] == place
    at = argv.index("/state/t")
    assert argv[at - 1 : at + 2] == ["--bind", "/state/t", place]
    assert not [path for _, path in _binds(_mounts(policy, around)) if path.startswith(f"{place}/")]


def test_a_mount_that_would_change_nothing_is_left_out() -> None:
    around = _around(
        tools=(Bound(path="/home/a/.nvm", source="/home/a/.nvm"),),
        hidden=(Hidden(path="/home/a/.ssh", kind="directory"), Hidden(path="/run/daemon", kind="directory")),
        repository=Repository(held=(Held(path="/srv/.git", access="read-only"),)),
    )
    policy = _policy(writable=("/srv/p/deeper",))
    assert _binds(_mounts(policy, around)) == [
        ("--tmpfs", "/home"),
        ("--ro-bind", "/home/a/.nvm"),
        ("--tmpfs", "/run"),
        ("--bind", "/srv/p"),
        ("--tmpfs", "/tmp"),
        ("--tmpfs", "/var/tmp"),
    ]


def test_what_is_missing_is_not_bound() -> None:
    policy = _policy(writable=("/gone", "/data"), tmp="/also-gone")
    mounts = _mounts(policy, _around(missing=("/gone", "/also-gone")))
    assert [path for option, path in _binds(mounts) if option == "--bind"] == ["/data", "/srv/p"]
    assert ("--tmpfs", "/tmp") in _binds(mounts)


def test_everything_as_the_root_keeps_what_is_covered() -> None:
    argv = _argv(_policy(root="/"), _around())
    assert argv[argv.index("--seccomp") + 2 :][:3] == ["--bind", "/", "/"]
    assert {("--tmpfs", "/tmp"), ("--tmpfs", "/home"), ("--tmpfs", "/run")} <= set(
        _binds(_mounts(_policy(root="/"), _around()))
    )


@pytest.mark.spec("4.6-env-allow-list")
def test_the_environment_is_the_commands_and_tmpdir() -> None:
    command = Command(argv=("env",), cwd="/", env={"TMPDIR": "/mine", "B": "2", "A": "a b"})
    argv = _argv(_policy(), _around(), command)
    at = argv.index("--clearenv")
    assert argv[at:] == [
        "--clearenv",
        *("--setenv", "A", "a b", "--setenv", "B", "2", "--setenv", "TMPDIR", "/tmp"),
    ]
