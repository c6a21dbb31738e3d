"""Where groups can be made, and what else holds a command, told from what the kernel shows."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from sandbox.cgroups import Base, Maker, own_groups, usable
from sandbox.limits import LimitsReport, report, rlimits
from sandbox.policy import Limits

MEMORY = frozenset({"memory"})
PIDS = frozenset({"pids"})
LIMITS = Limits(processes=7, memory_bytes=1000, open_files=11, file_size_bytes=13)

HYBRID = """9:name=systemd:/
8:pids:/
4:memory:/nested/one
3:cpuset:/
2:cpu,cpuacct:/
0::/
"""
HYBRID_MOUNTS = r"""31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /nested /sys/fs/cgroup/the\040memory rw,relatime shared:9 master:1 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_the_groups_of_a_process_are_found_where_they_are_mounted() -> None:
    assert own_groups(HYBRID, HYBRID_MOUNTS) == [
        Base(version=1, directory=Path("/sys/fs/cgroup/pids"), controllers=PIDS),
        Base(version=1, directory=Path("/sys/fs/cgroup/the memory/one"), controllers=MEMORY),
        Base(version=2, directory=Path("/sys/fs/cgroup/unified"), controllers=frozenset()),
    ]


def test_a_group_that_is_not_mounted_here_is_not_found() -> None:
    mounts = "1 0 0:1 /other /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"
    assert own_groups("0::/user.slice/a.scope\n", mounts) == []
    assert own_groups("0::/../elsewhere\n", mounts) == []
    assert own_groups("", "") == []


def group(directory: Path, *, controllers: str = "cpu memory pids", enabled: str = "") -> Base:
    """A directory like a group of version 2."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").touch()
    (directory / "cgroup.controllers").write_text(controllers)
    (directory / "cgroup.subtree_control").write_text(enabled)
    return Base(version=2, directory=directory, controllers=frozenset())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where groups were made on trial. A directory, unlike a group, cannot be removed with files in it."""
    places: list[Path] = []

    def rmdir(directory: Path) -> None:
        places.append(directory.parent)
        for path in directory.iterdir():
            path.unlink()
        remove(directory)

    remove = Path.rmdir
    monkeypatch.setattr(Path, "rmdir", rmdir)
    return places


def bases(maker: Maker | None) -> list[tuple[str, frozenset[str]]]:
    return [(base.directory.name, base.controllers) for base in (maker.bases if maker else ())]


def test_groups_are_made_beside_our_own_where_controllers_are_on(tmp_path: Path, made: list[Path]) -> None:
    group(tmp_path / "slice", enabled="cpu memory pids")
    own = group(tmp_path / "slice/own", controllers="memory pids")
    own.directory.joinpath("cgroup.subtree_control").unlink()  # as if it could not be written
    maker = usable([own])
    assert bases(maker) == [("slice", MEMORY | PIDS)]
    assert made == [tmp_path / "slice"]
    assert maker
    assert report(maker, is_root=True) == LimitsReport(memory="cgroup v2", processes="cgroup v2")


def test_of_version_1_is_what_version_2_lacks(tmp_path: Path, made: list[Path]) -> None:
    group(tmp_path, controllers="")
    own = group(tmp_path / "unified", controllers="hugetlb memory", enabled="memory")
    old = [group(tmp_path / name, controllers="") for name in ("memory", "pids")]
    old = [Base(version=1, directory=base.directory, controllers=frozenset({base.directory.name})) for base in old]
    maker = usable([*old, own])
    assert bases(maker) == [("unified", MEMORY), ("pids", PIDS)]
    assert report(maker, is_root=True) == LimitsReport(memory="cgroup v2", processes="cgroup v1")


def test_without_controllers_or_the_right_to_write_there_is_nobody(tmp_path: Path) -> None:
    assert usable([]) is None
    group(tmp_path, controllers="")
    assert usable([group(tmp_path / "own", controllers="cpu")]) is None
    assert usable([Base(version=1, directory=tmp_path / "missing", controllers=PIDS)]) is None


def test_what_is_written_for_a_command(tmp_path: Path) -> None:
    two = Base(version=2, directory=tmp_path / "two", controllers=MEMORY | PIDS)
    one = Base(version=1, directory=tmp_path / "one", controllers=MEMORY)
    for base in (two, one):
        base.directory.mkdir()
        Maker([base]).make("c", LIMITS)
    assert {path.name: path.read_text() for path in (tmp_path / "two/c").iterdir()} == {
        "pids.max": "7",
        "memory.max": "1000",
        "memory.oom.group": "1",
    }
    assert {path.name: path.read_text() for path in (tmp_path / "one/c").iterdir()} == {"memory.limit_in_bytes": "1000"}


def test_a_group_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    one = Base(version=1, directory=tmp_path, controllers=frozenset())
    maker = Maker([one, Base(version=1, directory=tmp_path / "missing", controllers=PIDS)])
    with pytest.raises(FileNotFoundError):
        maker.make("c", LIMITS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("version", "name"), [(1, "memory.oom_control"), (2, "memory.events")])
def test_what_ended_for_want_of_memory_is_counted(tmp_path: Path, version: int, name: str) -> None:
    base = Base(version=2 if version == 2 else 1, directory=tmp_path, controllers=MEMORY)
    made = Maker([base]).make("c", LIMITS)
    assert made.oom_kills() == 0
    (tmp_path / "c" / name).write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert made.oom_kills() == 3
    (tmp_path / "c" / name).write_text("oom_kill_disable 0\n")
    assert made.oom_kills() == 0


@pytest.mark.spec("4.6-limits")
def test_what_no_group_holds_an_rlimit_holds() -> None:
    always = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 11, resource.RLIMIT_FSIZE: 13}
    memory, pids = (Base(version=1, directory=Path("/"), controllers=each) for each in (MEMORY, PIDS))
    processes, space = {resource.RLIMIT_NPROC: 7}, {resource.RLIMIT_AS: 1000}
    assert rlimits(LIMITS, Maker([memory, pids])) == always
    assert rlimits(LIMITS, Maker([memory])) == always | processes
    assert rlimits(LIMITS, Maker([pids])) == always | space
    assert rlimits(LIMITS, None) == always | processes | space


@pytest.mark.spec("4.6-limits")
def test_the_report_says_what_holds() -> None:
    assert report(None, is_root=False) == LimitsReport(memory="rlimit (per process)", processes="rlimit (per command)")
    assert report(None, is_root=True) == LimitsReport(memory="rlimit (per process)", processes="none")
