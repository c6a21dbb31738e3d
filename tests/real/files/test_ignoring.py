"""FIND passes over what git ignores, asks git where there is one, and trusts no repository (SPEC 5.1)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from plurnk.files import git as asking
from plurnk.files import ignoring
from plurnk.files.walking import walk
from sandbox import proc
from tests.support.repositories import fill, git, plain_git, repository

PATIENCE_S: Final = 30.0

FILES: Final = {
    ".gitignore": "*.log\nbuild/\n/top\n!keep.log\ndocs/*.tmp\n",
    "a.log": "",
    "keep.log": "",
    "src/b.log": "",
    "src/top": "",
    "top": "",
    "build/x": "",
    "src/build/keep.log": "",
    "docs/a.tmp": "",
    "docs/sub/a.tmp": "",
    "sub/.gitignore": "!*.log\n/deep/\nkeep.log\n",
    "sub/c.log": "",
    "sub/keep.log": "",
    "sub/deep/x": "",
    "sub/er/deep/x": "",
}
FOUND: Final = [
    *(".gitignore", "docs/sub/a.tmp", "keep.log", "src/top"),
    *("sub/.gitignore", "sub/c.log", "sub/er/deep/x"),
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    with plain_git(tmp_path / "home"):
        yield tmp_path / "home"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where git's answers go: nothing may be left there."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield tmp_path / "temporary"
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.fixture(params=["git", "no git"])
def with_git(request: pytest.FixtureRequest) -> bool:
    """Whether there is one to be asked."""
    return bool(request.param == "git")


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    return tmp_path / "ws"


async def paths(root: Path, prefix: str = "", *, with_git: bool = True) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        if not with_git:
            patch.setenv("PATH", "/nothing/here")
        with trio.fail_after(PATIENCE_S):
            return list((await walk(str(root), prefix)).paths)


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_what_is_ignored_is_not_found(ws: Path, *, with_git: bool) -> None:
    repository(ws, FILES)
    assert await paths(ws, with_git=with_git) == FOUND
    assert await paths(ws, "su", with_git=with_git) == [path for path in FOUND if path.startswith("sub/")]
    for prefix in (
        "sub/",
        "sub/er",
        "sub/er/deep/x",
        "docs/sub/",
        "build/",
        "sub/deep/x",
        "nothing/",
        ":/x",
        "a\0/b",
        "../",
    ):
        found = await paths(ws, prefix, with_git=with_git)
        assert found == [path for path in FOUND if path.startswith(prefix)], prefix


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_outside_of_a_repository_the_files_say_what_is_ignored(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws, FILES)
    (ws / ".git").mkdir()  # which makes no repository
    monkeypatch.setattr(ignoring, "ignored", None)  # who calls it raises
    assert await paths(ws) == FOUND


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_what_is_tracked_is_found_whatever_the_patterns_say(ws: Path) -> None:
    repository(ws, FILES | {"build/y": ""})
    git(ws, "add", "--force", "build/x", "a.log")
    assert await paths(ws) == sorted([*FOUND, "build/x", "a.log"])
    assert await paths(ws, "build/") == ["build/x"]
    assert await paths(ws / "build") == ["x"]


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_the_root_may_be_a_folder_of_a_repository(ws: Path, *, with_git: bool) -> None:
    repository(ws, FILES)
    for folder in ("sub", "docs", "src", "sub/er"):
        expected = [path.removeprefix(f"{folder}/") for path in FOUND if path.startswith(f"{folder}/")]
        assert await paths(ws / folder, with_git=with_git) == expected
    assert await paths(ws / "sub", "er/de", with_git=with_git) == ["er/deep/x"]
    (ws.parent / "link").symlink_to("ws/sub")
    assert await paths(ws.parent / "link", with_git=with_git) == [".gitignore", "c.log", "er/deep/x"]


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_a_root_that_a_repository_ignores_has_rules_of_its_own(ws: Path, *, with_git: bool) -> None:
    """As when a home directory is a repository that ignores everything."""
    repository(ws, {".gitignore": "*\n", "a/b/.gitignore": "c\n", "a/b/c": "", "a/b/d": "", "a/b/e/f": ""})
    assert await paths(ws, with_git=with_git) == []
    assert await paths(ws / "a/b", with_git=with_git) == [".gitignore", "d", "e/f"]
    assert await paths(ws / "a/b", "e/", with_git=with_git) == ["e/f"]
    assert await paths(ws / "a", with_git=with_git) == ["b/.gitignore", "b/d", "b/e/f"]


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_a_root_of_which_all_is_ignored_but_not_itself(ws: Path, *, with_git: bool) -> None:
    repository(ws, {".gitignore": "*.o\n", "lib/a.o": "", "lib/sub/b.o": ""})
    assert await paths(ws / "lib", with_git=with_git) == []
    assert await paths(ws / "lib", "sub/", with_git=with_git) == []


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_info_exclude_counts_and_the_users_own_patterns_where_git_is_asked(
    ws: Path, home: Path, *, with_git: bool
) -> None:
    repository(ws, {".gitignore": "!b\n", "a": "", "b": "", "c": ""})
    fill(ws, {".git/info/exclude": "a\nb\n"})
    fill(home, {".config/git/ignore": "c\n"})
    assert await paths(ws, with_git=with_git) == [".gitignore", "b", *([] if with_git else ["c"])]


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_a_repository_in_another_has_its_own_rules(ws: Path, *, with_git: bool) -> None:
    repository(ws, {".gitignore": "*.log\n/ignored/\n", "a.log": ""})
    inner = {".gitignore": "*.tmp\n", "a.log": "", "a.tmp": "", "b": "", "d/c.tmp": "", "d/e": ""}
    repository(ws / "d/inner", inner)
    repository(ws / "ignored/inner", inner)
    nested = ["d/inner/.gitignore", "d/inner/a.log", "d/inner/b", "d/inner/d/e"]
    assert await paths(ws, with_git=with_git) == [".gitignore", *nested]
    assert await paths(ws, "d/inner/d", with_git=with_git) == ["d/inner/d/e"]
    assert await paths(ws / "d", with_git=with_git) == [path.removeprefix("d/") for path in nested]


@pytest.mark.spec("5.1-find-honours-gitignore")
async def test_submodules_and_linked_working_trees_are_repositories(
    ws: Path, tmp_path: Path, *, with_git: bool
) -> None:
    library = repository(tmp_path / "library", {".gitignore": "*.o\n", "a.c": ""})
    git(library, "add", ".")
    git(library, "commit", "--quiet", "--message", "first")
    repository(ws, {".gitignore": "*.log\n"})
    git(ws, "submodule", "--quiet", "add", str(library), "vendor/library")
    module = ws / "vendor/library"
    fill(module, {"a.o": "", "b.o": "", "a.log": "", "c": ""})
    git(module, "add", "--force", "b.o")
    fill(ws / ".git/modules/vendor/library", {"info/exclude": "c\n"})
    tracked = ["b.o"] if with_git else []
    found = [".gitignore", "a.c", "a.log", *tracked]
    everywhere = [".gitignore", ".gitmodules", *(f"vendor/library/{path}" for path in found)]
    assert await paths(ws, with_git=with_git) == everywhere
    assert await paths(ws, "vendor/library/a", with_git=with_git) == ["vendor/library/a.c", "vendor/library/a.log"]
    assert await paths(module, with_git=with_git) == found
    git(library, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    fill(tmp_path / "linked", {"x.o": "", "t.o": "", "c": ""})
    fill(library / ".git", {"info/exclude": "c\n"})
    git(tmp_path / "linked", "add", "--force", "t.o")
    tracked = ["t.o"] if with_git else []
    assert await paths(tmp_path / "linked", with_git=with_git) == [".gitignore", "a.c", *tracked]


async def test_names_that_are_not_utf8_may_be_ignored_too(ws: Path, *, with_git: bool) -> None:
    repository(ws, {"a": ""})
    for name in (b"\xff.log", b"\xfe", b"folder\xff/x"):
        path = ws / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (ws / ".gitignore").write_bytes(b"*.log\nfolder\xff/\n")
    with pytest.MonkeyPatch.context() as patch:
        if not with_git:
            patch.setenv("PATH", "/nothing/here")
        found = await walk(str(ws))
    assert (found.paths, found.unnamed) == ((".gitignore", "a"), 1)


@pytest.mark.parametrize(
    "content", [b"[\n\\\n[[:no:]]\n**[\na\n", b"\xef\xbb\xbfa\r\n", b"\0\0\na\n", b"a\n" + b"# \n" * 10, b"x\\ \na"]
)
async def test_no_gitignore_breaks_a_walk(ws: Path, content: bytes, *, with_git: bool) -> None:
    repository(ws, {"a": "", "b": ""})
    (ws / ".gitignore").write_bytes(content)
    assert await paths(ws, with_git=with_git) == [".gitignore", "b"]


async def test_a_gitignore_that_is_no_file_or_has_no_end_is_none(
    ws: Path, monkeypatch: pytest.MonkeyPatch, *, with_git: bool
) -> None:
    monkeypatch.setattr(asking, "_LIMIT_S", 0.5)  # git waits for the pipe
    repository(ws, {"secret": "a\n", "a": "", "pipe/a": "", "link/a": "", "folder/.gitignore/a": "", "huge/a": ""})
    os.mkfifo(ws / "pipe/.gitignore")
    (ws / "link/.gitignore").symlink_to("../secret")
    with (ws / "huge/.gitignore").open("wb") as huge:
        huge.truncate(1 << 40)
    assert await paths(ws, with_git=with_git) == [
        *("a", "folder/.gitignore/a", "huge/.gitignore", "huge/a", "link/.gitignore", "link/a", "pipe/a", "secret"),
    ]


def hostile(ws: Path, marker: Path) -> Path:
    """A repository whose configuration runs programs and looks elsewhere wherever it can."""
    repository(ws, {".gitignore": "*.o\n", "a": "", "a.o": "", "tracked.o": "", "run": f"#!/bin/sh\ntouch {marker}\n"})
    git(ws, "add", "--force", "tracked.o")
    (ws / "run").chmod(0o755)
    for hook in ("post-index-change", "fsmonitor-watchman"):
        fill(ws, {f".git/hooks/{hook}": f"#!/bin/sh\ntouch {marker}\n"})
        (ws / ".git/hooks" / hook).chmod(0o755)
    git(ws, "config", "core.fsmonitor", str(ws / "run"))
    return ws


async def test_a_repository_cannot_run_programs(ws: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile(ws, marker)
    git(ws, "config", "core.pager", str(ws / "run"))
    git(ws, "config", "filter.run.clean", str(ws / "run"))
    fill(ws, {".gitattributes": "* filter=run\n"})
    git(ws, "ls-files", "--others", "--ignored", "--exclude-standard")
    assert marker.exists(), "nothing to be seen: git itself has not run it"
    marker.unlink()
    assert await paths(ws) == [".gitattributes", ".gitignore", "a", "run", "tracked.o"]
    assert not marker.exists()


async def test_a_repository_cannot_make_git_look_elsewhere(ws: Path, tmp_path: Path) -> None:
    fill(
        tmp_path / "out", {"a": "", "rules": "a\n", ".gitignore": "run\n", "included": "[core]\nexcludesFile = rules\n"}
    )
    hostile(ws, tmp_path / "marker")
    os.mkfifo(tmp_path / "out/pipe")
    expected = [".gitignore", "a", "run", "tracked.o"]
    for name, value in (
        ("core.worktree", tmp_path / "out"),
        ("core.excludesFile", tmp_path / "out/rules"),
        ("include.path", tmp_path / "out/included"),
        ("core.excludesFile", tmp_path / "out/pipe"),
        ("include.path", tmp_path / "out/pipe"),
    ):
        (ws / ".git/config").write_text("[core]\nrepositoryformatversion = 0\nbare = false\n")
        git(ws, "config", name, str(value))
        assert await paths(ws) == expected, name
    (ws / ".git/info/exclude").unlink()
    (ws / ".git/info/exclude").symlink_to(tmp_path / "out/rules")
    assert await paths(ws) == expected


async def test_variables_of_the_daemon_do_not_reach_git(ws: Path, tmp_path: Path) -> None:
    other = repository(tmp_path / "other", {".gitignore": "a\n"})
    repository(ws, {".gitignore": "*.o\n", "a": "", "a.o": "", "tracked.o": ""})
    git(ws, "add", "--force", "tracked.o")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DIR", str(other / ".git"))
        patch.setenv("GIT_WORK_TREE", str(other))
        patch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
        patch.setenv("GIT_CONFIG_COUNT", "1")
        patch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
        patch.setenv("GIT_CONFIG_VALUE_0", str(other / ".gitignore"))
        assert await paths(ws) == [".gitignore", "a", "tracked.o"]


async def test_somebody_elses_repository_is_read_like_ours(ws: Path) -> None:
    repository(ws, {".gitignore": "*.o\n", "a.o": "", "tracked.o": ""})
    git(ws, "add", "--force", "tracked.o")
    if os.geteuid() == 0:
        git_dir = ws / ".git"
        for path in (ws, git_dir, git_dir / "config", git_dir / "index", ws / ".gitignore"):
            os.chown(path, 12345, 12345)
    assert await paths(ws) == [".gitignore", "tracked.o"]


@pytest.mark.parametrize(
    "git_file",
    ["", "gitdir: ", "gitdir: nothing", "gitdir: a\0b", "gitdir: ..", "gitdir: .git", "gitdir: " + "x" * 9000],
)
async def test_a_git_file_that_leads_nowhere_makes_no_repository(ws: Path, git_file: str) -> None:
    repository(ws, {".gitignore": "*.o\n", "d/.git": git_file, "d/a": "", "d/a.o": ""})
    assert await paths(ws) == [".gitignore", "d/a"]
    assert await paths(ws / "d") == ["a"]
    (ws / "d/.git").unlink()
    (ws / "d/.git").symlink_to("x" * 300)  # which is an error to look at
    assert await paths(ws) == [".gitignore", "d/a"]


async def test_where_git_fails_the_patterns_say_it(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(ws, FILES)
    (ws / ".git/index").write_bytes(b"DIRC broken")
    assert await paths(ws) == FOUND
    (ws / ".git/index").unlink()
    monkeypatch.setattr(asking, "_LIMITS", "exit 1")
    assert await paths(ws) == FOUND


async def test_git_has_bounds_for_memory_and_answer(ws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(ws, FILES)
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\nulimit -v > {tmp_path}/memory\nexec cat /dev/zero\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert await paths(ws) == FOUND
    assert (tmp_path / "memory").read_text() == "4194304\n"


async def test_a_git_that_hangs_is_ended(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(ws, FILES)
    os.mkfifo(ws / ".git/index")
    monkeypatch.setattr(asking, "_LIMIT_S", 0.2)
    assert await paths(ws) == FOUND
    assert not running_in(ws)


async def test_cancelling_ends_git_too(ws: Path, temporary: Path) -> None:
    repository(ws, FILES)
    os.mkfifo(ws / ".git/index")
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(walk, str(ws))
            while not running_in(ws):  # noqa: ASYNC110 – nothing else tells
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
    assert not running_in(ws)


def running_in(directory: Path) -> list[int]:
    """Processes with this current directory."""
    found: list[int] = []
    for pid in proc.pids():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").readlink() == directory:
                found.append(pid)
    return found
