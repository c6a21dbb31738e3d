"""What commands leave for the next one, or exchange while the next one is being started.

A look at a path and the mount of it are two moments; what is between them another command can use. It has to hit
the right millisecond: here it always does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import spawn, surroundings
from sandbox.host import GAPS, Host
from sandbox.links import open_real
from sandbox.policy import Command, Policy
from sandbox.probe import probe
from sandbox.process import NotStarted
from sandbox.spawn import open_process
from tests.support.sandbox import SECRET, Person, Place, assert_ran, missing_programs, opened_place, people
from tests.support.sandboxed import said, variant

pytestmark = pytest.mark.skipif(bool(missing_programs("git")), reason="needs: bubblewrap, git")


@pytest.fixture(params=people(), ids=lambda person: person.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    person: Person = request.param
    with opened_place(person) as opened:
        yield opened


@pytest.fixture
def ours() -> Iterator[Place]:
    """Whoever runs the tests: for what is exchanged within this process."""
    with opened_place(Person("us", os.getuid())) as opened:
        yield opened


def _secret(place: Place, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SECRET)
    place.give(place.base)


@pytest.mark.spec("4.6-secrets-hidden")
def test_what_is_hidden_cannot_be_carried_off_for_the_next_command(place: Place) -> None:
    _secret(place, place.root / "deploy" / "prod" / ".env")
    policy = place.policy(hidden=(str(place.root / "deploy" / "prod" / ".env"),))
    # Everything else in these directories can be changed.
    assert_ran(
        place.sandboxed_sh("echo x >deploy/prod/new; mkdir deploy/more; mv deploy/prod/new deploy", policy=policy)
    )
    for carry in ("mv deploy moved", "mv deploy/prod moved", "mv -T deploy/prod other", "rm -r deploy"):
        assert place.sandboxed_sh(carry, policy=policy).returncode != 0
    found = place.sandboxed_sh(f"cat deploy/prod/.env; ! grep -r {SECRET} .", policy=policy)
    assert_ran(found, "")


@pytest.mark.spec("4.6-secrets-hidden")
def test_nor_what_is_secret_in_a_home_that_is_the_project(place: Place) -> None:
    policy = place.policy(root=str(place.home))
    keys = place.home / ".local" / "share" / "keyrings" / "x"
    _secret(place, keys)
    place.sandboxed_sh("mv .config a; mv .local b; mv .local/share c; mv .cargo d", policy=policy, cwd=place.home)
    assert keys.read_text() == SECRET
    assert_ran(place.sandboxed_sh(f"! grep -rs {SECRET} .", policy=policy, cwd=place.home), "")


@pytest.mark.spec("4.6-git-hooks-protected")
def test_a_project_within_what_is_granted_keeps_its_place(place: Place) -> None:
    assert_ran(place.sh("git init -q"))
    policy = place.policy(writable=(str(place.base),), hidden=())
    run = place.sandboxed_sh(f"mv '{place.root}' '{place.base}/moved'", policy=policy)
    assert "busy" in run.stderr
    assert (place.root / ".git" / "config").exists()


@pytest.mark.spec("4.6-secrets-hidden")
def test_a_link_that_a_command_made_opens_no_home_by_path(place: Place) -> None:
    diary = place.home / "Documents" / "diary"
    _secret(place, diary)
    place.env["PATH"] = f"{place.root}/.venv/bin:{place.env['PATH']}"
    assert_ran(place.sandboxed_sh("mkdir -p .venv && ln -s ../../home/Documents .venv/bin"))
    # Before, no command could be started any more: the link led nowhere by the time it was mounted upon.
    assert_ran(place.sandboxed_sh(f"! cat .venv/bin/diary '{diary}'"), "")


@pytest.mark.spec("4.6-secrets-hidden")
def test_nor_by_a_name_of_a_tool_where_the_home_is_the_project(place: Place) -> None:
    policy = place.policy(root=str(place.home))
    assert_ran(place.sandboxed_sh("ln -s /run .rbenv; mkdir go; ln -s /tmp go/bin", policy=policy, cwd=place.home))
    around = place.look(policy)
    assert not [tool for tool in around.tools if tool.path.endswith(("/.rbenv", "/go/bin"))]
    assert_ran(place.sandboxed_sh("tool", policy=policy, cwd=place.home), "the tool")


# In the middle of a start


def _afterwards(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, exchange: Callable[[], None]) -> None:
    """Do ``exchange`` when this function has just returned."""
    real = getattr(module, name)

    def wrapped(*arguments: Any) -> Any:
        result = real(*arguments)
        exchange()
        return result

    monkeypatch.setattr(module, name, wrapped)


async def _run(place: Place, script: str, policy: Policy, host: Host) -> str:
    command = Command(argv=("/bin/sh", "-c", script), cwd=str(place.root), env=place.command_env)
    async with open_process(command, policy, host, accept=GAPS) as process:
        stdout, stderr = await said(process)
        return stdout + stderr


@pytest.mark.spec("4.6-write-outside-denied")
@pytest.mark.parametrize("name", [".git", ".git/worktrees", ".git/modules"])
async def test_a_directory_exchanged_for_a_link_is_not_mounted(
    ours: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name != ".git":
        assert_ran(ours.sh("git init -q"))
    (ours.root / name).mkdir()
    script = f"echo x >'{ours.outside}/new'; ls '{ours.outside}'"
    host = await probe()
    assert "new" not in (await _run(ours, script, ours.policy(), host)).split()

    def exchange() -> None:
        (ours.root / name).rename(ours.root / "was")
        (ours.root / name).symlink_to(os.path.relpath(ours.outside, (ours.root / name).parent))

    _afterwards(monkeypatch, surroundings, "look", exchange)
    with pytest.raises(NotStarted, match="exchanged for something else"):
        await _run(ours, script, ours.policy(), host)
    assert [path.name for path in ours.outside.iterdir()] == ["file"]


@pytest.mark.spec("4.6-write-outside-denied")
async def test_nor_is_the_project_itself(ours: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of another session, whose project contains this one, can exchange that."""

    def exchange() -> None:
        ours.root.rename(ours.base / "was")
        ours.root.symlink_to("outside")

    _afterwards(monkeypatch, surroundings, "look", exchange)
    with pytest.raises(NotStarted):
        await _run(ours, f"echo x >'{ours.outside}/new'", ours.policy(), await probe())
    assert [path.name for path in ours.outside.iterdir()] == ["file"]


@pytest.mark.spec("4.6-write-outside-denied")
async def test_landlock_follows_no_link_either(ours: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    host = variant(await probe(), "landlock")
    if not host.landlock_abi:
        pytest.skip("needs: Landlock")
    _secret(ours, ours.root / "conf" / ".env")
    (ours.root / "conf" / "sub").mkdir()
    (ours.outside / "sub").mkdir()
    policy = ours.policy(hidden=(str(ours.root / "conf" / ".env"),))

    def exchange() -> None:
        (ours.root / "conf").rename(ours.root / "was")
        (ours.root / "conf").symlink_to("../outside")

    assert await _run(ours, "echo x >conf/sub/new; ls conf/sub", policy, host) == "new\n"
    _afterwards(monkeypatch, spawn, "plan", exchange)
    await _run(ours, f"echo x >'{ours.outside}/sub/new'", policy, host)
    assert list((ours.outside / "sub").iterdir()) == []


def test_what_is_opened_as_real_has_no_link_on_its_way(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "other").symlink_to("file")
    real = os.path.realpath(tmp_path)
    for path in (f"{real}/a/b", f"{real}/a/file", "/"):
        os.close(open_real(path, os.O_PATH))
    # O_PATH and O_NOFOLLOW open the link itself, which is no way to anywhere.
    for path in (f"{real}/link/b", f"{real}/link/file", f"{real}/gone", f"{real}/a/file/x"):
        with pytest.raises(OSError, match=r"Not a directory|No such file"):
            os.close(open_real(path, os.O_PATH))
    with pytest.raises(OSError, match="Too many levels"):
        os.close(open_real(f"{real}/a/other", os.O_RDONLY))
