"""What files cost: finding, reading, changing and showing them, and what others notice of it.

    python bench/files.py [--files N] [--reads N] [--edits N] [--turns N] [--mib N] [--rewrites N] [--only PART]

- find: N files (20,000) in directories of 20, in a git repository and in none: FIND of all names, of a glob, and with
  a regex over their content, at a daemon's client; and `find`, and `grep -rl`, on the same tree;
- read: N READs (300) of a file of 1 KiB at a daemon's client, against READs of a note of the same length;
- edit: N EDITs (300) of a file of 4 KiB, proposed and accepted at once by a standing approval, and accepted by a
  second client of a daemon; against a write, fsync, rename and fsync of the directory with the same content, done by
  turns with them; and what the accepted ones are made of;
- turns: a loop of N turns (150) with nothing, 50 and 500 files in its index that stay as they are;
- start: a daemon's start where a session has a project of N files, and where none has; what it has read by then;
- stalls: the longest wait of a task that only sleeps a millisecond at a time, while files of N MiB (90) are read,
  searched, changed and copied, and N files found;
- growth: memory and database after N accepted changes (1,000) of a file of 1 MiB, against after a quarter of them.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.parts import run_parts
from plurnk.engine.dispatch import Dispatcher
from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.rules.approvals import Approval
from plurnk.schemes import disk
from plurnk.store import approvals
from plurnk.store.database import Store
from plurnk.store.loops import Submission
from plurnk.store.query import integer
from plurnk.workers.pool import open_workers
from tests.support.commander import commander
from tests.support.daemons import DaemonProcess, environment, plain_client
from tests.support.engines import Bench, do, engine_with

MIB = 1024 * 1024
LINE = "a line of text, as there are many in the files of a project, number {}\n"


def text_of(size: int) -> str:
    lines = (LINE.format(number) for number in range(size // len(LINE) + 1))
    return "".join(lines)[:size]


def make_project(root: Path, files: int) -> None:
    """``files`` files of 1 KiB, one in a hundred with the word that is looked for."""
    content = text_of(1024)
    for number in range(files):
        path = root / f"part{number // 400}" / f"piece{number // 20}" / f"file{number}.py"
        if number % 20 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + ("needle" if number % 100 == 0 else ""))


def percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"


async def taken_s(action: Callable[[], Awaitable[Any]], times: int) -> list[float]:
    taken: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        await action()
        taken.append(time.perf_counter() - started)
    return taken


# -- find, read


def alone_s(argv: list[str], root: Path) -> float:
    """How long a program takes."""
    started = time.perf_counter()
    subprocess.run(argv, cwd=root, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


async def find(home: Path, files: int) -> None:
    for kind in ("no repository", "a git repository"):
        root = home / kind.replace(" ", "-")
        root.mkdir()
        make_project(root, files)
        if kind == "a git repository":
            alone_s(["git", "init", "-q", "."], root)
            (root / ".gitignore").write_text("*.o\nbuild/\n!keep.o\n")
        with DaemonProcess(environment(home)) as daemon:
            async with plain_client(daemon.url) as client:
                await client.call("session.create", projectRoot=str(root))
                for words, params in (
                    ("all names", {"scope": ""}),
                    ("*7.py", {"scope": "", "matcher": "*7.py"}),
                    ("/needle/", {"scope": "", "matcher": "/needle/"}),
                    ("/(needle|thread)$/", {"scope": "", "matcher": "/(needle|thread)$/"}),
                ):
                    result: dict[str, Any] = {}

                    async def ask(params: dict[str, str] = params, result: dict[str, Any] = result) -> None:
                        result |= await client.call("op.find", **params)

                    first, *later = await taken_s(ask, 6)
                    found = result.get("matches", result.get("error"))
                    median_ms = statistics.median(later) * 1000
                    print(f"{files} files, {kind}: FIND {words}: {result['status']}, {found}: {median_ms:.0f} ms")
                    print(f"  the first time {first * 1000:.0f} ms")
        for argv in (["find", ".", "-type", "f"], ["grep", "-rl", "needle", "."]):
            print(f"  {argv[0]} alone: {alone_s(argv, root) * 1000:.0f} ms")


async def read(home: Path, times: int) -> None:
    root = home / "work"
    root.mkdir()
    (root / "a.txt").write_text(text_of(1024))
    with DaemonProcess(environment(home)) as daemon:
        async with plain_client(daemon.url) as client:
            await client.call("session.create", projectRoot=str(root))
            await client.call("op.edit", target="known://a", content=text_of(1024))
            for target in ("a.txt", "known://a") * 2:
                taken = await taken_s(lambda target=target: client.call("op.read", target=target), times)
                print(f"READ of {target}, 1 KiB: {percentiles(taken)}")


# -- edit


class Stopwatch:
    """How long named parts took, each time."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.taken[name].append(time.perf_counter() - started)

    def on_thread(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            with self.of(name):
                return work(*args)

        return timed

    def waited(self, name: Callable[..., str], work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def timed(*args: Any, **more: Any) -> Any:
            with self.of(name(*args)):
                return await work(*args, **more)

        return timed


PARTS = {
    "Proposals._begin": "store: the proposal",
    "carry_out.<locals>.intend": "store: the intent, with what the file held",
    "carry_out.<locals>.<lambda>": "store: the answer",
    "_settle.<locals>.<lambda>": "store: what became of it",
    "_forget": "store: the intent is done with",
}


def _write_name(_store: Store, unit: Callable[..., Any]) -> str:
    name = getattr(getattr(unit, "func", unit), "__qualname__", "")
    return next((part for end, part in PARTS.items() if name.endswith(end)), "store: the turn")


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """What accepted changes of files are made of, for the length of the block."""
    watch = Stopwatch()
    places: list[tuple[Any, str, Any]] = [
        (disk, "_plan", watch.on_thread("disk: look where it is, compress what it holds", disk._plan)),  # noqa: SLF001
        (disk, "_apply", watch.on_thread("disk: write, fsync, exchange, fsync", disk._apply)),  # noqa: SLF001
        (disk, "_undo_or_finish", watch.on_thread("disk: take away what was there", disk._undo_or_finish)),  # noqa: SLF001
        (Dispatcher, "_effect", watch.waited(lambda *_: "work out what is to be done", Dispatcher._effect)),  # noqa: SLF001
        (Store, "write", watch.waited(_write_name, Store.write)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _timed in places]
    for owner, name, timed in places:
        setattr(owner, name, timed)
    try:
        yield watch
    finally:
        for owner, name, was in before:
            setattr(owner, name, was)


def plainly(path: Path, data: bytes) -> None:
    """Write a file as one does who wants it whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


async def approve_all(bench: Bench) -> None:
    await bench.engine.store.write(lambda tx: approvals.add(tx, bench.session.id, Approval(op="EDIT")))


async def edit(home: Path, times: int) -> None:
    root = home / "work"
    root.mkdir()
    content = text_of(4096)
    (root / "a.txt").write_text(content)
    plain: list[float] = []
    ours: list[float] = []
    async with engine_with(home / "e.db", (), project_root=root) as bench:
        await approve_all(bench)
        for number in range(times + 10):
            if number == 10:
                plain.clear(), ours.clear()
            started = time.perf_counter()
            plainly(root / "plain.txt", f"{number}\n{content}".encode())
            plain.append(time.perf_counter() - started)
            started = time.perf_counter()
            (result,) = await do(bench, f"<<EDIT(a.txt)<1>:{number}\n:EDIT")
            ours.append(time.perf_counter() - started)
            assert result.status == 200, result
        with watched() as watch:
            for number in range(times):
                await do(bench, f"<<EDIT(a.txt)<1>:again {number}\n:EDIT")
    by_client = await _accepted_by_client(home, root, times)
    print(f"write, fsync, rename, fsync of 4 KiB: {percentiles(plain)}")
    ratio = statistics.median(ours) / statistics.median(plain)
    print(f"EDIT of 4 KiB, accepted by a standing approval: {percentiles(ours)}, {ratio:.1f} times")
    ratio = statistics.median(by_client) / statistics.median(plain)
    print(f"EDIT of 4 KiB, accepted by a second client: {percentiles(by_client)}, {ratio:.1f} times")
    for name, taken in sorted(watch.taken.items()):
        print(f"  {name}: {percentiles(taken)}, {len(taken) / times:.0f} of each")


async def _accepted_by_client(home: Path, root: Path, times: int) -> list[float]:
    with DaemonProcess(environment(home)) as daemon:
        async with commander(daemon.url, root) as client:
            numbers = iter(range(times + 10))

            async def ask() -> None:
                content = f"by client {next(numbers)}\n"
                result = await client.asker.call("op.edit", target="a.txt", content=content, lineRange="1")
                assert result["status"] == 200, result

            return (await taken_s(ask, times + 10))[10:]


# -- turns, start


async def turns(home: Path, count: int) -> None:
    for indexed in (0, 50, 500, 0, 50, 500):
        folder = Path(tempfile.mkdtemp(dir=home))
        root = folder / "work"
        root.mkdir()
        make_project(root, indexed)
        await trio.sleep(2.5)  # what has just been changed is looked at again
        stamps: list[float] = []

        async def say(number: int, _request: GenerateRequest, stamps: list[float] = stamps) -> str:
            stamps.append(time.perf_counter())
            if number == 1:
                return "<<SHOW(**)::SHOW <<SEND[102]::SEND"
            if number > count:
                return "<<SEND[200]::SEND"
            note = number % 20
            return f"<<EDIT(known://n{note}):turn {number}:EDIT <<READ(known://n{note})::READ <<SEND[102]::SEND"

        async with (
            open_workers() as workers,
            engine_with(
                folder / "t.db",
                say,
                limits=Limits(max_turns=count + 2),
                project_root=root,
                workers=workers,
                preview_types=frozenset({"text/x-python"}),
            ) as bench,
        ):
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
            await bench.engine.loop_end(submitted.loop_id)
        settled = [later - sooner for sooner, later in itertools.pairwise(stamps[20:])]
        packet = len(str(bench.model.requests[-1].messages))
        print(f"{indexed} files in the index: {percentiles(settled)} a turn; a packet of {packet} characters")


def read_bytes(pid: int) -> int:
    """What a process has read, from wherever."""
    told = Path(f"/proc/{pid}/io").read_text("ascii")
    return int(told.split()[1])


async def start(home: Path, files: int) -> None:
    big, small = home / "big", home / "small"
    for root, count in ((big, files), (small, 1)):
        root.mkdir()
        make_project(root, count)
        state = home / f"{root.name}-state"
        with DaemonProcess(environment(state)) as daemon:
            async with plain_client(daemon.url) as client:
                await client.call("session.create", projectRoot=str(root))
                await client.call("op.show", target="part0/**")
    for root in (small, big):
        ready: list[float] = []
        read_by_then: list[int] = []
        for _ in range(8):
            started = time.perf_counter()
            with DaemonProcess(environment(home / f"{root.name}-state")) as daemon:
                ready.append(time.perf_counter() - started)
                read_by_then.append(read_bytes(daemon.pid))
                daemon.stop()
        count = files if root == big else 1
        median = statistics.median(ready[2:]) * 1000
        print(f"start, project of {count} files: ready after {median:.0f} ms, {min(read_by_then) / MIB:.2f} MiB read")


# -- stalls


class Ticker:
    """A task that asks for the processor every millisecond, and how late it got it at worst."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def tick(self) -> None:
        while True:
            started = time.perf_counter()
            await trio.sleep(0.001)
            self.worst_s = max(self.worst_s, time.perf_counter() - started - 0.001)


@asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    ticker = Ticker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ticker.tick)
        yield ticker
        nursery.cancel_scope.cancel()


async def stalls(home: Path, mib: int) -> None:
    root = home / "work"
    root.mkdir()
    make_project(root, 20_000)
    text = text_of(mib * MIB)
    (root / "long.txt").write_text(text)
    (root / "wide.txt").write_text("x" * (mib * MIB))
    (root / "noise.bin").write_bytes(random.Random(1).randbytes(mib * MIB))
    (root / "short.txt").write_text(text_of(400_000))
    (root / "lines.txt").write_text("".join(f"{number}\n" for number in range(50_000)))
    other = "".join(f"{number} another\n" for number in range(50_000))
    limits = Limits(match_timeout_s=30)
    async with (
        open_workers() as workers,
        engine_with(
            home / "s.db",
            (),
            project_root=root,
            workers=workers,
            limits=limits,
            preview_types=frozenset({"text/x-python"}),
        ) as bench,
    ):
        for op in ("EDIT", "COPY", "MOVE", "SEND"):
            await bench.engine.store.write(lambda tx, op=op: approvals.add(tx, bench.session.id, Approval(op=op)))
        for words, statement in (
            ("nothing", "<<READ(short.txt)<1>::READ"),
            ("FIND all names", "<<FIND(**)::FIND"),
            ("FIND /needle/", "<<FIND(**):/needle/:FIND"),
            ("READ a line in the middle", "<<READ(long.txt)<700000>::READ"),
            ("READ all", "<<READ(long.txt)::READ"),
            ("READ /regex/", "<<READ(long.txt):/number 77\\d*7$/:READ"),
            ("READ one long line", "<<READ(wide.txt)::READ"),
            ("EDIT one line", "<<EDIT(long.txt)<700000>:changed\n:EDIT"),
            ("EDIT its end", "<<EDIT(long.txt)<-1>:the end:EDIT"),
            ("EDIT one long line", "<<EDIT(wide.txt)<1>:short:EDIT"),
            ("EDIT all of 50,000 lines", f"<<EDIT(lines.txt):{other}:EDIT"),
            ("COPY to a file", "<<COPY(long.txt):copy.txt:COPY"),
            ("COPY bytes", "<<COPY(noise.bin):noise2.bin:COPY"),
            ("COPY to a note", "<<COPY(long.txt):known://copy:COPY"),
            ("MOVE", "<<MOVE(long.txt):moved.txt:MOVE"),
            ("SHOW 400 files", "<<SHOW(part1/**)::SHOW"),
            ("delete", "<<SEND[410](moved.txt)::SEND"),
        ):
            async with ticking() as ticker:
                started = time.perf_counter()
                (result,) = await do(bench, statement)
                took = time.perf_counter() - started
            said = f" {result.error}" if result.error else ""
            print(f"{words:28} {result.status} in {took:6.2f} s; worst stall {ticker.worst_s * 1000:6.1f} ms{said}")


# -- growth


def rss_mib() -> float:
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def size_of(database: Path) -> int:
    return sum(file.stat().st_size for file in database.parent.glob(f"{database.name}*"))


async def growth(home: Path, rewrites: int) -> None:
    root = home / "work"
    root.mkdir()
    noise = random.Random(1)
    lines = [f"{noise.randbytes(32).hex()}\n" for _ in range(MIB // 65)]
    (root / "a.txt").write_text("".join(lines))
    path = home / "g.db"
    async with engine_with(path, (), project_root=root) as bench:
        await approve_all(bench)
        store = bench.engine.store
        taken: list[float] = []
        for number in range(1, rewrites + 1):
            line = noise.randrange(len(lines)) + 1
            started = time.perf_counter()
            (result,) = await do(bench, f"<<EDIT(a.txt)<{line}>:{noise.randbytes(32).hex()}\n:EDIT")
            taken.append(time.perf_counter() - started)
            assert result.status == 200, result
            bench.ear.heard.clear()
            if number in {1, 100, rewrites // 4, rewrites // 2, rewrites}:
                kept = await store.read(lambda db: integer(db, "SELECT count(*) FROM file_versions"))
                held = await store.read(lambda db: integer(db, "SELECT sum(versions_bytes) FROM sessions"))
                size = size_of(path)
                last = statistics.median(taken[-100:]) * 1000
                print(
                    f"after {number} changes of 1 MiB: {rss_mib():.0f} MiB resident; {kept} versions,"
                    f" {held / MIB:.0f} MiB; files of the database {size / MIB:.0f} MiB; {last:.1f} ms each"
                )


if __name__ == "__main__":
    run_parts(
        __doc__,
        {
            "find": (find, "files", 20_000),
            "read": (read, "reads", 300),
            "edit": (edit, "edits", 300),
            "turns": (turns, "turns", 150),
            "start": (start, "files", 20_000),
            "stalls": (stalls, "mib", 90),
            "growth": (growth, "rewrites", 1000),
        },
    )
