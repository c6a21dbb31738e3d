"""A scheme whose entries are streams from the start: SEND[200] makes one, and the test says how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from plurnk.engine.limits import Limits
from plurnk.language.ast import Send
from plurnk.language.targets import entry_pathname
from plurnk.plugins.api import Call, ChannelSpec, Conclusion, Feed, Manifest, Unit
from plurnk.schemes.entries import EntryScheme
from plurnk.store import channels, entries, subscriptions
from plurnk.store.database import Tx
from plurnk.store.query import Snapshot, query
from plurnk.wire.notifications import LogEntry, LogEntryAdded, Notification, StreamConcluded
from plurnk.wire.results import OpResult
from tests.support.engines import SCHEMES, Bench, Say, engine_with


@dataclass(eq=False)
class Flow:
    """One stream: ``over`` is set with its ``conclusion``; ``let_go`` when its work was cancelled and may end."""

    over: trio.Event = field(default_factory=trio.Event)
    let_go: trio.Event = field(default_factory=trio.Event)
    conclusion: Conclusion = field(default_factory=lambda: Conclusion(status=200))
    cancelled: bool = False


class Brook(EntryScheme):
    """``brook://``; made new for each test. ``lingers``: what is cancelled ends only when the test lets it go."""

    def __init__(self, *, lingers: bool = False) -> None:
        super().__init__(
            Manifest(
                name="brook",
                channels={"out": ChannelSpec(mimetype="text/plain", orientation="tail")},
                default_channel="out",
                writable_by=frozenset({"model", "client"}),
            )
        )
        self.lingers = lingers
        self.flows: dict[str, Flow] = {}
        self.started = trio.Event()

    async def send(self, call: Call) -> OpResult | Unit:
        statement = call.statement
        assert isinstance(statement, Send)
        assert statement.target is not None
        if statement.signal != 200:
            return await super().send(call)
        pathname = entry_pathname(statement.target)
        self.flows[pathname] = Flow()
        self.started.set()

        def entry(tx: Tx) -> int:
            made = entries.create(tx, call.turn.session_id, "brook", pathname)
            channel = channels.create(tx.db, made.id, "out", "text/plain")
            entries.index(tx, call.turn.run_id, [channel.id])
            return made.id

        await call.streams.open(
            call.turn,
            entry,
            scheme="brook",
            handle=f"brook://{pathname}",
            channels=["out"],
            work=partial(self._flow, self.flows[pathname]),
        )
        return OpResult(status=200)

    async def _flow(self, flow: Flow, feed: Feed) -> Conclusion:
        try:
            for line in ("one\n", "two\n", "three\n"):
                await feed.append("out", line.encode())
            await flow.over.wait()
        except trio.Cancelled:
            flow.cancelled = True
            if self.lingers:
                with trio.move_on_after(30, shield=True):
                    await flow.let_go.wait()
            raise
        return flow.conclusion

    def end(self, pathname: str, conclusion: Conclusion | None = None) -> None:
        """Have the stream end, as it should unless it is said how."""
        flow = self.flows[pathname]
        flow.conclusion = conclusion or flow.conclusion
        flow.over.set()


@asynccontextmanager
async def brooks(
    path: Path, say: Say | Sequence[str], *, limits: Limits | None = None, lingers: bool = False
) -> AsyncIterator[tuple[Bench, Brook]]:
    brook = Brook(lingers=lingers)
    async with engine_with(path, say, limits=limits, schemes={**SCHEMES, "brook": brook}) as bench:
        yield bench, brook


def start(*pathnames: str) -> str:
    """Statements that start these streams."""
    return " ".join(f"<<SEND[200](brook://{pathname})::SEND" for pathname in pathnames)


def ends(bench: Bench) -> list[tuple[str, int]]:
    """The streams whose end was announced, in order: address and close status."""
    return [(n.target, n.close_status) for n in bench.ear.heard if isinstance(n, StreamConcluded)]


async def heard(bench: Bench, *methods: str) -> None:
    """Wait until so many notifications of these methods have been announced."""

    def there() -> bool:
        kinds = bench.ear.kinds()
        return all(kinds.count(method) >= methods.count(method) for method in methods)

    with trio.fail_after(30):
        while not there():  # noqa: ASYNC110 - a listener has no event for each thing that it may hear
            await trio.sleep(0.001)


async def turns_ended(bench: Bench, number: int) -> None:
    """Wait until the run has had so many turns that have ended."""
    with trio.fail_after(30):
        while (await _turns(bench)).count(True) < number:  # noqa: ASYNC110 - it is the store that is looked at
            await trio.sleep(0.001)


async def _turns(bench: Bench) -> list[bool]:
    """Whether each turn of the run has ended."""

    def unit(db: Snapshot) -> list[bool]:
        rows = query(
            db,
            "SELECT t.ended_at IS NOT NULL FROM turns t JOIN loops l ON l.id = t.loop_id WHERE l.run_id = ?"
            " AND l.origin = 'model' ORDER BY t.id",
            (bench.run.id,),
        )
        return [bool(ended) for (ended,) in rows]

    return await bench.engine.store.read(unit)


async def waits(bench: Bench) -> bool:
    """Tell whether the run's loop begins no turn though it is given every occasion to."""
    before = len(await _turns(bench))
    for _ in range(5):
        bench.engine.drive(bench.run.id)
        # The driver's look was submitted before the second of these, and a turn would be before the last.
        for _ in range(4):
            await bench.engine.store.write(lambda _tx: None)
    return len(await _turns(bench)) == before


def rows(bench: Bench) -> list[LogEntry]:
    return [n.entry for n in bench.ear.heard if isinstance(n, LogEntryAdded)]


def told(bench: Bench) -> list[tuple[str, str | None, int, str | None]]:
    """The lifecycle rows: coordinates, target, status and what went wrong."""
    return [
        (f"{row.loop_seq}/{row.turn_seq}/{row.sequence}", row.pathname, row.status_rx, row.rx.get("error"))
        for row in rows(bench)
        if (row.op, row.origin) == ("EXEC", "system")
    ]


async def live(bench: Bench) -> list[str]:
    """The handles of the run's streams that are live."""
    found = await bench.engine.store.read(lambda db: subscriptions.open_of_run(db, bench.run.id))
    return [row.handle for row in found]


def order(bench: Bench, *kinds: type[Notification]) -> list[str]:
    """The methods of what was announced, of these kinds only."""
    return [n.method for n in bench.ear.heard if isinstance(n, kinds)]
