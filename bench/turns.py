"""What a turn costs besides the model: loops of turns with three operations, and a provider that answers at once.

    python bench/turns.py [--turns N]

Everything is real but the provider: engine, store on disk, packets, log, events to two listeners.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.store.loops import Submission
from tests.support.engines import Ear, engine_with


async def measure(path: Path, turns: int) -> None:
    """Run one loop and print what the turns took, first and last tenth apart."""
    stamps: list[float] = []

    async def say(number: int, _request: GenerateRequest) -> str:
        stamps.append(time.perf_counter())
        if number > turns:
            return "<<SEND[200]::SEND"
        note = number % 20
        return f"<<EDIT(known://n{note}):turn {number}:EDIT <<READ(known://n{note})::READ <<SEND[102]::SEND"

    async with engine_with(path, say, limits=Limits(max_turns=turns + 2)) as bench:
        bench.engine.bus.join(Ear(), bench.session.id)
        started = time.perf_counter()
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await bench.engine.loop_end(submitted.loop_id)
        total = time.perf_counter() - started
    tenth = max(1, turns // 10)
    first = (stamps[tenth] - stamps[0]) / tenth * 1000
    last = (stamps[-1] - stamps[-1 - tenth]) / tenth * 1000
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{turns:6} turns: {total / turns * 1000:6.2f} ms each; first tenth {first:.2f}, last tenth {last:.2f};"
        f" {memory_mb:.0f} MiB resident at most"
    )


def main() -> None:
    """Print a line for each length of loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=300)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as folder:
        for length in (max(10, turns // 10), turns):
            trio.run(measure, Path(folder) / f"{length}.db", length)


if __name__ == "__main__":
    main()
