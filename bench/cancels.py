"""How fast a loop is gone whose provider is at work: from the cancel to the provider's closed socket, and to its end.

    python bench/cancels.py [--loops N]

Daemon, wire, store and sockets are real, all in one process: the time runs from the moment that the client sends
``loop.cancel``. The provider has said the beginning of its answer and stalls.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.daemons import plain_client, running, settings_in
from tests.support.llm_server import Answer
from tests.support.openai_server import open_openai_server


async def take_time(event: trio.Event, since: float, times_ms: list[float]) -> None:
    """Add how long it is since then when the event comes."""
    await event.wait()
    times_ms.append((time.perf_counter() - since) * 1000)


async def measure(folder: Path, loops: int) -> None:
    """Cancel one loop after the other, and print how long it took."""
    closed_ms: list[float] = []
    ended_ms: list[float] = []
    stalls = Answer("never said whole", failure="stall", fail_after=2)
    async with open_openai_server([stalls], repeat=True) as server:
        model = {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "openai/m", "OPENAI_BASE_URL": server.base_url}
        async with running(settings_in(folder, **model)) as url, plain_client(url) as client:
            await client.call("session.create")
            for number in range(loops):
                await client.call("loop.run", prompt="x", wait=False)
                request = await server.request(number)
                asked_at = time.perf_counter()
                async with trio.open_nursery() as both:
                    both.start_soon(take_time, request.gone, asked_at, closed_ms)
                    await client.call("loop.cancel")
                    ended_ms.append((time.perf_counter() - asked_at) * 1000)
    for what, times in (("the provider's socket is closed", closed_ms), ("the loop has ended, and says so", ended_ms)):
        print(f"{what:32}: p50 {statistics.median(times):5.1f} ms, at most {max(times):5.1f} ms of {loops}")


def main() -> None:
    """Print a line for the socket, and one for the loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), options.loops)


if __name__ == "__main__":
    main()
