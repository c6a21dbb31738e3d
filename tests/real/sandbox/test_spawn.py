"""What is found out before a command begins: that there is no such program for it, and no place to run it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from sandbox.environment import allowed
from sandbox.host import Host
from sandbox.policy import Command, Policy
from sandbox.probe import probe
from sandbox.process import NotStarted
from sandbox.spawn import open_process
from tests.support.sandbox import missing_programs

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason="needs: bubblewrap")


@pytest.fixture
async def host() -> Host:
    return await probe()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, mode in (("runs", 0o755), ("text", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\necho it ran in $(pwd)\n", "ascii")
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    return tmp_path


async def _run(host: Host, policy: Policy, *argv: str, cwd: str | None = None, path: str | None = None) -> bytes:
    env = {**allowed(os.environ), **({} if path is None else {"PATH": path})}
    command = Command(argv=argv, cwd=policy.root if cwd is None else cwd, env=env)
    async with open_process(command, policy, host, accept=("processes", "memory")) as process:
        with trio.fail_after(30):
            await process.wait()
            return bytes(await process.stdout.receive_some())


@pytest.mark.parametrize(
    "program", ["no-such-program", "/no/such/program", "./text", "./folder", "/etc/passwd", "/etc"]
)
async def test_a_program_that_is_not_there_is_not_started(host: Host, project: Path, program: str) -> None:
    with pytest.raises(NotStarted, match=f"^{program}: there is no such program inside the sandbox$"):
        await _run(host, Policy(profile="workspace", root=str(project)), program)


async def test_a_program_that_the_sandbox_hides_is_not_started(host: Host, project: Path) -> None:
    folder = project / "folder"
    (project / "runs").rename(folder / "tool")
    hiding = Policy(profile="workspace", root=str(project), hidden=(str(folder),))
    with pytest.raises(NotStarted, match=r"tool: there is no such program"):
        await _run(host, hiding, str(folder / "tool"))
    with pytest.raises(NotStarted, match=r"^tool: there is no such program"):
        await _run(host, hiding, "tool", path=str(folder))


async def test_a_program_is_found_by_its_path_its_name_and_where_a_link_leads(host: Host, project: Path) -> None:
    policy = Policy(profile="workspace", root=str(project))
    ran = f"it ran in {project}\n".encode()
    (project / "link").symlink_to("runs")
    assert await _run(host, policy, "./runs") == ran
    assert await _run(host, policy, str(project / "link")) == ran
    assert await _run(host, policy, "runs", path=f"/no/where:{project}:/bin:/usr/bin") == ran
    assert await _run(host, Policy(profile="off", root=str(project)), "./runs") == ran


async def test_a_directory_that_is_gone(host: Host, project: Path) -> None:
    policy = Policy(profile="workspace", root=str(project))
    with pytest.raises(NotStarted, match=r"Can't chdir to .*gone: No such file"):
        await _run(host, policy, "true", cwd=str(project / "gone"))


@pytest.mark.parametrize("what", ["a variable", "the directory"])
async def test_a_nul_is_refused(host: Host, project: Path, what: str) -> None:
    """It would end one argument of bubblewrap and begin another."""
    policy = Policy(profile="workspace", root=str(project))
    bad = "x\0--dev-bind\0/\0/"
    env = {"PATH": "/bin:/usr/bin"} | ({"A": bad} if what == "a variable" else {})
    command = Command(argv=("true",), cwd=str(project) if what == "a variable" else f"{project}/{bad}", env=env)
    with pytest.raises(NotStarted, match="NUL"):
        async with open_process(command, policy, host, accept=("processes", "memory")):
            pass
