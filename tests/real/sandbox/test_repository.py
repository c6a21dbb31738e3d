"""What is held of repositories that git itself has made, and of such as somebody has tampered with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from sandbox import repository
from sandbox.repository import Held, Repository

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs: git")

ENV: Final = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def _git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, env=ENV, check=True, capture_output=True)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository with a commit."""
    top = (tmp_path / "top").resolve()
    top.mkdir()
    _git(top, "init", "-q")
    (top / ".git" / "hooks").mkdir(exist_ok=True)
    _git(top, "commit", "-q", "--allow-empty", "-m", "first")
    return top


def _found(top: Path) -> dict[str, str]:
    """What is held, by its path from ``top``."""
    return {os.path.relpath(held.path, top): held.access for held in repository.look(str(top)).held}


USUAL: Final = {".git": "writable", ".git/config": "read-only", ".git/hooks": "read-only"}
WHOLE: Final = {".git": "read-only"}


def test_the_usual_one(top: Path) -> None:
    assert _found(top) == USUAL
    assert repository.look(str(top)).absent == (f"{top}/.git/commondir",)


def test_none_or_one_that_is_empty_is_left_to_be_made(tmp_path: Path) -> None:
    assert repository.look(str(tmp_path)) == repository.NONE
    (tmp_path / ".git").mkdir()
    assert repository.look(str(tmp_path)).held == (Held(path=f"{tmp_path}/.git", access="writable"),)


def test_hooks_that_are_not_there_are_held_empty(top: Path) -> None:
    shutil.rmtree(top / ".git" / "hooks")
    assert _found(top) == {**USUAL, ".git/hooks": "empty"}


@pytest.mark.parametrize(
    "script",
    [
        "rm config",
        "mv config c && ln -s c config",
        "rm -r hooks && ln -s /tmp hooks",
        "rm -r hooks && touch hooks",
        "echo .. > commondir",
        "printf '[Extensions]\\n\\tWorktreeConfig\\n' >> config",
        "echo '[extensions] worktreeConfig = \"yes\"' >> config",
    ],
    ids=["no-config", "linked-config", "linked-hooks", "odd-hooks", "redirected", "worktree-config", "on-one-line"],
)
@pytest.mark.spec("4.6-git-hooks-protected")
def test_what_cannot_be_held_piece_by_piece_is_read_only(top: Path, script: str) -> None:
    subprocess.run(["/bin/sh", "-c", script], cwd=top / ".git", check=True)
    assert _found(top) == WHOLE


@pytest.mark.spec("4.6-git-hooks-protected")
def test_what_a_command_took_away_does_not_hide_the_rest(top: Path) -> None:
    (top / ".git" / "HEAD").unlink()
    shutil.rmtree(top / ".git" / "refs")
    assert _found(top) == USUAL


def test_configuration_of_worktrees_is_held_where_it_is(top: Path) -> None:
    _git(top, "config", "extensions.worktreeConfig", "true")
    (top / ".git" / "config.worktree").write_text("")
    assert _found(top) == {**USUAL, ".git/config.worktree": "read-only"}


def test_a_bare_one(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "--bare")
    (tmp_path / "hooks").mkdir(exist_ok=True)
    assert _found(tmp_path) == {"config": "read-only", "hooks": "read-only"}


def test_a_linked_one_is_held_if_it_is_within(top: Path) -> None:
    (top / ".git").rename(top / "git")
    (top / ".git").symlink_to("git")
    assert _found(top) == {"git": "writable", "git/config": "read-only", "git/hooks": "read-only"}
    (top / ".git").unlink()
    (top / ".git").symlink_to("/")
    assert _found(top) == {}


@pytest.mark.spec("4.6-git-hooks-protected")
def test_linked_worktrees_seen_from_both_ends(top: Path) -> None:
    _git(top, "worktree", "add", "-q", "../side")
    of_it = {
        ".git/worktrees": "writable",
        ".git/worktrees/side": "writable",
        ".git/worktrees/side/commondir": "read-only",
        ".git/worktrees/side/gitdir": "read-only",
    }
    assert _found(top) == {**USUAL, **of_it}
    side = top.parent / "side"
    seen = {f"../top/{path}": access for path, access in (USUAL | of_it).items()}
    assert _found(side) == {".git": "read-only", **seen}
    below = side / "below"
    below.mkdir()
    assert repository.look_above(str(below), None).held == (
        Held(path=f"{side}/.git", access="read-only"),
        Held(path=f"{top}/.git", access="read-only"),
    )


@pytest.mark.spec("4.6-git-hooks-protected")
def test_a_worktree_that_its_repository_does_not_know_gets_nothing(top: Path) -> None:
    _git(top, "worktree", "add", "-q", "../side")
    other = top.parent / "other"
    other.mkdir()
    shutil.copy(top.parent / "side" / ".git", other / ".git")
    assert _found(other) == {".git": "read-only"}
    for text in ("", "gitdir:", "gitdir: /", "gitdir: ../top/.git", "gitdir: \0", "nonsense"):
        (other / ".git").write_text(text)
        assert _found(other) == {".git": "read-only"}
    (other / ".git").unlink()
    os.mkfifo(other / ".git")
    assert _found(other) == {}


@pytest.mark.spec("4.6-git-hooks-protected")
def test_submodules(top: Path) -> None:
    module = top.parent / "module"
    module.mkdir()
    _git(module, "init", "-q")
    _git(module, "commit", "-q", "--allow-empty", "-m", "first")
    _git(top, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(module), "a/b")
    (top / ".git" / "modules" / "a" / "b" / "hooks").mkdir(exist_ok=True)
    own = {f".git/modules/a/b{path.removeprefix('.git')}": access for path, access in USUAL.items()}
    assert _found(top) == {**USUAL, ".git/modules": "writable", ".git/modules/a": "writable", **own}
    assert f"{top}/.git/modules/a/b/commondir" in repository.look(str(top)).absent
    # With the submodule as the root its git directory is found because that names it, too.
    inside = {f"../../{path}": access for path, access in own.items()}
    assert _found(top / "a" / "b") == {".git": "read-only", **inside}
    (top / ".git" / "modules" / "c").symlink_to("a")
    assert _found(top) == {**USUAL, ".git/modules": "read-only"}


def test_room_for_submodules_and_worktrees_is_no_reason_to_forbid_them(top: Path) -> None:
    for name in ("modules", "worktrees"):
        (top / ".git" / name).mkdir()
    assert _found(top) == {**USUAL, ".git/modules": "writable", ".git/worktrees": "writable"}


def test_too_many_submodules_are_read_only_together(top: Path) -> None:
    for number in range(40):
        shutil.copytree(top / ".git", top.parent / "modules" / str(number))
    (top.parent / "modules").rename(top / ".git" / "modules")
    assert _found(top) == {**USUAL, ".git/modules": "read-only"}


def test_from_within_a_repository_it_is_seen_but_not_one_that_is_all_the_home(top: Path) -> None:
    below = top / "a" / "b"
    below.mkdir(parents=True)
    seen = Repository(held=(Held(path=f"{top}/.git", access="read-only"),))
    assert repository.look_above(str(below), None) == seen
    assert repository.look_above(str(below), str(top)) == repository.NONE
    (top / ".git" / "HEAD").unlink()
    assert repository.look_above(str(below), None) == repository.NONE


def test_a_redirection_is_removed_and_nothing_behind_a_link(top: Path) -> None:
    absent = repository.look(str(top)).absent
    assert repository.without_redirections(absent) == ()
    (top / ".git" / "commondir").symlink_to("/etc/passwd")
    assert repository.without_redirections(absent) == absent
    assert not (top / ".git" / "commondir").is_symlink()
    (top / ".git" / "commondir").mkdir()
    assert repository.without_redirections(absent) == (f"{absent[0]} (it cannot be removed)",)
    elsewhere = top.parent / "elsewhere"
    (top / ".git").rename(elsewhere)
    (top / ".git").symlink_to(elsewhere)
    (elsewhere / "commondir").rmdir()
    (elsewhere / "commondir").write_text("mine")
    assert repository.without_redirections(absent) == ()
    assert (elsewhere / "commondir").read_text() == "mine"
