"""Commands in the real sandbox of this machine: what is asked for, where it runs, and what becomes of it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.errors import Denied, Malformed, NotFound, Unsupported
from plurnk.executors.runtimes import Interpreter, bash, node, python, sh
from plurnk.plugins.streaming import CommandGrant, CommandOrder
from plurnk.store import sessions
from plurnk.store.subscriptions import Subscription
from plurnk.streams import commands, stdin
from plurnk.streams.commands import Commands, CommandSettings, Ready, open_commands
from sandbox.host import Host
from sandbox.probe import probe
from tests.support import processes
from tests.support.streams import LIMIT_S, Basin, basin, until

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")

RUNTIMES = {each.name: each for each in (sh, bash, python, node)}
GHOST = Interpreter("ghost", ("no-such-program",), "-c")


@dataclass(frozen=True)
class Desk:
    """Commands, a project to run them in, and streams for them."""

    basin: Basin
    commands: Commands
    project: Path
    state: Path

    async def ready(self, command: str = "true", runtime: str = "sh", **more: Any) -> Ready:
        asked: dict[str, Any] = {"cwd": None, "session_id": 1, "project_root": str(self.project), **more}
        return await self.commands.prepare(CommandOrder(runtime=runtime, command=command, **asked))

    async def start(self, command: str, *, grant: CommandGrant | None = None, **more: Any) -> int:
        ready = await self.ready(command, **more)
        path = f"sh-{len(self.basin.heard)}"
        return await self.basin.command(ready.work(command, grant or CommandGrant()), path)

    async def run(self, command: str, **more: Any) -> tuple[Subscription, str, str]:
        """How it ended, its stdout and its stderr."""
        entry_id = await self.start(command, **more)
        await self.basin.ended(entry_id)
        (row,) = await self.basin.rows(entry_id)
        texts = [(await self.basin.content(entry_id, name))[1].decode() for name in ("stdout", "stderr")]
        return row, texts[0], texts[1]


@asynccontextmanager
async def desk(tmp_path: Path, runtimes: Mapping[str, Interpreter] = RUNTIMES, **settings: Any) -> AsyncIterator[Desk]:
    project = tmp_path / "project"
    project.mkdir()
    values: dict[str, Any] = {
        "profile": "workspace",
        "accept": (),
        "timeout_s": 0.0,
        "kill_grace_s": 0.3,
        "state_dir": tmp_path / "state",
        "hidden": (tmp_path / "p.db",),
        "env": dict(os.environ),
    }
    async with (
        basin(tmp_path / "p.db") as at,
        open_commands(
            CommandSettings(**{**values, **settings}),
            runtimes,
            existing=lambda ids: at.store.read(lambda db: sessions.existing(db, ids)),
        ) as opened,
    ):
        yield Desk(at, opened, project, tmp_path / "state")


# -- what is asked for


@pytest.mark.spec("4.2-runtimes")
async def test_a_runtime_that_is_not_installed_is_refused_naming_those_that_are(tmp_path: Path) -> None:
    async with desk(tmp_path, {"python": python, "ghost": GHOST, "sh": sh}) as at:
        for runtime in ("ghost", "perl6"):
            with pytest.raises(Unsupported) as refused:
                await at.ready(runtime=runtime)
            assert refused.value.detail == f"runtime '{runtime}' is not installed; there are python, sh"
        with pytest.raises(Malformed):
            await at.ready(" \n")


@pytest.mark.spec("4.2-runtimes")
@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        ("sh", "echo $((1 + 1))"),
        ("bash", "x=(1 2); echo ${x[1]}"),
        ("python", "print(1 + 1)"),
        ("node", "console.log(1 + 1)"),
    ],
)
async def test_a_command_of_each_runtime_runs_as_text_or_from_a_file(
    tmp_path: Path, runtime: str, command: str
) -> None:
    comment = "\n" + {"node": "//"}.get(runtime, "#") + "x" * commands.INLINE_BYTES
    async with desk(tmp_path) as at:
        for text in (command, command + comment):
            row, out, err = await at.run(text, runtime=runtime)
            assert (row.close_status, out, err) == (200, "2\n", "")


@pytest.mark.spec("4.2-cwd-inside-root")
async def test_a_command_runs_in_a_directory_of_the_project_and_nowhere_else(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        (at.project / "sub" / "deep").mkdir(parents=True)
        (at.project / "file").touch()
        (at.project / "out").symlink_to(tmp_path)
        (at.project / "nowhere").symlink_to(tmp_path / "nowhere")
        (at.project / "in").symlink_to(at.project / "sub")
        for cwd, runs_in in ((None, "."), (".", "."), ("sub/deep/..", "sub"), ("in", "sub"), ("in/deep", "sub/deep")):
            ready = await at.ready(cwd=cwd)
            assert ready.attrs["cwd"] == runs_in
            _row, out, _err = await at.run("pwd -P", cwd=cwd)
            assert Path(out.strip()) == at.project / runs_in
        outside = ["/", str(at.project), "..", "../project2", "../nowhere", "out", "out/state", "nowhere"]
        for cwd in (*outside, "out/nothing", "in/../.."):
            with pytest.raises(Denied):
                await at.ready(cwd=cwd)
        for cwd in ("nothing", "file", "sub/nothing", "a\0b", "x" * 5000):
            with pytest.raises(NotFound):
                await at.ready(cwd=cwd)
        with pytest.raises(NotFound):
            await at.ready(project_root=str(tmp_path / "gone"))


async def test_what_will_be_run_is_shown(tmp_path: Path) -> None:
    async with desk(tmp_path, timeout_s=1.5) as at:
        assert (await at.ready("make", cwd=".")).attrs == {
            "runtime": "sh",
            "cwd": ".",
            "command": "make",
            "sandbox": {"profile": "workspace", "network": False, "writable": [str(at.project)]},
            "timeoutMs": 1500,
        }


@pytest.mark.parametrize(
    ("profile", "network", "writable"),
    [("read-only", False, []), ("workspace-net", True, ["project"]), ("off", True, ["/"])],
)
async def test_the_sandbox_that_is_shown_is_the_profiles(
    tmp_path: Path, profile: str, network: bool, writable: list[str]
) -> None:
    async with desk(tmp_path, profile=profile) as at:
        shown = (await at.ready()).attrs["sandbox"]
        expected = [path if path == "/" else str(tmp_path / path) for path in writable]
        assert shown == {"profile": profile, "network": network, "writable": expected}


# -- the sandbox


@pytest.mark.spec("4.6-fail-closed")
async def test_without_a_sandbox_nothing_is_run_unless_the_operator_accepts_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await probe()

    async def bare() -> Host:
        await trio.lowlevel.checkpoint()
        return dataclasses.replace(here, bubblewrap=None, bubblewrap_reason="it is not there", landlock_abi=0)

    monkeypatch.setattr(commands, "probe", bare)
    (tmp_path / "closed").mkdir()
    async with desk(tmp_path / "closed") as at:
        with pytest.raises(Unsupported) as refused:
            await at.ready()
        assert "PLURNK_SANDBOX_ACCEPT=" in refused.value.detail
        way_out = refused.value.detail.partition("PLURNK_SANDBOX_ACCEPT=")[2].split(",")
        assert "files" in way_out
        assert await at.commands.backend() is None
    (tmp_path / "accepted").mkdir()
    async with desk(tmp_path / "accepted", accept=tuple(way_out)) as at:
        assert (await at.run("echo hi"))[1] == "hi\n"


async def test_a_start_does_not_wait_for_the_look_at_the_machine_but_commands_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = trio.Event()

    async def slow() -> Host:
        await looked.wait()
        return await probe()

    monkeypatch.setattr(commands, "probe", slow)
    async with desk(tmp_path) as at:
        with trio.move_on_after(0.05) as impatient:
            await at.ready()
        assert impatient.cancelled_caught
        looked.set()
        await at.ready()
        assert await at.commands.backend() == "bubblewrap"
    # Nor does the end.
    looked = trio.Event()
    (tmp_path / "again").mkdir()
    with trio.fail_after(LIMIT_S):
        async with desk(tmp_path / "again"):
            pass


async def test_a_denial_is_explained_with_the_end_and_the_grant_lifts_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    async with desk(tmp_path) as at:
        command = f"touch {shared}/x"
        row, _out, err = await at.run(command)
        assert (row.close_status, row.exit_code) == (500, 1), err
        row, _out, err = await at.run("touch /etc/x")
        assert (row.close_status, row.exit_code) == (500, 1), err
        assert at.basin.concluded()[-1].summary.endswith("whoever accepts a command can grant writable directories")
        row, _out, err = await at.run(command, grant=CommandGrant(writable=(str(shared),)))
        assert (row.close_status, err) == (200, "")
        assert (shared / "x").exists()
        with pytest.raises(Malformed):
            (await at.ready()).work("true", CommandGrant(writable=("shared",)))
        row, _out, _err = await at.run("true", grant=CommandGrant(writable=(str(tmp_path / "gone"),)))
        assert (row.close_status, row.exit_code) == (500, None)
        assert row.close_detail == f"it could not be started: the granted directory {tmp_path}/gone is not there"


@pytest.mark.spec("4.6-write-outside-denied")
async def test_a_grant_is_not_led_elsewhere_by_a_link_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    async with desk(tmp_path) as at:
        assert (await at.run(f"ln -s {tmp_path}/keys out; mkdir real"))[0].close_status == 200
        grant = CommandGrant(writable=(str(at.project / "out"),))
        row, _out, _err = await at.run(f"echo x >{tmp_path}/keys/new", grant=grant)
        assert row.close_status == 500
        assert "is reached by a link in the project" in (row.close_detail or "")
        assert list((tmp_path / "keys").iterdir()) == []
        grant = CommandGrant(writable=(str(at.project / "real"),))
        assert (await at.run("echo x >real/new", grant=grant))[0].close_status == 200


async def test_a_program_that_is_gone_is_a_command_that_could_not_be_started(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    async with desk(tmp_path, {"tool": Interpreter("tool", ("tool",), "-c")}, env=env) as at:
        ready = await at.ready(runtime="tool")
        program.unlink()
        row = await at.basin.run(ready.work("x", CommandGrant()))
        assert (row.close_status, row.exit_code) == (500, None)
        assert (row.close_detail or "").startswith("it could not be started: ")


async def test_commands_ask_nothing_and_know_no_keys(tmp_path: Path) -> None:
    env = {**os.environ, "OPENAI_API_KEY": "secret", "PLURNK_TOKEN": "secret", "BASH_ENV": "/x", "TERM": ""}
    del env["TERM"]
    async with desk(tmp_path, env=env) as at:
        _row, out, _err = await at.run("env")
        seen = dict(line.split("=", 1) for line in out.splitlines())
        assert {name: seen[name] for name in ("GIT_TERMINAL_PROMPT", "CI", "PAGER", "GIT_PAGER", "TERM")} == {
            "GIT_TERMINAL_PROMPT": "0",
            "CI": "1",
            "PAGER": "cat",
            "GIT_PAGER": "cat",
            "TERM": "dumb",
        }
        assert "secret" not in out
        assert "BASH_ENV" not in seen


async def test_a_session_has_directories_of_its_own_until_it_is_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        headless: dict[str, Any] = {"project_root": None}
        row, _out, err = await at.run("echo mine > kept; echo 1 > $TMPDIR/scratch", **headless)
        assert (row.close_status, err) == (200, "")
        assert (await at.run("cat kept $TMPDIR/scratch", **headless))[1] == "mine\n1\n"
        assert (await at.run("cat $TMPDIR/scratch"))[1] == "1\n"
        assert (await at.run("ls -A; ls -A $TMPDIR", **headless, session_id=2))[1] == ""
        for name in ("", "work", "tmp"):
            assert stat.S_IMODE((at.state / "sessions" / "1" / name).stat().st_mode) == 0o700
        with pytest.raises(NotFound):
            await at.ready(**headless, cwd="sub")
        await at.commands.forget(1)
        await at.commands.forget(1)
        assert [path.name for path in (at.state / "sessions").iterdir()] == ["2"]


# -- its stream


async def test_a_command_in_the_sandbox_is_talked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(stdin, "AWAITS_AFTER_S", 0.2)
    async with desk(tmp_path) as at:
        entry_id = await at.start("read name && echo hello $name")
        # Also before it has begun.
        assert await at.basin.streams.send(entry_id, b"you\n") == 4
        await at.basin.ended(entry_id)
        assert await at.basin.content(entry_id, "stdout") == ("closed", b"hello you\n")
        entry_id = await at.start("input()", runtime="python")
        await until(lambda: any(event.awaiting_input is True for event in at.basin.events("stdin")))
        await at.basin.streams.close_input(entry_id)
        await at.basin.ended(entry_id)
        assert b"EOFError" in (await at.basin.content(entry_id, "stderr"))[1]


@pytest.mark.spec("4.5-cancel-races")
async def test_a_cancel_while_a_command_starts_runs_or_ends_leaves_nothing(tmp_path: Path) -> None:
    marker = f"30.{os.getpid()}"
    async with desk(tmp_path) as at:
        for number in range(15):
            entry_id = await at.start(f"echo begun; sleep {marker} & sleep 0.0{number % 3}; exit 0")
            answers: list[bool] = []

            async def cancel(pause_s: float, entry_id: int = entry_id, answers: list[bool] = answers) -> None:
                await trio.sleep(pause_s)
                answers.append(await at.basin.streams.cancel(entry_id, reason="enough"))

            with trio.fail_after(LIMIT_S):
                async with trio.open_nursery() as callers:
                    callers.start_soon(cancel, 0.003 * number)
                    callers.start_soon(cancel, 0.004 * number)
                await at.basin.ended(entry_id)
            assert len(answers) == 2
            assert await at.basin.closes(entry_id) in ([(200, None)], [(499, "enough")])
            assert processes.with_marker(marker) == []


async def test_private_directories_of_sessions_that_are_gone_are_removed_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "sessions"
    for name in ("1", "77", "not-ours"):
        (folder / name / "tmp").mkdir(parents=True)
    async with desk(tmp_path):  # its session is the first one
        with trio.fail_after(LIMIT_S):
            await until(lambda: not (folder / "77").exists())
    assert sorted(path.name for path in folder.iterdir()) == ["1", "not-ours"]
