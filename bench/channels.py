"""What a long channel costs: appending to it, and reading lines of it, against a short one in the same run.

    python bench/channels.py [--mib N] [--one-by-one]

A channel of N MiB (100) and one of 1 MiB are written in chunks of 4 KiB, 64 chunks a transaction, as the writer
gathers them under load; ``--one-by-one`` commits each alone. Then the same lines are read from both: the last 100,
and 100 in the middle. Each figure is the median of several, and the ratio of long to short is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from plurnk.language.ast import LineMarker
from plurnk.schemes import reading
from plurnk.store import channels, entries
from plurnk.store.channels import Channel
from plurnk.store.database import Store, Tx
from plurnk.store.query import Snapshot
from plurnk.wire.results import OpResult
from tests.support.stores import new_session, opened

CHUNK_BYTES = 4096
GROUP = 64
MIB = 1024 * 1024
READS = 200


def chunk(number: int) -> bytes:
    """A chunk of whole lines that all differ."""
    lines = b"".join(b"chunk %08d line %02d: what a command prints while it works\n" % (number, n) for n in range(60))
    return lines[: CHUNK_BYTES - 1] + b"\n"


async def write(store: Store, session_id: int, name: str, size_bytes: int, group: int) -> tuple[Channel, float]:
    """A new channel of that size, and the seconds it took."""

    def make(tx: Tx) -> Channel:
        entry = entries.create(tx, session_id, "known", name)
        return channels.create(tx.db, entry.id, "body", "text/plain")

    def append(channel: Channel, first: int, tx: Tx) -> Channel:
        for number in range(first, first + group):
            channel = channels.append(tx.db, channel, chunk(number), tokens=CHUNK_BYTES // 4)
        return channel

    channel = await store.write(make)
    started = time.perf_counter()
    for first in range(0, size_bytes // CHUNK_BYTES, group):
        channel = await store.write(partial(append, channel, first))
    return channel, time.perf_counter() - started


def read(channel: Channel, first: int, db: Snapshot) -> OpResult:
    """What READ <first-first+99> does on the reader thread."""
    marker = LineMarker(first=first, last=first + 99)
    found = channels.find(db, channel.entry_id, channel.name)
    assert found is not None
    return reading.read(reading.ChannelSource(db, found), marker, max_chars=262_144)


async def median_s(action: Callable[[], Awaitable[object]], times: int) -> float:
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        await action()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def measure(path: Path, mib: int, group: int) -> None:
    async with opened(path) as store:
        session, _run = await new_session(store)
        shorts = [await write(store, session.id, f"short-{n}", MIB, group) for n in range(40)]
        long, long_s = await write(store, session.id, "long", mib * MIB, group)
        short, short_s = shorts[0][0], statistics.fmean(seconds for _, seconds in shorts)
        print(
            f"append, {group} chunks a transaction: 1 MiB {1 / short_s:.0f} MiB/s, {mib} MiB {mib / long_s:.0f} MiB/s"
        )
        print(f"  per byte {mib} MiB costs {long_s / mib / short_s:.2f} times 1 MiB (mean of {len(shorts)})")
        for where, at in (("the last 100 lines", 1.0), ("100 lines in the middle", 0.5)):
            cost = [
                await median_s(partial(store.read, partial(read, c, int((c.lines - 99) * at))), READS)
                for c in (short, long)
            ]
            print(f"READ of {where}: {cost[0] * 1e3:.3f} ms of 1 MiB, {cost[1] * 1e3:.3f} ms of {mib} MiB")
            print(f"  {cost[1] / cost[0]:.2f} times")


def main() -> None:
    """Print costs and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--one-by-one", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder) / "bench.db", options.mib, 1 if options.one_by_one else GROUP)


if __name__ == "__main__":
    main()
