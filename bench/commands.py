"""What commands cost: their output on its way into a channel, their start, and a hundred of them at once.

    python bench/commands.py [--mib N] [--starts N] [--streams N] [--lines N] [--idle N] [--only PART]

Everything in one run, so that the ratios count and not the machine:
- N MiB (90) from a command's stdout until they are committed in its channel, against the same command into
  `cat >/dev/null`, and against inserts of chunks of the same size into SQLite, one transaction a MiB;
- from start to exit of `true` in the sandbox (median of N, 60), against bubblewrap alone: with the same mounts,
  namespaces, environment and filter, and with the least; and against no sandbox;
- a line at a time, N (200) of them, each more than the 50 ms after the last that keep it from being held back: from
  the command's write until it is committed, and until a client has the event that tells of it;
- 10,000 lines a second for 5 s: how much of a processor the daemon takes, and how many events come;
- N commands (100) that say nothing: how much of a processor the daemon takes in 10 s of that;
- N streams (100) of 2 MiB at once, watched by two clients that read all of it: what is missing, and by how much the
  daemon's memory grew.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.parts import run_parts
from plurnk.plugins.streaming import Conclusion, Feed
from plurnk.store import channels, entries
from plurnk.store.channels import CHUNK_BYTES, Channel
from plurnk.store.database import Tx
from plurnk.streams.process import Terms, run_process
from plurnk.wire.notifications import Notification, StreamEvent
from sandbox import bubblewrap, seccomp, surroundings
from sandbox.environment import allowed
from sandbox.host import Host
from sandbox.policy import Command, Policy
from sandbox.probe import probe
from sandbox.spawn import open_process
from tests.support.commander import Commander, commander
from tests.support.daemons import DaemonProcess, PlainClient, environment, plain_client
from tests.support.sandbox import opened_fds
from tests.support.stores import new_session, opened
from tests.support.streams import basin

MIB = 1024 * 1024
STREAM_MIB = 2
LINES = "yes 'a line of output, as commands print them while they work' | head -c {n}"


def into_cat(size: int) -> float:
    """Seconds until ``cat`` has taken all of it."""
    started = time.perf_counter()
    subprocess.run(["sh", "-c", f"{LINES.format(n=size)} | cat >/dev/null"], check=True)
    return time.perf_counter() - started


async def into_sqlite(path: Path, size: int) -> float:
    """Seconds for the same bytes as chunk rows."""
    line = b"a line of output, as commands print them while they work\n"
    chunk = (line * (CHUNK_BYTES // len(line) + 1))[:CHUNK_BYTES]

    async with opened(path) as store:
        session, _run = await new_session(store)

        def make(tx: Tx) -> Channel:
            entry = entries.create(tx, session.id, "known", "raw")
            return channels.create(tx.db, entry.id, "body", "text/plain")

        channel = await store.write(make)

        def group(tx: Tx) -> Channel:
            grown = channel
            for _ in range(MIB // CHUNK_BYTES):
                grown = channels.append(tx.db, grown, chunk, tokens=CHUNK_BYTES // 4)
            return grown

        started = time.perf_counter()
        for _ in range(size // MIB):
            channel = await store.write(group)
        return time.perf_counter() - started


async def into_channel(client: Commander, size: int) -> float:
    """Seconds from the start of the command to the conclusion of its stream."""
    started = time.perf_counter()
    concluded, _channels = await client.run(LINES.format(n=size))
    took = time.perf_counter() - started
    assert concluded["stdoutBytes"] == size, concluded
    return took


async def output(home: Path, mib: int) -> None:
    size = mib * MIB
    into_cat(size)
    cat_s = min(into_cat(size) for _ in range(3))
    raw_s = await into_sqlite(home / "raw.db", size)
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, home) as client:
            await client.run("true")
            ours_s = min([await into_channel(client, size) for _ in range(3)])
    print(
        f"{mib} MiB: into cat {mib / cat_s:.0f} MiB/s, into SQLite {mib / raw_s:.0f}, into a channel {mib / ours_s:.0f}"
    )
    print(f"  a channel takes {ours_s / cat_s:.2f} times cat, {ours_s / raw_s:.2f} times raw inserts")


def plain_start(argv: list[str], passed: Sequence[int] = ()) -> float:
    """Seconds from start to exit, with pipes as ours has them."""
    pipe = subprocess.PIPE
    started = time.perf_counter()
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=passed) as child:
        assert child.wait() == 0
        return time.perf_counter() - started


def bare_start(command: Command, policy: Policy, host: Host) -> float:
    """Seconds with bubblewrap alone, told the same mounts, namespaces, environment and filter."""
    around = surroundings.look(policy, command.env)
    with opened_fds(seccomp.program(host.machine), None) as fds:
        told = bubblewrap.arguments(policy, command, around, fds=fds, version=host.bubblewrap_version)
        passed = [fd for fd in (fds.status, fds.script, fds.block, fds.seccomp) if fd is not None]
        return plain_start(["bwrap", *told, "--", *command.argv], passed)


async def starts(home: Path, times: int) -> None:
    host = await probe()
    policy = Policy(profile="workspace", root=str(home))
    command = Command(argv=("true",), cwd=str(home), env=allowed(os.environ))
    least = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    taken: list[tuple[float, ...]] = []
    for _ in range(times):
        started = time.perf_counter()
        async with open_process(command, policy, host) as process:
            assert (await process.wait()).code == 0
            ours = time.perf_counter() - started
        bare = bare_start(command, policy, host)
        taken.append((ours, bare, plain_start([*least, "true"]), plain_start(["true"])))
    ours_ms, bare_ms, least_ms, alone_ms = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
    slow_ms = statistics.quantiles([row[0] for row in taken], n=10)[-1] * 1000
    print(f"true: sandboxed {ours_ms:.1f} ms (90 % under {slow_ms:.1f}), alone {alone_ms:.1f} ms")
    print(f"  {ours_ms / bare_ms:.2f} times bare bubblewrap with the same mounts and filter, {bare_ms:.1f} ms")
    print(f"  {ours_ms / least_ms:.2f} times bubblewrap with no mounts but /, /dev and /proc, {least_ms:.1f} ms")


STAMPS = """import time
for _ in range({n}):
    time.sleep(0.06)
    print(time.time_ns(), flush=True)
"""
"""Lines of one length, each the moment at which it is written."""

LINES_A_SECOND = """import time
begun = time.monotonic()
for number in range(5000):
    for _ in range(10):
        print("a line of output, as commands print it", flush=True)
    time.sleep(max(0, begun + number / 1000 - time.monotonic()))
"""


def late_ms(stamps: bytes, seen: Sequence[tuple[int, int]]) -> str:
    """How late lines were seen, given at which length of the channel which moment was noted."""
    lines = stamps.splitlines(keepends=True)
    width = len(lines[0])
    # The event at the conclusion tells of the last line once more: the first to tell of a line counts.
    first = {length: at for length, at in reversed(seen) if length}
    taken = [(at - int(lines[length // width - 1])) / 1e6 for length, at in first.items()]
    cuts = statistics.quantiles(taken, n=100)
    return f"p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms ({len(taken)} of {len(lines)} lines)"


async def trickle(home: Path, lines: int) -> None:
    stamps = STAMPS.format(n=lines)
    committed: list[tuple[int, int]] = []

    def hear(told: Notification) -> None:
        if isinstance(told, StreamEvent) and told.channel == "stdout":
            committed.append((told.content_length, time.time_ns()))

    async def work(feed: Feed) -> Conclusion:
        command = Command(argv=(sys.executable, "-c", stamps), cwd=str(home), env=allowed(os.environ))
        policy = Policy(profile="workspace", root=str(home), writable=())
        async with open_process(command, policy, await probe()) as process:
            return await run_process(process, feed, Terms(timeout_s=None, kill_grace_s=1))

    async with basin(home / "committed.db", hear=hear) as streams:
        entry = await streams.command(work)
        await streams.ended(entry)
        print(f"a line: written to committed {late_ms((await streams.content(entry, 'stdout'))[1], committed)}")
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, home) as client:
            entry_name = (await client.exec(stamps, "python"))["entry"]
            seen: list[tuple[int, int]] = []
            while True:
                message = await client.asker.receive()
                now = time.time_ns()
                if message.get("method") == "stream/event" and message["params"]["channel"] == "stdout":
                    seen.append((message["params"]["contentLength"], now))
                if message.get("method") == "stream/concluded":
                    break
            content = (await client.channels(entry_name))["stdout"]["content"].encode()
    print(f"  written to told at a client {late_ms(content, seen)}")


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def many_lines(home: Path, _number: int) -> None:
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, home) as client:
            await client.run("true")
            before, started = cpu_s(daemon.pid), time.perf_counter()
            heard = len(client.asker.heard)
            concluded, _channels = await client.run(LINES_A_SECOND, "python")
            took, used = time.perf_counter() - started, cpu_s(daemon.pid) - before
            told = sum(message["method"] == "stream/event" for message in client.asker.heard[heard:])
    print(
        f"{50_000 / took:.0f} lines/s in {concluded['stdoutBytes']} bytes: {100 * used / took:.0f} % of a processor,"
        f" {told / took:.0f} events/s"
    )


async def idle(home: Path, commands: int) -> None:
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, home) as client:
            for _ in range(commands):
                await client.exec("exec sleep 1000")
            await trio.sleep(5)
            before = cpu_s(daemon.pid)
            await trio.sleep(10)
            used = cpu_s(daemon.pid) - before
    print(f"{commands} silent commands: {used / 10 * 100:.1f} % of a processor")


def rss_mib(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field)) / 1024


async def watch(client: PlainClient, targets: set[str]) -> int:
    """Wait for the end of all, then read them whole; how many bytes there are."""
    left = set(targets)
    for message in client.heard:
        if message["method"] == "stream/concluded":
            left.discard(message["params"]["target"])
    while left:
        left.discard((await client.hear_until("stream/concluded"))["target"])
    total = 0
    for target in targets:
        at = 0
        while True:
            answer = await client.call("entry.read", target=target, channel="stdout", **{"from": at})
            stdout = answer["entry"]["channels"]["stdout"]
            total += stdout["next"] - at
            at = stdout["next"]
            if at == stdout["length"]:
                break
    return total


async def crowd(home: Path, streams: int) -> None:
    size = STREAM_MIB * MIB
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, home) as client, plain_client(daemon.url) as other:
            await other.call("session.attach", id=client.session_id)
            await client.run("true")
            before = rss_mib(daemon.pid, "VmRSS")
            started = time.perf_counter()
            targets = {(await client.exec(f"sleep 1; {LINES.format(n=size)}"))["entry"] for _ in range(streams)}
            totals: list[int] = []
            async with trio.open_nursery() as watching:

                async def follow(watcher: PlainClient) -> None:
                    totals.append(await watch(watcher, targets))

                watching.start_soon(follow, client.asker)
                watching.start_soon(follow, other)
            took = time.perf_counter() - started
            after, peak = rss_mib(daemon.pid, "VmRSS"), rss_mib(daemon.pid, "VmHWM")
    missing = [streams * size - total for total in totals]
    print(f"{streams} streams, {streams * STREAM_MIB} MiB in {took:.1f} s; the clients lack {missing} bytes")
    print(f"  memory: {before:.0f} MiB before, {after:.0f} after, {peak:.0f} at most: grew by {peak - before:.0f} MiB")


if __name__ == "__main__":
    run_parts(
        __doc__,
        {
            "starts": (starts, "starts", 60),
            "output": (output, "mib", 90),
            "trickle": (trickle, "lines", 200),
            "lines": (many_lines, "lines", 200),
            "idle": (idle, "idle", 100),
            "crowd": (crowd, "streams", 100),
        },
    )
