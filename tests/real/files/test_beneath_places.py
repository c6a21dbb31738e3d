"""What is refused though it is beneath the root, directories made on the way, and steps between which others act."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from plurnk.errors import Denied, NotFound, PlurnkError
from plurnk.files import openat2
from plurnk.files.beneath import Root, open_root
from plurnk.files.descent import Descent
from tests.support import beneath

HIDDEN: Final = "403 this path belongs to plurnk itself"
GITS: Final = "403 what is in .git is written by git alone"


@pytest.fixture(params=beneath.WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    beneath.take(request.param, monkeypatch)
    return str(request.param)


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    ws = tmp_path / "ws"
    (ws / "d/e").mkdir(parents=True)
    (ws / "d/e/f").write_text("inside")
    (tmp_path / "out/e").mkdir(parents=True)
    (tmp_path / "out/e/f").write_text("outside")
    return ws


@pytest.fixture
def root(ws: Path) -> Iterator[Root]:
    with open_root(str(ws)) as root:
        yield root


def refused(ask: Callable[[], object]) -> str:
    try:
        ask()
    except PlurnkError as error:
        return f"{error.status} {error.detail}"
    return "done"


def opened(root: Root, path: str) -> str:
    return refused(lambda: os.close(root.open(path)))


def placed(root: Root, path: str, *, make: bool = False) -> str:
    def ask() -> None:
        with root.place(path, make=make):
            pass

    return refused(ask)


@pytest.mark.parametrize("way_to_it", ["", "link/", "{real}", "d/up/"])
def test_what_is_hidden_is_refused_by_every_way_there_or_not(ws: Path, way_to_it: str) -> None:
    (ws / "state").mkdir()
    for name in ("state/db", "token", "state-2", "token2"):
        (ws / name).write_text("x")
    (ws / "link").symlink_to(".")
    (ws / "d/up").symlink_to("..")
    (ws / "to-token").symlink_to("d/../token")
    (ws.parent / "by").symlink_to("ws")
    hidden = [str(ws.parent / "by" / name) for name in ("state", "token", "socket")]
    with open_root(str(ws), hidden) as root:
        start = way_to_it.format(real=f"{ws}/")
        for name in ("state", "state/db", "state/db-wal", "state/new/f", "token", "to-token", "socket"):
            path = start + name
            said = [opened(root, path), placed(root, path), placed(root, path, make=True)]
            assert said == [HIDDEN] * 3, path
        for name in ("state-2", "token2", "d"):
            assert opened(root, start + name) == placed(root, start + name) == "done"
        assert not (ws / "state/new").exists()


def test_the_root_itself_may_be_hidden(ws: Path) -> None:
    with open_root(str(ws), [str(ws.parent)]) as root:
        assert opened(root, "") == opened(root, "d") == placed(root, "new") == HIDDEN


def test_what_is_hidden_beneath_the_root_of_all() -> None:
    with open_root("/", ["/not-there-at-all"]) as root:
        assert opened(root, "/not-there-at-all") == placed(root, "not-there-at-all/f") == HIDDEN


def test_what_was_deleted_since_it_was_found_is_hidden_still(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ws / "token").write_text("x")
    find = Root._pin

    def found_and_deleted(root: Root, path: str) -> int:
        fd = find(root, path)
        (ws / path).unlink()
        return fd

    def admit_all(_root: Root, _directory: int, _name: str) -> None:
        pass

    with open_root(str(ws), [str(ws / "token")]) as root:
        monkeypatch.setattr(Root, "_pin", found_and_deleted)
        monkeypatch.setattr(Root, "_admit", admit_all)
        assert opened(root, "token") == HIDDEN


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize("git", [".git", ".GIT", ".Git", ".git.", ".git ", ".git. .", ".giT..."])
@pytest.mark.parametrize("folder", ["", "d/", "new/er/"])
def test_what_is_gits_own_is_read_and_not_written(root: Root, ws: Path, git: str, folder: str) -> None:
    path = f"{folder}{git}"
    for name in (path, f"{path}/config", f"{path}/hooks/new"):  # not there
        assert [placed(root, name), placed(root, name, make=True)][1] == GITS
    assert not (ws / "new").exists()
    (ws / path / "hooks").mkdir(parents=True)
    (ws / path / "config").write_text("x")
    (ws / "config").symlink_to(f"{path}/config")
    (ws / "hooks").symlink_to(ws / path / "hooks")
    (ws / "d/e/other").symlink_to(f"../../{path}/new")
    for name in (path, f"{path}/config", f"{path}/new", "config", "hooks/pre-commit", "d/e/other"):
        assert [placed(root, name), placed(root, name, make=True)] == [GITS] * 2, name
    assert opened(root, f"{path}/config") == opened(root, "config") == "done"


def test_names_that_begin_like_git_are_anyones(root: Root) -> None:
    for path in (".gitignore", ".github/x", ".git2", "a.git", "d/git", ".git/../x"):
        assert placed(root, path, make=True) == "done"


def test_missing_directories_are_made_and_taken_away_again(root: Root, ws: Path) -> None:
    (ws / "link").symlink_to("d/e/new")
    before = os.umask(0o027)
    try:
        with root.place("link/x/f", make=True) as place:
            assert (place.path, place.name) == ("d/e/new/x/f", "f")
            assert place.made == ("d/e/new", "d/e/new/x")
    finally:
        os.umask(before)
    assert (ws / "d/e/new/x").stat().st_mode & 0o7777 == 0o750
    (ws / "d/e/new/other").write_text("of someone else")
    root.unmake(place.made)
    assert [path.name for path in (ws / "d/e/new").iterdir()] == ["other"]
    (ws / "d/e/new/other").unlink()
    root.unmake(place.made)
    assert not (ws / "d/e/new").exists()
    root.unmake(place.made)  # again, and nothing is there


def test_a_directory_that_is_a_link_by_now_is_not_taken_away(root: Root, ws: Path) -> None:
    (ws / "made").symlink_to("empty")
    (ws / "empty").mkdir()
    root.unmake(["made"])
    assert (ws / "empty").is_dir()


def test_a_write_that_fails_leaves_no_directory(root: Root, ws: Path) -> None:
    with pytest.raises(FileNotFoundError), root.place("a/b/f", make=True) as place:
        os.unlink(place.name, dir_fd=place.dir_fd)
    assert not (ws / "a").exists()


@pytest.mark.parametrize("target", ["../../out", "../..", "../../../out/e"])
def test_a_refusal_half_way_leaves_no_directory(root: Root, ws: Path, target: str) -> None:
    (ws / "d/l").symlink_to(f"new/../{target}")
    assert placed(root, "d/l/f", make=True) == "403 path escapes the workspace"
    assert not (ws / "d/new").exists()


def test_a_directory_that_another_made_first_is_taken_and_stays(
    root: Root, ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def slow_mkdir(name: str, *, dir_fd: int) -> None:
        make(name, dir_fd=dir_fd)
        make(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", slow_mkdir)
    with root.place("a/b/f", make=True) as place:
        assert (place.path, place.made) == ("a/b/f", ())
    assert (ws / "a/b").is_dir()


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EACCES, 403), (errno.EROFS, 403)])
def test_a_directory_that_cannot_be_made(
    root: Root, ws: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    make = os.mkdir

    def mkdir(name: str, *, dir_fd: int) -> None:
        if name == "b":
            raise OSError(number, os.strerror(number))
        make(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert placed(root, "a/b/f", make=True)[:3] == str(status)
    assert not (ws / "a").exists()


# Others act between two steps: at each look-up in turn, a name on the way is swapped.


def _way(root: Root, act: Callable[[], object], at: int) -> Descent:
    """A way down on which ``act`` is done before look-up number ``at``."""
    looks = iter(range(1000))

    def admit(_directory: int, _name: str) -> None:
        if next(looks) == at:
            act()

    return Descent(root.fd, roots=(root.path,), admit=admit)


@pytest.mark.spec("5.1-symlink-race")
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("swapped", ["d", "d/e", "d/e/f"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_name_swapped_for_a_link_at_any_step_leads_nowhere_else(
    root: Root, ws: Path, swapped: str, at: int, *, absolute: bool
) -> None:
    def swap() -> None:
        (ws / swapped).rename(ws / "away")
        up = f"{ws.parent}/" if absolute else "../" * (swapped.count("/") + 1)
        (ws / swapped).symlink_to(up + swapped.replace("d", "out", 1))

    with _way(root, swap, at) as way:
        if at <= swapped.count("/"):
            with pytest.raises(Denied):
                way.go("d/e/f")
        else:  # it was held before
            way.go("d/e/f")
            fd = way.take()
            assert Path(f"/proc/self/fd/{fd}").read_text() == "inside"
            os.close(fd)


@pytest.mark.spec("5.1-symlink-race")
def test_up_from_a_directory_that_was_moved_out_is_where_the_way_came_from(root: Root, ws: Path) -> None:
    """The kernel's ``..`` would be the folder outside."""
    (ws / "d/e/up").symlink_to("../f")
    (ws / "d/f").write_text("inside")
    (ws.parent / "out/f").write_text("outside")
    with _way(root, lambda: (ws / "d/e").rename(ws.parent / "out/moved"), 2) as way:
        way.go("d/e/up")
        assert way.names == ["d", "f"]
        with os.fdopen(os.open("f", os.O_RDONLY, dir_fd=way.directory)) as file:
            assert file.read() == "inside"


def test_a_directory_that_goes_again_is_not_there(root: Root, ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made_and_gone(name: str, *, dir_fd: int) -> None:
        raise FileExistsError

    monkeypatch.setattr(os, "mkdir", made_and_gone)
    with pytest.raises(NotFound), root.place("a/f", make=True):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_kernel_without_openat2_is_asked_once(
    root: Root, monkeypatch: pytest.MonkeyPatch, number: int, way: str
) -> None:
    if way == "walk":
        return
    asked: list[str] = []

    def pin(_directory: int, path: str, _resolve: int) -> int:
        asked.append(path)
        raise OSError(number, "")

    monkeypatch.setattr(openat2, "_pin", pin)
    openat2.supported.cache_clear()
    try:
        assert [opened(root, "d/e/f"), opened(root, "d")] == ["done"] * 2
        assert asked == ["/"]
    finally:
        openat2.supported.cache_clear()


def test_renames_elsewhere_are_waited_for_and_not_for_ever(
    root: Root, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "walk":
        return
    pin, tries, busy_for = openat2._pin, iter(range(100)), 5

    def busy(directory: int, path: str, resolve: int) -> int:
        if next(tries) < busy_for:
            raise BlockingIOError(errno.EAGAIN, "")
        return pin(directory, path, resolve)

    monkeypatch.setattr(openat2, "_pin", busy)
    os.close(openat2.pin_beneath(root.fd, "d/e/f"))
    assert next(tries) == busy_for + 1
    busy_for = 100
    assert opened(root, "d/e/f") == "done"
    assert next(tries) < 20
