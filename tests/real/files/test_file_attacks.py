"""Who writes in the project while the daemon does, or made it what it is, gains nothing by it (SPEC 5.1, 5.2)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Final

import pytest

from plurnk.errors import Denied, Stale, TookTooLong, TooLarge
from plurnk.files import git, walking
from plurnk.files.beneath import Root, open_root
from plurnk.files.git import Repository
from plurnk.files.reading import can_be_written, open_source, read_whole
from plurnk.files.writing import Step, apply, finish, plan, sha256, undo
from tests.support import beneath

THEIRS: Final = b"[core]\n\tbare = false\n"
EVIL: Final = b"[core]\n\tfsmonitor = evil\n"


@pytest.fixture(params=beneath.WAYS)
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Root]:
    beneath.take(request.param, monkeypatch)
    (tmp_path / "work/src").mkdir(parents=True)
    (tmp_path / "work/.git/hooks").mkdir(parents=True)
    (tmp_path / "work/.git/config").write_bytes(THEIRS)
    with open_root(str(tmp_path / "work")) as root:
        yield root


# -- the temporary files: their names are seen by a command, and what it puts there is used by nobody


def swap_for_a_link(root: Root, step: Step, content: bytes, mtime_ns: int | None = None) -> None:
    """Lay a temporary file of ``step`` into .git, which a command may do, and lead there by a link."""
    work = Path(root.path)
    laid = work / f".git/.config.plurnk-{step.token}.swap"
    laid.write_bytes(content)
    if mtime_ns is not None:
        os.utime(laid, ns=(mtime_ns, mtime_ns))
    (work / "src").rename(work / "was-src")
    (work / "src").symlink_to(".git")


@pytest.mark.spec("5.1-symlink-race", "5.2-atomic-write")
@pytest.mark.parametrize("settle", [undo, finish])
def test_what_is_undone_or_finished_is_never_gits_own(root: Root, settle: Callable[[Root, Step], None]) -> None:
    """The model edits src/config into what .git/config is; while it is undone, src becomes a link to .git."""
    work = Path(root.path)
    (work / "src/config").write_bytes(b"old")
    step = plan(root, "src/config", base=sha256(b"old"), new=sha256(THEIRS))
    apply(root, step, THEIRS)
    swap_for_a_link(root, step, EVIL)
    settle(root, step)
    assert (work / ".git/config").read_bytes() == THEIRS
    assert (work / f".git/.config.plurnk-{step.token}.swap").read_bytes() == EVIL


@pytest.mark.spec("5.1-symlink-race", "5.2-atomic-write")
def test_what_git_has_is_not_taken_away_for_a_file_that_was_made(root: Root) -> None:
    work = Path(root.path)
    step = plan(root, "src/config", base=None, new=sha256(THEIRS))
    apply(root, step, THEIRS)
    swap_for_a_link(root, step, b"", mtime_ns=(work / ".git/config").stat().st_mtime_ns)
    undo(root, step)
    assert (work / ".git/config").read_bytes() == THEIRS


def test_a_file_that_was_swapped_for_a_hole_of_a_terabyte_is_not_read(root: Root) -> None:
    """It would take an hour, with nobody who could end it."""
    work = Path(root.path)
    (work / "f").write_bytes(b"old")
    step = plan(root, "f", base=sha256(b"old"), new=sha256(b"new"))
    os.truncate(work / "f", 1 << 40)
    with pytest.raises(Stale):
        apply(root, step, b"new")
    assert (work / "f").stat().st_size == 1 << 40
    assert sorted(path.name for path in work.iterdir()) == [".git", "f", "src"]


# -- the names that file systems take for .git


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize(
    "name",
    [
        ".git",
        ".GIT",
        ".git.",
        ".git ",
        ".g\u200cit",
        "\ufeff.git",
        ".gi\u034ft",
        "\uff0egit",
        "GIT~1",
        "git~2",
        ".git:$I",
    ],
)
@pytest.mark.parametrize("path", ["{}", "{}/hooks/post-commit", "sub/{}/config"])
def test_nothing_is_written_in_what_could_be_dot_git(root: Root, path: str, name: str) -> None:
    with pytest.raises(Denied, match=r"\.git"), root.place(path.format(name), make=True):
        pass
    assert not (Path(root.path) / "sub").exists()


@pytest.mark.parametrize("name", [".github", ".gitignore", "git", "x.git", ".gitmodules", "git~", "agit~1", ".git~"])
def test_what_only_looks_like_it_is_written(root: Root, name: str) -> None:
    with root.place(f"{name}/x", make=True) as place:
        assert place.path == f"{name}/x"


def test_dot_git_by_another_name_is_still_dot_git(root: Root) -> None:
    """As by the short name on some disks; a hard link of a .git file is what can be made everywhere."""
    work = Path(root.path)
    (work / "tree").mkdir()
    (work / "tree/.git").write_text("gitdir: ../elsewhere\n")
    (work / "tree/other").hardlink_to(work / "tree/.git")
    with pytest.raises(Denied, match=r"\.git"), root.place("tree/other"):
        pass


def test_a_root_in_dot_git_is_not_written(tmp_path: Path) -> None:
    """A project may be a folder in another one, whose commands can make a link of it."""
    (tmp_path / "p/.git/hooks").mkdir(parents=True)
    (tmp_path / "p/sub").symlink_to(".git")
    with open_root(str(tmp_path / "p/sub")) as root:
        with pytest.raises(Denied), root.place("config"):
            pass
        with pytest.raises(Denied), root.place("hooks/post-commit"):
            pass


# -- the daemon's own files


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize("way", beneath.WAYS)
def test_a_hidden_file_is_hidden_by_every_name(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a hard link here; by a folded name or a mount elsewhere."""
    beneath.take(way, monkeypatch)
    (tmp_path / "plurnk.db").write_text("secret")
    (tmp_path / "other").hardlink_to(tmp_path / "plurnk.db")
    (tmp_path / "link").symlink_to("other")
    with open_root(str(tmp_path), [str(tmp_path / "plurnk.db")]) as root:
        for name in ("plurnk.db", "other", "link"):
            with pytest.raises(Denied):
                root.open(name)
            with pytest.raises(Denied), root.place(name):
                pass
        with root.place("not-there-yet"):
            pass


# -- what is huge, or changes while it is looked at


def test_the_lines_of_a_terabyte_are_not_counted(root: Root) -> None:
    (Path(root.path) / "huge.py").touch()
    os.truncate(Path(root.path) / "huge.py", 1 << 40)
    with open_source(root, "huge.py", "text/x-python") as source:
        assert source.read(10) == bytes(10)
        with pytest.raises(TooLarge, match="too many to be read by lines"):
            source.read_lines(1, 1, 100)


def test_what_was_read_is_told_with_where_it_was(root: Root) -> None:
    """While a link goes to and fro, no content is told under the other's path."""
    work = Path(root.path)
    for name in ("a", "b"):
        (work / name).mkdir()
        (work / name / "f").write_text(name)
    is_over = threading.Event()

    def swap() -> None:
        for number in islice(product("ab", repeat=9), 10**9):
            if is_over.is_set():
                return
            (work / "new").symlink_to(number[-1])
            (work / "new").replace(work / "link")

    (work / "link").symlink_to("a")
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(2000):
            found = read_whole(root, "link/f", 10)
            assert found.path == f"{found.data.decode()}/f"
    finally:
        is_over.set()
        swapper.join()


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u2028", "\u2029", "\x1b", "\n", "\x85"])
def test_no_name_is_shown_as_another(sign: str) -> None:
    assert not can_be_written(f"invoice{sign}gpj.sh")


# -- programs


def test_no_git_is_taken_from_the_project(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH may have a "." in it, or an empty part, which means the same."""
    evil = Path(root.path) / "git"
    evil.write_text("#!/bin/sh\ntouch ran\n")
    evil.chmod(0o755)
    monkeypatch.setenv("PATH", ".")
    monkeypatch.chdir(root.path)
    assert git.ignored(Repository(directory=root.path, exclude=b""), "") is None
    assert not (Path(root.path) / "ran").exists()


async def test_a_walk_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 patterns that are held against each of 200,000 names take minutes."""
    (tmp_path / "f").touch()
    monkeypatch.setattr(walking, "LIMIT_S", -1)
    with pytest.raises(TookTooLong):
        await walking.walk(str(tmp_path))
