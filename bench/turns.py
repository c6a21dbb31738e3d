"""What a turn costs besides the model, and how much of a packet the model has seen before.

    python bench/turns.py [--turns N] [--only turns] [--only prefix]

Everything is real but the provider: engine, store on disk, packets, log, events to a listener.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.parts import run_parts
from plurnk import resources
from plurnk.engine.limits import Limits
from plurnk.engine.packets import Built, PacketMaker, Papers
from plurnk.engine.run_texts import RunTexts
from plurnk.plugins.api import GenerateRequest
from plurnk.store.loops import Submission
from tests.support.engines import Bench, Ear, Say, do, engine_with

NO_STRIKES = Limits(max_turns=100_000, max_strikes=0)
PREFIX_TURNS = 30


def resident_mib() -> float:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def timed(build: Callable[..., Built | RunTexts], took_s: list[float]) -> Callable[..., Built | RunTexts]:
    """``build``, which notes how long it takes."""

    def timing(*arguments: object, **begun: object) -> Built | RunTexts:
        began = time.perf_counter()
        try:
            return build(*arguments, **begun)
        finally:
            took_s.append(time.perf_counter() - began)

    return timing


async def finish(bench: Bench) -> None:
    """Run one prompt to its end."""
    submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
    await bench.engine.loop_end(submitted.loop_id)


def mean_ms(took_s: list[float]) -> float:
    return sum(took_s) / len(took_s) * 1000


async def loop_of(path: Path, turns: int) -> None:
    """A loop of turns with three operations: what a turn takes, early and late, and what is left on disk."""
    stamps: list[float] = []
    builds: list[float] = []
    resident: list[float] = []
    benches: list[Bench] = []

    async def say(_number: int, _request: GenerateRequest) -> str:
        stamps.append(time.perf_counter())
        resident.append(resident_mib())
        benches[0].model.requests.clear()  # or all packets are in memory at the end
        benches[0].ear.heard.clear()
        number = len(stamps)
        if number > turns:
            return "<<SEND[200]::SEND"
        note = number % 20
        return f"<<EDIT(known://n{note}):turn {number}:EDIT <<READ(known://n{note})::READ <<SEND[102]::SEND"

    build, PacketMaker.build = PacketMaker.build, timed(PacketMaker.build, builds)  # type: ignore[method-assign]  # to time it
    try:
        async with engine_with(path, say, limits=NO_STRIKES) as bench:
            benches.append(bench)
            bench.engine.bus.join(Ear(), bench.session.id)
            await finish(bench)
    finally:
        PacketMaker.build = build  # type: ignore[method-assign]
    tenth = max(1, turns // 10)
    took = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    size_bytes = (await trio.Path(path).stat()).st_size
    print(
        f"{turns:6} turns: {mean_ms(took):6.2f} ms each; first tenth {mean_ms(took[:tenth]):.2f},"
        f" last tenth {mean_ms(took[-tenth:]):.2f}; of that the packet {mean_ms(builds[:tenth]):.2f},"
        f" {mean_ms(builds[-tenth:]):.2f}; memory {resident[tenth]:.0f} to {resident[-1]:.0f} MiB;"
        f" database {size_bytes / 2**20:.1f} MiB"
    )


async def turns(folder: Path, count: int) -> None:
    """A tenth of that many turns, and all of them."""
    for length in (max(10, count // 10), count):
        await loop_of(folder / f"{length}.db", length)


def worker(lines: int, *, writes: bool) -> Say:
    """A model that reads so many lines of a long note in each turn, and may add one to a short note."""

    async def say(number: int, _request: GenerateRequest) -> str:
        if number > PREFIX_TURNS:
            return "<<SEND[200]::SEND"
        writing = f"<<EDIT(known://n{number % 3 + 1})<-1>:what was learned in turn {number}:EDIT " if writes else ""
        return f"{writing}<<READ(known://n0)<{number * 100}-{number * 100 + lines - 1}>::READ"

    return say


def shared_chars(pair: tuple[str, str]) -> int:
    """How far two texts begin alike."""
    one, other = pair
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(map(len, pair)))


async def prefix(folder: Path, _count: int) -> None:
    """How much of the packets of 30 turns a prefix cache has seen in the turn before, by characters.

    The index has ten notes, of which those that are written to change.
    """
    papers = Papers(resources.language_card(), resources.persona())
    long = "".join(
        f"{number}: a line of a text that is about as long as lines of texts are\n" for number in range(4000)
    )
    for lines, writes in ((5, False), (5, True), (80, False), (80, True)):
        kind = f"reads {lines} lines{' and writes' if writes else ''}"
        say = worker(lines, writes=writes)
        async with engine_with(folder / f"{kind}.db", say, limits=NO_STRIKES, papers=papers) as bench:
            notes = "".join(f"<<EDIT(known://n{n}):{long if n == 0 else f'note {n} ' * 40}:EDIT " for n in range(10))
            await do(bench, notes)
            await finish(bench)
            texts = ["".join(message.content for message in request.messages) for request in bench.model.requests]
        total = sum(map(len, texts[1:]))
        seen = sum(map(shared_chars, itertools.pairwise(texts)))
        print(f"{kind:25} {seen * 100 / total:5.1f} % of {total} characters; the last packet has {len(texts[-1])}")


if __name__ == "__main__":
    run_parts(__doc__, {"turns": (turns, "turns", 1000), "prefix": (prefix, "turns", 1000)})
