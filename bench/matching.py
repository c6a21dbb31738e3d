"""What matchers cost a daemon, bad ones above all: how long one client's takes, and what the others notice.

    python bench/matching.py [--mib N]

A daemon in a process of its own. Over an entry of N MiB (10) one client runs matchers, a good one of each dialect
and patterns that backtrack without end; meanwhile another reads a short note again and again. Printed are the
status and the time of each matcher, and the other's slowest and median answer while it ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.daemons import DaemonProcess, PlainClient, environment, plain_client

MIB = 1024 * 1024


def contents(mib: int) -> dict[str, str]:
    """Texts of that size by path."""
    line = "word number {n}, and some more of the same kind to fill a line of text\n"
    lines = "".join(line.format(n=n) for n in range(mib * MIB // len(line)))
    items = json.dumps([{"id": n, "name": f"name {n}", "tags": ["a", "b"]} for n in range(mib * MIB // 85)], indent=1)
    elements = "".join(f"<item id='{n}'><name>name {n}</name></item>\n" for n in range(mib * MIB // 50))
    return {"text": lines, "data.json": items[: items.rindex("}") + 1] + "]", "page.xml": f"<list>\n{elements}</list>"}


GOOD = (
    ("text", "/number (\\d*77),/g"),
    ("text", "*number 777,*"),
    ("data.json", "$[?@.id == 777].name"),
    ("page.xml", "//item[@id='777']/name"),
)
BAD = (("text", "/(\\w+\\s?)+;;/"), ("text", "/(.*)(.*)(.*)(.*)!!/s"), ("page.xml", "//*[count(//*[count(//*)>0])>0]"))


async def ask(client: PlainClient, path: str, matcher: str) -> dict[str, Any]:
    return await client.call("op.read", target=f"known://{path}", matcher=matcher)


async def watched(reader: PlainClient, other: PlainClient, path: str, matcher: str) -> None:
    """Run the matcher while ``other`` reads, and print what both saw."""
    waits: list[float] = []
    async with trio.open_nursery() as clients:

        async def go_on() -> None:
            while True:
                started = time.perf_counter()
                await other.call("op.read", target="known://short")
                waits.append((time.perf_counter() - started) * 1000)

        clients.start_soon(go_on)
        started = time.perf_counter()
        result = await ask(reader, path, matcher)
        took = time.perf_counter() - started
        clients.cancel_scope.cancel()
    print(
        f"{result['status']} after {took:5.2f} s  {matcher:36} on {path:10}"
        f" others: {len(waits)} answers, median {statistics.median(waits):.1f} ms, slowest {max(waits):.1f} ms"
    )


async def measure(home: Path, mib: int) -> None:
    with DaemonProcess(environment(home)) as daemon:
        async with plain_client(daemon.url) as reader, plain_client(daemon.url) as writer:
            session = await reader.call("session.create", name="bench")
            await writer.call("session.attach", id=session["id"])
            for path, text in {**contents(mib), "short": "a note"}.items():
                await writer.call("op.edit", target=f"known://{path}", content=text)
            await ask(reader, "short", "/note/")  # the first worker starts
            for path, matcher in (*GOOD, *BAD):
                async with plain_client(daemon.url) as other:
                    await other.call("session.attach", id=session["id"])
                    await watched(reader, other, path, matcher)


def main() -> None:
    """Print a line for each matcher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=10)
    mib = parser.parse_args().mib
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), mib)


if __name__ == "__main__":
    main()
