"""Commands in sandboxes of one kind or another, run by root or by an ordinary user.

``python -m tests.support.sandboxed ORDER`` is what the other user runs: ORDER is a JSON object as ``as_user`` makes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio

from sandbox import proc
from sandbox.host import GAPS, Host
from sandbox.policy import Command, Limits, Policy
from sandbox.probe import probe
from sandbox.process import Process
from sandbox.spawn import open_process
from tests.support.people import as_ordinary_user

ROOT: Final = Path(__file__).parents[2]
VARIANTS: Final = ("bubblewrap", "landlock", "landlock 5", "landlock 3", "landlock 1", "none")
"""As this machine, and as machines that have less would be."""


def variant(host: Host, name: str) -> Host:
    """``host`` as if it had no more than ``name`` says."""
    if name == "bubblewrap":
        return host
    kind, _, version = name.partition(" ")
    abi = 0 if kind == "none" else min(host.landlock_abi, int(version or host.landlock_abi))
    has_seccomp = host.has_seccomp and kind != "none"
    return replace(
        host,
        bubblewrap=None,
        bubblewrap_reason="bubblewrap is not installed",
        landlock_abi=abi,
        landlock_reason="" if abi else "this kernel has no Landlock",
        has_seccomp=has_seccomp,
        seccomp_reason="" if has_seccomp else "there is no filter",
    )


async def said(process: Process) -> tuple[str, str]:
    """All that it writes, on stdout and stderr."""
    texts = {"stdout": b"", "stderr": b""}

    async def read(name: str) -> None:
        async for data in getattr(process, name):
            texts[name] += data

    async with trio.open_nursery() as reading:
        reading.start_soon(read, "stdout")
        reading.start_soon(read, "stderr")
    return texts["stdout"].decode(), texts["stderr"].decode()


def survivors(marker: str) -> list[int]:
    """The processes that live and have ``marker`` in their command line."""
    return [pid for pid in proc.pids() if any(marker in word for word in proc.command_line(pid)) and proc.is_alive(pid)]


async def until(condition: Callable[[], object], limit_s: float) -> None:
    """Wait until ``condition`` is true."""
    with trio.fail_after(limit_s):
        while not condition():  # noqa: ASYNC110 – processes and files of others set no event
            await trio.sleep(0.01)


async def until_gone(marker: str, limit_s: float) -> None:
    """Wait until no process has ``marker`` in its command line."""
    await until(lambda: not survivors(marker), limit_s)


async def _as_user(*argv: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python with ``argv`` as an ordinary user, our packages at hand."""
    return await trio.run_process(
        as_ordinary_user(*argv),
        check=False,
        capture_stdout=True,
        capture_stderr=True,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
    )


async def run(order: Mapping[str, Any]) -> dict[str, Any]:
    """``order``: variant, argv, env, policy, limits. Returns what is missing, how it ended and what it said."""
    host = variant(await probe(), order["variant"])
    given = order["policy"]
    limits = Limits(**order.get("limits", {}))
    policy = Policy(profile=given["profile"], root=given["root"], hidden=tuple(given.get("hidden", ())), limits=limits)
    command = Command(argv=tuple(order["argv"]), cwd=policy.root, env=order["env"])
    missing = [gap.name for gap in host.enforcement(policy.profile, has_network=policy.has_network).missing]
    async with open_process(command, policy, host, accept=GAPS) as process:
        stdout, stderr = await said(process)
        ended = await process.wait()
    return {
        "missing": missing,
        "code": ended.code,
        "out_of_memory": ended.out_of_memory,
        "memory": host.limits.memory,
        "stdout": stdout,
        "stderr": stderr,
    }


async def run_as(user: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """``run``, as "root" (whoever we are) or as the ordinary "user"."""
    if user == "root":
        return await run(order)
    ended = await _as_user("-m", "tests.support.sandboxed", json.dumps(order))
    assert ended.returncode == 0, ended.stderr.decode()
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def main(arguments: Sequence[str]) -> None:
    sys.stdout.write(json.dumps(trio.run(run, json.loads(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
