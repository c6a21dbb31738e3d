"""Trees without a PID namespace: whatever a command's processes do, none is left when it is said that none is.

``scoped``: the supervisor kills the tree in one step, as Landlock lets its signals reach nothing else (version 6).
``walking``: it looks for the processes and stops them first.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from sandbox import limits as limiting
from sandbox import private, proc
from sandbox.host import GAPS, Host
from sandbox.landlock import SCOPES_ABI
from sandbox.limits import probe_limits
from sandbox.policy import Command, Limits, Policy, Profile
from sandbox.probe import probe
from sandbox.process import KILL_LIMIT_S, NotStarted, Process
from sandbox.spawn import open_process
from sandbox.supervised import Plan, open_supervised
from tests.support import processes, sandboxed
from tests.support.faults import AtStep, until_it_misses
from tests.support.sandboxed import survivors, until, until_gone

PYTHON: Final = os.path.realpath(sys.executable)
"""The one that a virtual environment leads to."""

LATE_S: Final = 1.0
"""What a busy machine may add to KILL_LIMIT_S."""

_RT_SIGACTION: Final = 13 if os.uname().machine == "x86_64" else 134

_numbers = itertools.count(os.getpid() * 1000)


@pytest.fixture
def marker() -> str:
    """An argument of sleep, that no other process has."""
    return f"{10**7 + next(_numbers)}.25"


@pytest.fixture(params=["scoped", "walking"])
async def host(request: pytest.FixtureRequest) -> Host:
    found = sandboxed.variant(await probe(), "landlock" if request.param == "scoped" else "landlock 5")
    if request.param == "scoped" and found.landlock_abi < SCOPES_ABI:
        pytest.skip("needs: Landlock 6")
    return found


@asynccontextmanager
async def _open(
    host: Host, root: Path, *argv: str, limits: Limits | None = None, profile: Profile = "workspace", **given: Any
) -> AsyncIterator[Process]:
    command = Command(argv=argv, cwd=given.pop("cwd", str(root)), env={"PATH": os.environ["PATH"]}, **given)
    policy = Policy(profile=profile, root=str(root), limits=limits or Limits())
    async with open_process(command, policy, host, accept=GAPS) as process:
        yield process


async def _line(process: Process) -> str:
    data = b""
    with trio.fail_after(30):
        while not data.endswith(b"\n"):
            got = await process.stdout.receive_some(100)
            assert got, await sandboxed.said(process)
            data += got
    return data.decode().strip()


@pytest.fixture(autouse=True)
def private_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where private directories are made, so that those of others are not seen."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


HOSTILE: Final = {
    "plain": "echo ready; exec sleep {m}",
    "ignores TERM": "trap '' TERM; echo ready; while :; do sleep {m}; done",
    "forks": "sleep {m} & sleep {m} & echo ready; wait",
    "new session": "setsid sleep {m} & echo ready; wait",
    "daemon": "(setsid sh -c 'trap \"\" TERM HUP; sleep {m} & wait' &) ; echo ready; sleep {m}",
    "nohup": "nohup setsid sleep {m} >/dev/null 2>&1 & echo ready; wait",
    "closes its pipes": "echo ready; exec sleep {m} <&- >&- 2>&-",
    "is stopped": "sleep {m} & kill -STOP $!; echo ready; kill -STOP $$",
}


@pytest.mark.spec("4.5-tree-is-gone", "4.5-bounded")
@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
async def test_of_a_hostile_tree_nothing_is_left(host: Host, tmp_path: Path, marker: str, script: str) -> None:
    async with _open(host, tmp_path, "sh", "-c", script.format(m=marker)) as process:
        assert await _line(process) == "ready"
        await until(lambda: survivors(marker), 30)
        began = trio.current_time()
        ended = await process.end(0.2)
        assert survivors(marker) == []
        assert process.pids() == ()
        assert trio.current_time() - began < 0.2 + KILL_LIMIT_S + LATE_S
        assert ended.signal in {"SIGTERM", "SIGKILL"}
        assert await process.end(0.2) == ended == await process.wait()


@pytest.mark.spec("4.5-tree-is-gone")
async def test_who_obeys_term_is_not_waited_for(host: Host, tmp_path: Path, marker: str) -> None:
    async with _open(host, tmp_path, "sh", "-c", f"sleep {marker} & echo ready; wait") as process:
        await _line(process)
        began = trio.current_time()
        await process.end(20)
        assert trio.current_time() - began < 5
    assert survivors(marker) == []


async def test_what_is_written_after_term_can_be_read_and_children_have_their_time(host: Host, tmp_path: Path) -> None:
    child = "trap 'sleep 0.2; echo child has cleaned up; exit' TERM; echo ready; while :; do sleep 0.01; done"
    async with _open(host, tmp_path, "sh", "-c", f"trap 'exit 7' TERM; ({child}) & wait") as process:
        await _line(process)
        ended = await process.end(20)
        assert (ended.code, ended.signal) == (7, None)
        assert (await sandboxed.said(process))[0] == "child has cleaned up\n"


@pytest.mark.spec("4.5-tree-is-gone")
@pytest.mark.parametrize("profile", ["workspace", "off"])
async def test_when_the_command_ends_so_does_what_it_left(
    host: Host, tmp_path: Path, marker: str, profile: Profile
) -> None:
    script = f"sleep {marker} & setsid sleep {marker} & (setsid sleep {marker} &) ; echo said; exit 3"
    async with _open(host, tmp_path, "sh", "-c", script, profile=profile) as process:
        with trio.fail_after(30):
            assert (await process.wait()).code == 3
        assert survivors(marker) == []
        assert await sandboxed.said(process) == ("said\n", "")


@pytest.mark.spec("4.5-tree-is-gone")
async def test_leaving_the_block_ends_the_tree(host: Host, tmp_path: Path, marker: str) -> None:
    async with _open(host, tmp_path, "sh", "-c", f"trap '' TERM; setsid sleep {marker} & echo ready; wait") as process:
        await _line(process)
        assert len(process.pids()) >= 2
        assert survivors(marker)
    assert survivors(marker) == []


@pytest.mark.spec("4.5-tree-is-gone", "4.6-limits")
async def test_a_fork_bomb_is_bounded_and_ended(host: Host, tmp_path: Path) -> None:
    if host.limits.processes == "none":
        pytest.skip("needs: a control group for processes")
    word = f"bomb-{next(_numbers)}"
    bomb = "import os, time\nprint('ready', flush=True)\nwhile 1:\n try: os.fork()\n except OSError: time.sleep(.01)"
    limits = Limits(processes=40)
    async with _open(host, tmp_path, PYTHON, "-I", "-S", "-c", bomb, word, limits=limits) as process:
        await _line(process)
        await until(lambda: len(process.pids()) >= 30, 30)
        assert len(process.pids()) <= 40
        began = trio.current_time()
        await process.end(0)
        assert trio.current_time() - began < KILL_LIMIT_S + LATE_S
    assert survivors(word) == []


@pytest.mark.spec("4.6-limits")
async def test_who_takes_more_memory_than_its_limit_is_ended_or_refused(host: Host, tmp_path: Path) -> None:
    take = "b = bytearray(512 << 20); print(len(b))"
    async with _open(host, tmp_path, PYTHON, "-I", "-S", "-c", take, limits=Limits(memory_bytes=96 << 20)) as process:
        said, complaint = await sandboxed.said(process)
        ended = await process.wait()
    assert said == ""
    if host.limits.memory.startswith("cgroup"):
        assert (ended.signal, ended.out_of_memory) == ("SIGKILL", True)
    else:
        assert "MemoryError" in complaint


async def test_without_control_groups_rlimits_hold_each_process(host: Host, tmp_path: Path) -> None:
    host = replace(host, maker=None, limits=limiting.report(None, is_root=os.geteuid() == 0))
    limits = Limits(memory_bytes=512 << 20, open_files=77, file_size_bytes=1 << 20)
    script = "ulimit -n -f -v -c; head -c 2097152 /dev/zero > big"
    async with _open(host, tmp_path, "bash", "-c", script, limits=limits) as process:
        said, complaint = await sandboxed.said(process)
        ended = await process.wait()
    assert [line.split()[-1] for line in said.splitlines()] == ["77", "1024", str(512 << 10), "0"]
    assert ended.code == 128 + signal.SIGXFSZ, complaint
    assert (tmp_path / "big").stat().st_size == 1 << 20


async def test_exit_status_and_signals_are_as_a_shell_has_them(host: Host, tmp_path: Path) -> None:
    for script, expected in (("exit 5", (5, None)), ("kill -SEGV $$", (139, "SIGSEGV")), ("kill -40 $$", (168, None))):
        async with _open(host, tmp_path, "sh", "-c", script) as process:
            ended = await process.wait()
            name = "SIGRTMIN+6" if ended.code == 168 else expected[1]
            assert (ended.code, ended.signal) == (expected[0], name)


async def test_a_command_starts_with_the_signals_that_programs_expect(host: Host, tmp_path: Path) -> None:
    with _ignored_by_libc():
        async with _open(host, tmp_path, "grep", "-E", "^Sig(Blk|Ign)|^NoNewPrivs", "/proc/self/status") as process:
            said, _ = await sandboxed.said(process)
    assert said.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "NoNewPrivs:", "1"]


@contextmanager
def _ignored_by_libc() -> Iterator[None]:
    """A signal of glibc's own is ignored, as its ``posix_spawn`` leaves it in what it spawns."""

    def handle(how: int) -> None:
        sigaction = struct.pack("4Q", how, 0, 0, 0)
        ctypes.CDLL(None).syscall(ctypes.c_long(_RT_SIGACTION), 32, sigaction, None, ctypes.c_size_t(8))

    handle(signal.SIG_IGN)
    try:
        ignored = re.search(r"SigIgn:\t(\w+)", Path("/proc/self/status").read_text("ascii"))
        assert ignored is not None
        assert int(ignored[1], 16) & 1 << 31
        yield
    finally:
        handle(signal.SIG_DFL)


async def test_it_gets_its_script_its_streams_and_no_other_descriptors(host: Host, tmp_path: Path) -> None:
    script = b"cat; stat -c %a $0; ls /proc/self/fd | wc -l; ls -A $HOME/.. | sort | tr '\\n' ' '"
    async with _open(host, tmp_path, "sh", script=script) as process:
        await process.stdin.send_all(b"hello\n")
        await process.stdin.aclose()
        said, complaint = await sandboxed.said(process)
        assert (await process.wait()).code == 0, complaint
    assert said.splitlines()[:2] == ["hello", "400"]
    assert said.splitlines()[2] == "4"  # the three, and the listing itself


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (["no-such-program"], None, "there is no such program"),
        (["/etc/passwd"], None, "Permission denied"),
        (["true"], "/no/such/directory", "working directory"),
    ],
)
async def test_what_cannot_be_started_says_why_and_leaves_nothing(
    host: Host, tmp_path: Path, private_parent: Path, *, argv: list[str], cwd: str | None, reason: str
) -> None:
    before = processes.open_files()
    with pytest.raises(NotStarted, match=reason):
        async with _open(host, tmp_path, *argv, cwd=cwd or str(tmp_path)):
            pytest.fail("it was started")
    assert processes.open_files() == before
    assert processes.children() == []
    assert _names(private_parent) == []


async def test_the_private_directory_goes_with_the_command_however_deep_it_is(
    host: Host, tmp_path: Path, private_parent: Path
) -> None:
    dig = "cd $TMPDIR; for i in $(seq 400); do mkdir -p a-rather-long-name && cd -P a-rather-long-name; done; chmod 0 ."
    async with _open(host, tmp_path, "sh", "-c", f"{dig}; echo $TMPDIR") as process:
        assert (await _line(process)).startswith(f"{private_parent}/sandbox-")
        await process.wait()
        (name,) = _names(private_parent)
        assert (private_parent / name).stat().st_mode & 0o777 == 0o700
    assert _names(private_parent) == []


@pytest.mark.spec("4.5-tree-is-gone")
async def test_cancelled_at_any_step_nothing_is_left(
    host: Host, tmp_path: Path, private_parent: Path, marker: str
) -> None:
    before = processes.open_files()

    async def attempt(number: int) -> bool:
        async with trio.open_nursery() as nursery:
            task_name = f"victim-{number}"

            async def victim() -> None:
                async with _open(host, tmp_path, "sh", "-c", f"setsid sleep {marker} & echo ready") as process:
                    await _line(process)
                    await process.end(0.05)

            at_step = AtStep(number, lambda task: task.name == task_name, nursery.cancel_scope.cancel)
            trio.lowlevel.add_instrument(at_step)
            nursery.start_soon(victim, name=task_name)
        trio.lowlevel.remove_instrument(at_step)
        assert survivors(marker) == []
        assert processes.children() == []
        return at_step.happened

    await until_it_misses(attempt, at_least=10)
    await _settled()
    assert processes.open_files() == before
    assert _names(private_parent) == []
    assert _groups(host) == []


async def _settled() -> None:
    """Until the private directories that a cancelled block had no time for are removed by their threads."""
    await until(lambda: not trio.to_thread.current_default_thread_limiter().borrowed_tokens, 10)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _groups(host: Host) -> list[Path]:
    bases = host.maker.bases if host.maker else ()
    return [found for base in bases for found in base.directory.glob(f"*-{os.getpid()}.*")]


@pytest.mark.spec("4.5-tree-is-gone")
async def test_cancelled_at_random_moments_nothing_is_left(host: Host, tmp_path: Path, marker: str) -> None:
    before = processes.open_files()
    chance = random.Random(4519)
    for _ in range(60):
        with trio.move_on_after(chance.uniform(0, 0.06)):
            async with _open(host, tmp_path, "sh", "-c", f"trap '' TERM; setsid sleep {marker} & wait") as process:
                await process.wait()
        assert survivors(marker) == []
        assert processes.children() == []
    assert processes.open_files() == before


async def test_two_who_wait_and_two_who_end_are_all_answered(host: Host, tmp_path: Path, marker: str) -> None:
    answers: list[object] = []
    async with _open(
        host, tmp_path, "sh", "-c", f"trap '' TERM; echo ready; while :; do sleep {marker}; done"
    ) as process:
        await _line(process)

        async def answer(how: str) -> None:
            answers.append(await (process.wait() if how == "wait" else process.end(0.1)))

        async with trio.open_nursery() as nursery:
            for how in ("wait", "end", "wait", "end"):
                nursery.start_soon(answer, how)
    assert len(answers) == 4
    assert len(set(map(repr, answers))) == 1


def _daemon(program: str, temporary: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], env={"TMPDIR": str(temporary)})


@pytest.mark.spec("4.5-die-with-daemon")
async def test_if_whoever_started_it_is_killed_so_is_the_tree(
    tmp_path: Path, private_parent: Path, marker: str
) -> None:
    script = f"setsid sleep {marker} & (setsid sleep {marker} &) ; trap '' TERM; sleep {marker} & echo $TMPDIR; wait"
    starter = textwrap.dedent(
        f"""
        import sys, trio
        sys.path.append({str(sandboxed.ROOT)!r})
        from tests.support import sandboxed
        trio.run(sandboxed.run, {{"variant": "landlock", "argv": ["sh", "-c", {script!r}],
            "env": {{"PATH": "/usr/bin:/bin"}}, "policy": {{"profile": "workspace", "root": {str(tmp_path)!r}}}}})
        """
    )
    with _daemon(starter, private_parent) as daemon:
        await until(lambda: len(survivors(marker)) >= 4, 30)
        assert _names(private_parent)
        daemon.kill()
    await until_gone(marker, 2)
    await until(lambda: not _names(private_parent), 2)


async def test_if_the_supervisor_is_killed_the_command_is_too(tmp_path: Path, marker: str) -> None:
    maker, _ = await trio.to_thread.run_sync(probe_limits)
    plan = Plan(argv=("sleep", marker), cwd=str(tmp_path), env={"PATH": "/usr/bin:/bin"})
    async with open_supervised(lambda: plan, limits=Limits(), maker=maker) as process:
        (pid,) = process.pids()
        parent = proc.stat(pid)
        assert parent is not None
        os.kill(parent.parent, signal.SIGKILL)
        assert (await process.wait()).signal == "SIGKILL"
        await until_gone(marker, 2)


@pytest.mark.spec("4.5-tree-is-gone")
@pytest.mark.parametrize("profile", ["workspace", "off"])
async def test_a_command_cannot_kill_its_supervisor(tmp_path: Path, profile: Profile) -> None:
    host = sandboxed.variant(await probe(), "landlock")
    if host.landlock_abi < SCOPES_ABI:
        pytest.skip("needs: Landlock 6")
    async with _open(host, tmp_path, "sh", "-c", "kill -KILL $PPID; echo $?", profile=profile) as process:
        said, _ = await sandboxed.said(process)
        assert (await process.wait()).code == 0
    assert said == "1\n"


def test_the_supervisor_starts_without_what_it_does_not_need() -> None:
    program = "import sys; sys.path.append(sys.argv[1]); import sandbox.supervisor; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(sandboxed.ROOT)], check=True, capture_output=True, text=True
    )
    assert not {"asyncio", "dataclasses", "enum", "json", "pathlib", "re", "signal", "trio", "typing"}.intersection(
        ended.stdout.split()
    )


def test_a_directory_that_cannot_be_filled_is_not_left(private_parent: Path) -> None:
    with pytest.raises(OSError, match="File exists"):
        private.make(str(private_parent), links={"a": "/x", "a/b": "/y"}, script=None)
    assert _names(private_parent) == []
