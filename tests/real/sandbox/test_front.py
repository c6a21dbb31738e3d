"""``python -m sandbox`` as a person in a shell meets it: by root and by a user, with bubblewrap and without."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from sandbox.host import GAPS
from tests.support.people import ORDINARY_UID, python, python_path
from tests.support.sandboxed import survivors, until_gone

TOOLS = ("sh", "cat", "sleep", "setsid", "true", "touch", "env", "kill", "id")

_numbers = itertools.count(os.getpid() * 1000)


@dataclass(frozen=True)
class Front:
    """How it is called: in ``root``, with ``path`` as PATH."""

    root: Path
    path: str
    uid: int
    python: str
    has_bubblewrap: bool

    @property
    def given(self) -> dict[str, Any]:
        user: dict[str, Any] = {"user": self.uid, "group": self.uid, "extra_groups": []} if os.geteuid() == 0 else {}
        env = {"PATH": self.path, "HOME": str(self.root / "home"), "PYTHONPATH": python_path()}
        return {"cwd": self.root, "env": env | {"PYTHONDONTWRITEBYTECODE": "1", "SECRET_KEY": "x"}} | user

    def argv(self, *arguments: str, accepting: bool = True) -> list[str]:
        accept = ["--accept", ",".join(GAPS)] if accepting and not self.has_bubblewrap else []
        return [self.python, "-m", "sandbox", *accept, *arguments]

    async def run(self, *arguments: str, accepting: bool = True, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit status, stdout and stderr."""
        with trio.fail_after(60):
            ended = await trio.run_process(
                self.argv(*arguments, accepting=accepting),
                stdin=stdin,
                check=False,
                capture_stdout=True,
                capture_stderr=True,
                **self.given,
            )
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    async def start(self, running: trio.Nursery, *arguments: str) -> trio.Process:
        """Start it with a pipe for stdout."""
        run = partial(trio.run_process, self.argv(*arguments), stdout=subprocess.PIPE, check=False, **self.given)
        process: trio.Process = await running.start(run)
        return process


@pytest.fixture(params=["root", "user"])
def uid(request: pytest.FixtureRequest) -> int:
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("needs: root")
        return 0
    return ORDINARY_UID if os.geteuid() == 0 else os.geteuid()


@pytest.fixture(params=["bubblewrap", "landlock"])
def front(request: pytest.FixtureRequest, uid: int) -> Any:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("needs: bubblewrap")
    # pytest's own directories are for this user alone.
    base = Path(subprocess.check_output(["/bin/mktemp", "-d", "/tmp/front-XXXXXX"], text=True).strip())
    base.chmod(0o755)
    try:
        for name in ("bin", "root", "root/home", "other"):
            (base / name).mkdir()
        for path in ("root", "root/home", "other"):
            os.chown(base / path, uid, uid)
        for tool in (*TOOLS, *(["bwrap"] if request.param == "bubblewrap" else [])):
            found = shutil.which(tool, path="/usr/bin:/bin")
            assert found is not None
            (base / "bin" / tool).symlink_to(found)
        yield Front(
            base / "root",
            str(base / "bin"),
            uid,
            sys.executable if uid == 0 else python(),
            request.param == "bubblewrap",
        )
    finally:
        shutil.rmtree(base)


@pytest.fixture
def marker() -> str:
    return f"{10**7 + next(_numbers)}.75"


async def test_streams_pass_through_and_the_exit_status_is_the_commands(front: Front) -> None:
    code, stdout, stderr = await front.run("--", "sh", "-c", "cat; echo no >&2; exit 3", stdin=b"hello")
    assert (code, stdout, stderr) == (3, "hello", "no\n")


async def test_the_environment_is_an_allow_list(front: Front) -> None:
    _, stdout, _ = await front.run("env")
    assert {line.partition("=")[0] for line in stdout.splitlines()} - {"PWD", "LC_CTYPE"} == {"PATH", "HOME", "TMPDIR"}


@pytest.mark.spec("4.6-write-outside-denied")
async def test_the_root_can_be_written_and_nothing_else_but_what_is_said(front: Front) -> None:
    other = front.root.parent / "other"
    assert (await front.run("--", "touch", "made"))[0] == 0
    assert (front.root / "made").exists()
    assert (await front.run("--profile", "read-only", "--", "touch", "more"))[0] == 1
    await front.run("--", "touch", f"{other}/made")
    assert list(other.iterdir()) == []
    assert (await front.run("--writable", str(other), "--", "touch", f"{other}/made"))[0] == 0
    assert (other / "made").exists()


@pytest.mark.spec("4.6-secrets-hidden")
async def test_what_is_hidden_cannot_be_read(front: Front) -> None:
    secrets = front.root.parent / "other" / "secret"
    secrets.write_text("token")
    os.chown(secrets, front.uid, front.uid)
    assert (await front.run("--writable", str(secrets.parent), "--", "cat", str(secrets)))[1] == "token"
    code, stdout, _ = await front.run("--writable", str(secrets.parent), "--hide", str(secrets), "cat", str(secrets))
    assert (code, stdout) == (1, "")


async def test_what_cannot_be_started_has_the_exit_status_that_shells_give_it(front: Front) -> None:
    (front.root / "text").write_text("no program")
    code, stdout, stderr = await front.run("--", "no-such-program")
    assert (code, stdout) == (127, "")
    assert stderr.startswith("sandbox: ")
    assert stderr.count("\n") == 1
    assert (await front.run("--", "./text"))[0] == 126


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "there is no command"),
        (["--accept", "everything", "--", "true"], "cannot accept everything"),
        (["--root", "/no/such/directory", "--", "true"], "no directory"),
        (["--profile", "strict", "--", "true"], "invalid choice"),
    ],
)
async def test_what_it_does_not_understand_is_125(front: Front, arguments: list[str], complaint: str) -> None:
    code, stdout, stderr = await front.run(*arguments)
    assert (code, stdout) == (125, "")
    assert complaint in stderr


@pytest.mark.spec("4.6-fail-closed")
async def test_what_cannot_be_enforced_is_refused_until_it_is_accepted(front: Front) -> None:
    code, _, stderr = await front.run("--", "touch", "made", accepting=False)
    if front.has_bubblewrap:
        assert (code, stderr) == (0, "")
        return
    assert code == 125
    assert "bubblewrap is not installed: install bubblewrap" in stderr
    assert not (front.root / "made").exists()
    names = stderr.rpartition("--accept ")[2].strip()
    assert (await front.run("--accept", names, "--", "touch", "made", accepting=False))[0] == 0
    assert (front.root / "made").exists()


async def test_help_and_report(front: Front) -> None:
    code, stdout, _ = await front.run("--help", accepting=False)
    assert code == 0
    assert "examples:" in stdout
    code, stdout, _ = await front.run("--report", accepting=False)
    assert code == 0
    profiles = [line for line in stdout.splitlines() if line.startswith("workspace: ")]
    assert profiles == ["workspace: bubblewrap" if front.has_bubblewrap else "workspace: landlock"]
    assert ("MISSING     git-hooks" in stdout) == (not front.has_bubblewrap)


@pytest.mark.spec("4.5-tree-is-gone")
async def test_over_its_time_it_is_ended_with_all_that_it_started(front: Front, marker: str) -> None:
    script = f"setsid sleep {marker} & echo started; sleep {marker}"
    code, stdout, _ = await front.run("--timeout", "1", "--", "sh", "-c", script)
    assert (code, stdout) == (124, "started\n")
    assert survivors(marker) == []


@pytest.mark.spec("4.5-tree-is-gone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_end_it_ends_the_tree(front: Front, marker: str, number: signal.Signals) -> None:
    script = f"trap 'echo bye; exit' TERM; setsid sleep {marker} & echo started; wait"
    async with trio.open_nursery() as nursery:
        process = await front.start(nursery, "--", "sh", "-c", script)
        assert process.stdout is not None
        with trio.fail_after(60):
            assert await process.stdout.receive_some(100) == b"started\n"
            process.send_signal(number)
            assert await process.wait() == 128 + number
            assert await process.stdout.receive_some(100) == b"bye\n"
        assert survivors(marker) == []


@pytest.mark.spec("4.5-die-with-daemon")
async def test_killed_it_takes_the_tree_with_it(front: Front, marker: str) -> None:
    script = f"trap '' TERM HUP; setsid sleep {marker} & (setsid sleep {marker} &) ; echo started; sleep {marker}"
    async with trio.open_nursery() as nursery:
        process = await front.start(nursery, "--", "sh", "-c", script)
        assert process.stdout is not None
        with trio.fail_after(60):
            assert await process.stdout.receive_some(100) == b"started\n"
            assert survivors(marker)
            process.kill()
            await process.wait()
        await until_gone(marker, 2)
