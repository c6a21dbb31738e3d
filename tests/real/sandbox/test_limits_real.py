"""Limits hold on this machine as the report says that they do."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from sandbox.cgroups import Maker, probe
from sandbox.limits import probe_limits, report
from sandbox.policy import Limits
from sandbox.process import Exit
from tests.support.trees import groups, line, new_mark, open_tree, rest

MIB = 1024**2

# With a group here, if there can be one, and without.
EVERYWHERE: Sequence[Maker | None] = [*([found] if (found := probe()) else []), None]


async def run(script: str, limits: Limits, maker: Maker | None, *, program: str = "python3") -> tuple[str, Exit]:
    async with open_tree(new_mark(), program, "-c", script, maker=maker, limits=limits) as process:
        return await rest(process), await process.wait()


@pytest.mark.spec("4.6-limits")
@pytest.mark.parametrize("maker", EVERYWHERE)
@pytest.mark.parametrize(("limit_mib", "wanted_mib"), [(64, 256), (256, 2048)])
async def test_memory(maker: Maker | None, limit_mib: int, wanted_mib: int) -> None:
    script = "import sys; print('ready', flush=True); held = bytearray({} * 1024**2); print(len(held))"
    limits = Limits(memory_bytes=limit_mib * MIB)
    assert await run(script.format(4), limits, maker) == (f"ready\n{4 * MIB}\n", Exit(code=0))
    said, exit_ = await run(script.format(wanted_mib), limits, maker)
    assert said == "ready\n"
    if report(maker, is_root=True).memory.startswith("cgroup"):
        assert exit_ == Exit(code=137, signal="SIGKILL", out_of_memory=True)
    else:
        assert exit_ == Exit(code=1)  # MemoryError


@pytest.mark.spec("4.6-limits")
async def test_memory_is_of_all_processes_together_where_there_is_a_group() -> None:
    maker = probe()
    script = (
        "import os, signal, time\nsignal.signal(17, signal.SIG_DFL)\nheld = []\n"
        "for _ in range(8):\n    r, w = os.pipe()\n"
        "    if os.fork() == 0:\n        held.append(bytearray(16 * 1024**2)); os.write(w, b'x'); time.sleep(1000)\n"
        "    os.close(w); print(len(os.read(r, 1)), flush=True)"
    )
    said, exit_ = await run(script, Limits(memory_bytes=64 * MIB), maker)
    if report(maker, is_root=True).memory.startswith("cgroup"):
        assert exit_.out_of_memory
    else:
        assert exit_ == Exit(code=0)
        assert said == "1\n" * 8


@pytest.mark.spec("4.6-limits")
@pytest.mark.parametrize("maker", EVERYWHERE)
async def test_processes(maker: Maker | None) -> None:
    script = (
        "import os, time\nmade = 0\ntry:\n    for _ in range(60):\n        if os.fork() == 0:\n"
        "            time.sleep(1000)\n        made += 1\nexcept BlockingIOError:\n    pass\nprint(made)"
    )
    said, exit_ = await run(script, Limits(processes=20), maker)
    held = report(maker, is_root=os.geteuid() == 0).processes != "none"
    assert exit_ == Exit(code=0)
    assert (int(said) < 20) if held else (int(said) == 60)


@pytest.mark.spec("4.6-limits")
@pytest.mark.parametrize("maker", EVERYWHERE)
async def test_files(maker: Maker | None) -> None:
    limits = Limits(open_files=50, file_size_bytes=MIB)
    script = (
        "import os, resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopened = 0\n"
        "try:\n    while True:\n        os.open('/dev/null', 0); opened += 1\nexcept OSError: pass\n"
        "os.close(5)\nprint(opened)\n"
        "with open('/tmp/big', 'wb', 0) as big:\n    try:\n        for _ in range(3): big.write(bytes(2**19))\n"
        "    except OSError as error: print(error.strerror, big.tell())\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    said, exit_ = await run(script, limits, maker)
    assert exit_ == Exit(code=0)
    assert said == f"{50 - 3}\nFile too large {MIB}\n(0, 0)\n"


@pytest.mark.spec("4.6-limits")
async def test_a_command_cannot_raise_its_limits() -> None:
    assert await run("ulimit -n 10", Limits(), None, program="sh") == ("", Exit(code=0))
    assert (await run("ulimit -n 2000", Limits(), None, program="sh"))[1] == Exit(code=2)


@pytest.mark.spec("4.6-limits")
@pytest.mark.parametrize("maker", EVERYWHERE)
async def test_the_first_process_of_a_command_is_within_its_limits(maker: Maker | None) -> None:
    async with open_tree(
        new_mark(), "sh", "-c", "ulimit -n; cat", limits=Limits(open_files=77), maker=maker
    ) as process:
        assert await line(process) == "77\n"
        if maker is not None:
            (name,) = set(groups(maker))
            held = {pid for base in maker.bases for pid in (base.directory / name / "cgroup.procs").read_text().split()}
            assert {str(pid) for pid in process.pids()} < held
    assert groups(maker) == []


@pytest.mark.spec("4.6-limits")
def test_a_probe_leaves_nothing() -> None:
    maker, _ = probe_limits()
    assert groups(maker) == []
