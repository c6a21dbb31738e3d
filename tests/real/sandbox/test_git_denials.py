"""What a command may not do to a repository, and what it may all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import repository
from tests.support.sandbox import Person, Place, assert_ran, missing_programs, opened_place, people

pytestmark = [
    pytest.mark.spec("4.6-git-hooks-protected"),
    pytest.mark.skipif(bool(missing_programs("git")), reason="needs: bubblewrap, git"),
]


@pytest.fixture(params=people(), ids=lambda person: person.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    person: Person = request.param
    with opened_place(person) as opened:
        yield opened


def _repository(place: Place) -> None:
    """A fresh one at the root, with a commit."""
    assert_ran(place.sh("rm -rf .git && git init -q . && mkdir -p .git/hooks"))
    assert_ran(place.sh("date > a && git add a && git commit -qm first"))


def test_hooks_and_configuration_cannot_be_changed_nor_gone_around(place: Place) -> None:
    config, hook = place.root / ".git" / "config", place.root / ".git" / "hooks" / "post-commit"
    for attempt in (
        "echo true > .git/hooks/post-commit",
        "git config core.fsmonitor ./evil",
        "echo >> .git/config",
        "mv .git/config .git/config.old && cp .git/config.old .git/config",
        "mv .git .old && cp -r .old .git",
        "mv .git/hooks .git/old && mkdir .git/hooks",
        "rm -rf .git/hooks && mkdir .git/hooks",
        "chmod 777 .git/config .git/hooks && echo true > .git/hooks/post-commit",
    ):
        _repository(place)
        before = config.read_text()
        proof = place.sh(attempt)
        assert proof.returncode == 0, proof.stderr
        assert_ran(place.sh("rm -rf .old"))
        _repository(place)
        inside = place.sandboxed_sh(attempt)
        assert inside.returncode != 0, (attempt, inside.stdout, inside.stderr)
        assert not hook.exists()
        assert config.read_text() == before
        assert not config.is_symlink()
    assert_ran(place.sandboxed_sh("touch b && git add b && git commit -qm second && git log --oneline | wc -l"), "2")


def test_hooks_that_are_not_there_cannot_be_made(place: Place) -> None:
    _repository(place)
    assert_ran(place.sh("rm -rf .git/hooks"))
    place.sandboxed_sh("chmod 755 .git/hooks; printf '#!/bin/sh\\n' > .git/hooks/post-commit; mv .git/hooks .git/h")
    assert not (place.root / ".git" / "hooks" / "post-commit").exists()
    assert not (place.root / ".git" / "h").exists()


def test_a_redirection_to_another_configuration_is_taken_away_afterwards(place: Place) -> None:
    _repository(place)
    evil = "cp -r .git evil && git config -f evil/config core.fsmonitor ./evil && echo ../evil > .git/commondir"
    around = place.look(place.policy())
    assert_ran(place.sandboxed_sh(evil))
    assert_ran(place.sh("git config core.fsmonitor"), "./evil")  # git would obey
    removed = repository.without_redirections(around.repository.absent)
    assert removed == (str(place.root / ".git" / "commondir"),)
    assert place.sh("git config core.fsmonitor").returncode == 1
    assert repository.without_redirections(around.repository.absent) == ()


def test_a_linked_worktree_can_commit_and_not_configure(place: Place) -> None:
    main = place.home / "main"
    main.mkdir()
    place.give(main)
    assert_ran(
        place.sh(
            f"cd '{main}' && git init -q . && touch a && git add a && git commit -qm first &&"
            f" rmdir '{place.root}' && git worktree add -q -b side '{place.root}'"
        )
    )
    assert_ran(place.sandboxed_sh("touch b && git add b && git commit -qm second && git log --oneline | wc -l"), "2")
    assert_ran(place.sh("git log --oneline | wc -l"), "2")
    git = main / ".git"
    before = (git / "config").read_text()
    for attempt in (
        "git config core.fsmonitor ./evil",
        f"echo x > '{git}/hooks/post-commit'",
        f"echo x > '{git}/worktrees/{place.root.name}/commondir'",
        f"mv '{git}' '{git}.old'",
        "echo gitdir: /tmp > .git",
        "mv .git other",
        f"cat '{main}/a'",
    ):
        assert place.sandboxed_sh(attempt).returncode != 0, attempt
    assert (git / "config").read_text() == before
    assert not (git / "hooks" / "post-commit").exists()


def test_a_git_file_is_not_believed_when_what_it_names_does_not_agree(place: Place) -> None:
    private = place.home / "private"
    private.mkdir()
    place.give(private)
    assert_ran(place.sh(f"cd '{private}' && git init -q . && touch a && git add a && git commit -qm first"))
    for target in (f"{private}/.git", f"{place.home}/.ssh", f"{private}/.git/worktrees/x", str(place.state)):
        (place.root / ".git").write_text(f"gitdir: {target}\n")
        place.give(place.root)
        run = place.sandboxed_sh(f"ls '{target}' '{private}/.git'; touch '{target}/x' '{private}/.git/x'")
        assert run.stdout.strip() in {"", f"{place.home}/.ssh:"}
        assert not (private / ".git" / "x").exists()


def test_a_directory_within_a_repository_sees_it_and_cannot_change_it(place: Place) -> None:
    _repository(place)
    folder = place.root / "folder"
    folder.mkdir()
    place.give(folder)
    policy = place.policy(root=str(folder))
    run = place.sandboxed_sh("touch b && git status --short . ; git add b", policy=policy, cwd=folder)
    assert run.stdout.strip() == "?? ./"
    assert "Read-only file system" in run.stderr


def test_submodules_are_held_as_well(place: Place) -> None:
    module = place.outside / "module"
    module.mkdir()
    place.give(module)
    assert_ran(place.sh(f"cd '{module}' && git init -q . && touch a && git add a && git commit -qm first"))
    _repository(place)
    assert_ran(place.sh(f"git -c protocol.file.allow=always submodule -q add '{module}' sub/module"))
    assert_ran(place.sh("git commit -qm second"))
    own = place.root / ".git" / "modules" / "sub"
    for attempt in (
        "cd sub/module && git config core.fsmonitor ./evil",
        f"echo x > '{own}/module/hooks/post-commit'",
        f"mv '{own}/module' '{own}/other'",
        f"mv '{own}' '{own}2'",
    ):
        assert place.sandboxed_sh(attempt).returncode != 0, attempt
    assert_ran(place.sandboxed_sh("cd sub/module && touch b && git add b && git commit -qm second"))
