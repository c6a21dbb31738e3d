"""What the report says of each profile is so: all that it promises is denied when tried, and what it says is
missing is missing. With bubblewrap, with Landlock of several versions, and with neither; by root and by a user.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.support import attempts, sandboxed
from tests.support.people import ORDINARY_UID, python
from tests.support.sandboxed import VARIANTS

FILES: Final = frozenset(
    {
        "read_home",
        "list_home",
        "read_hidden",
        "read_by_another_name",
        "write_outside",
        "change_outside",
        "remove_outside",
    }
)
PREVENTED: Final = {
    "files": FILES | {"truncate_outside"},
    "metadata": {"change_mode_outside"},
    "network": {"connect_tcp", "send_udp"},
    "git-hooks": {"write_hooks"},
    "unix-sockets": {"connect_path_in_home", "connect_abstract"},
    "signals": {"signal_outside"},
    "pid-namespace": {"see_outside", "limit_outside"},
    "ipc": {"share_memory"},
    "user-namespaces": {"new_user_namespace"},
}
"""By which promise what is prevented, if it is not missing."""

ALWAYS_PREVENTED: Final = {"name_the_host"}
OTHERS: Final = {"read_environment_outside", "trace_outside"}
"""Prevented by bubblewrap and by Landlock of every version; without both it depends on what the other one may do."""


def _expected(missing: list[str], variant: str, profile: str) -> set[str]:
    """Which attempts fail, by what is said to be missing; and where a name covers more than one thing, by why."""
    denied = ALWAYS_PREVENTED.union(*(prevented for name, prevented in PREVENTED.items() if name not in missing))
    backend, _, version = variant.partition(" ")
    if backend != "none":
        denied |= FILES | OTHERS  # before version 3 what is missing of "files" is truncation
    if backend == "landlock" and int(version or 99) >= 6:
        denied |= {"connect_abstract"}  # what is missing of "unix-sockets" is those in the file system
    if profile == "workspace-net":
        denied -= PREVENTED["network"]
        if backend == "bubblewrap":
            denied -= {"connect_abstract"}  # as its note says
    if profile == "read-only" and backend != "none":
        denied |= {"write_root", "write_hooks"}
    if "loopback" in missing:
        denied |= {"serve_loopback"}
    return denied


_numbers = itertools.count(os.getpid() * 1000 % 2**30)


@dataclass(frozen=True)
class World:
    """Things of the machine that a command has no business with, and its root, with an interpreter to try it."""

    base: Path
    python: str
    facts: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        return {
            "HOME": str(self.base / "home"),
            "PATH": f"{Path(self.python).parent}:/usr/bin:/bin",
            "TMPDIR": str(self.base / "tmp"),
        }

    def argv(self) -> list[str]:
        return [self.python, "-B", str(self.base / "root" / "attempts.py"), json.dumps(self.facts)]

    def restore(self) -> None:
        """Put back what an attempt may have changed."""
        (self.base / "outside" / "file").write_bytes(b"something")
        for path in (self.base, *self.base.rglob("*")):
            os.chown(path, self.facts["uid"], self.facts["uid"])


@contextmanager
def _files() -> Iterator[Path]:
    # Not beneath a directory for temporary files if that can be: those are replaced as a whole.
    parent = "/srv" if os.access("/srv", os.W_OK) else None
    base = Path(tempfile.mkdtemp(prefix="sandbox-test-", dir=parent)).resolve()
    try:
        for name in ("home/.ssh", "hidden", "outside", "tmp", "root/.git/hooks", "root/.git/objects", "root/.git/refs"):
            (base / name).mkdir(parents=True)
        for name in ("home/.ssh/id", "hidden/token", "outside/file", "root/.git/HEAD", "root/.git/config"):
            (base / name).write_bytes(b"something")
        shutil.copy(attempts.__file__, base / "root" / "attempts.py")
        yield base
    finally:
        shutil.rmtree(base)


def _real(python: str) -> str:
    """The one that a virtual environment leads to."""
    return os.path.realpath(python)


@contextmanager
def _sleeper(marker: str, uid: int) -> Iterator[subprocess.Popen[bytes]]:
    user, groups = (uid, ()) if os.geteuid() == 0 else (None, None)
    with subprocess.Popen(["/bin/sleep", marker], user=user, group=user, extra_groups=groups) as process:
        try:
            yield process
        finally:
            process.kill()


async def _echo(listener: trio.socket.SocketType) -> None:
    while True:
        data, address = await listener.recvfrom(100)
        await listener.sendto(data, address)


@asynccontextmanager
async def _world(user: str) -> AsyncIterator[World]:
    program = _real(sys.executable if user == "root" else python())
    uid = ORDINARY_UID if user == "user" and os.geteuid() == 0 else os.geteuid()
    number = next(_numbers)
    marker = f"{number}.5"
    libc = ctypes.CDLL(None, use_errno=True)
    with ExitStack() as stack:
        base = stack.enter_context(_files())
        sleeper = stack.enter_context(_sleeper(marker, uid))
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        await udp.bind(("127.0.0.1", 0))
        for address in (f"{base}/home/socket", f"{base}/outside/socket", f"\0sandbox-test-{number}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(100)
        memory = libc.shmget(number, 1, 0o1666)
        stack.callback(libc.shmctl, memory, 0, None)
        names = {name: str(base / name) for name in ("home", "hidden", "outside", "root")}
        facts = {**names, "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1], "uid": uid, "pid": sleeper.pid}
        facts |= {"abstract": f"sandbox-test-{number}", "marker": marker, "shm": number}
        world = World(base, program, facts)
        async with trio.open_nursery() as echoing:
            echoing.start_soon(_echo, udp)
            yield world
            echoing.cancel_scope.cancel()


@pytest.fixture(params=["root", "user"])
def user(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "root" and os.geteuid() != 0:
        pytest.skip("needs: root")
    return name


async def _outside(user: str, world: World) -> dict[str, str]:
    """How the attempts go without a sandbox."""
    uid = world.facts["uid"]
    given: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}
    ended = await trio.run_process(world.argv(), capture_stdout=True, env=world.env, cwd=world.base / "root", **given)
    answer: dict[str, str] = json.loads(ended.stdout)
    return answer


@pytest.mark.spec("4.6-doctor-tells-truth", "4.6-write-outside-denied", "4.6-no-network", "4.6-secrets-hidden")
@pytest.mark.parametrize("profile", ["read-only", "workspace", "workspace-net"])
@pytest.mark.parametrize("variant", VARIANTS)
async def test_what_is_promised_is_denied_and_what_is_missing_is_not(user: str, variant: str, profile: str) -> None:
    if variant == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("needs: bubblewrap")
    async with _world(user) as world:
        world.restore()
        without = await _outside(user, world)
        allowed_to_root = {"name_the_host"} if world.facts["uid"] else set[str]()
        assert {name for name, answer in without.items() if answer != "done"} <= allowed_to_root, without
        world.restore()
        policy = {"profile": profile, "root": str(world.base / "root"), "hidden": [str(world.base / "hidden")]}
        env = {name: value for name, value in world.env.items() if name != "TMPDIR"}
        order = {"variant": variant, "argv": world.argv(), "env": env, "policy": policy}
        answer = await sandboxed.run_as(user, order)
        assert answer["code"] == 0, answer
        results: dict[str, str] = json.loads(answer["stdout"])
        depends = OTHERS if variant == "none" else set[str]()
        denied = {name for name, result in results.items() if result != "done"}
        assert denied - depends == _expected(answer["missing"], variant, profile), results


FORK = """
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError:
    pass
print(made)
"""
TAKE = "print(len(bytearray(512 << 20)))"


@pytest.mark.spec("4.6-limits", "4.6-doctor-tells-truth")
@pytest.mark.parametrize("variant", ["bubblewrap", "landlock", "none"])
async def test_the_limits_that_are_not_missing_hold(user: str, variant: str) -> None:
    if variant == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("needs: bubblewrap")
    async with _world(user) as world:
        world.restore()
        limits = {"processes": 20, "memory_bytes": 128 << 20}
        policy = {"profile": "workspace", "root": str(world.base / "root")}
        env = {name: value for name, value in world.env.items() if name != "TMPDIR"}
        order = {"variant": variant, "env": env, "policy": policy, "limits": limits}
        made = await sandboxed.run_as(user, order | {"argv": [world.python, "-I", "-S", "-c", FORK]})
        assert ("processes" in made["missing"]) == (int(made["stdout"]) == 200), made
        taken = await sandboxed.run_as(user, order | {"argv": [world.python, "-I", "-S", "-c", TAKE]})
        assert taken["stdout"] == ""
        assert taken["out_of_memory"] == taken["memory"].startswith("cgroup")
        assert taken["out_of_memory"] or "MemoryError" in taken["stderr"]
