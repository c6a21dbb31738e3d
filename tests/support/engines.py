"""A whole engine on a real store, with a model that says what the test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import trio

from plurnk.engine.bus import Bus, Event
from plurnk.engine.clients import ClientLoop
from plurnk.engine.engine import Engine, open_engine
from plurnk.engine.limits import Limits
from plurnk.engine.models import Models, has_alias
from plurnk.engine.packets import Papers
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import StatementItem
from plurnk.language.parser import parse
from plurnk.plugins.api import Commands, Completion, Delta, GenerateRequest, ProviderSettings, Scheme, Usage, Workers
from plurnk.plugins.registry import ProviderPlugins
from plurnk.schemes.exec import exec_
from plurnk.schemes.files import file
from plurnk.schemes.log import log
from plurnk.schemes.notes import known, plurnk, skill, unknown
from plurnk.store import channels, entries, sessions
from plurnk.store.database import Tx
from plurnk.store.sessions import Run, Session
from plurnk.store.wakes import WakeRules
from plurnk.streams.live import open_streams
from plurnk.wire.notifications import Notification
from plurnk.wire.results import OpResult
from tests.support.commands import FakeCommands
from tests.support.stores import new_session, opened
from tests.support.workers import InlineWorkers

SCHEMES: dict[str, Scheme] = {s.manifest.name: s for s in (known, unknown, skill, plurnk, log, exec_, file)}

PAPERS = Papers("the card", "the persona")

Say = Callable[[int, GenerateRequest], Awaitable[str]]
"""Given the number of the call, from 1, and the request: what the model answers."""


class FakeModel:
    """A provider whose answers come from ``say``; raises what ``say`` raises."""

    contract_version = 1
    uses_http = False
    model = "fake"

    def __init__(self, say: Say | Sequence[str], context_size: int | None = None) -> None:
        self.requests: list[GenerateRequest] = []
        self.asked = trio.Event()
        self.context_size = context_size
        self._say = say

    def __call__(self, _settings: ProviderSettings) -> FakeModel:
        return self

    def count_tokens(self, text: str) -> int:
        return (len(text) + 3) // 4

    def cost_for(self, usage: Usage) -> int:
        return usage.prompt + 10 * usage.completion

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        self.requests.append(request)
        self.asked.set()
        text = await self._answer(request)

        async def deltas() -> AsyncIterator[Delta | Completion]:
            for start in range(0, len(text), 7):
                yield Delta(kind="content", text=text[start : start + 7])
            yield Completion(content=text, usage=Usage(prompt=100, completion=10), model="fake-1")

        yield deltas()

    async def _answer(self, request: GenerateRequest) -> str:
        if callable(self._say):
            return await self._say(len(self.requests), request)
        if len(self.requests) > len(self._say):
            raise UpstreamFailed("the script has ended")
        return self._say[len(self.requests) - 1]


class Plugins:
    """Installed providers, of which there is one."""

    def __init__(self, model: FakeModel) -> None:
        self._model = model

    def factory(self, _name: str) -> FakeModel:
        return self._model


@dataclass(eq=False)
class Ear:
    """A listener that keeps what it hears."""

    heard: list[Notification] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        self.heard.append(event.notification)
        if event.seq is not None:
            self.seqs.append(event.seq)

    def kinds(self) -> list[str]:
        return [n.method for n in self.heard if n.durable]


@dataclass
class Bench:
    """An engine with one session, its run, and an ear in it."""

    engine: Engine
    session: Session
    run: Run
    ear: Ear
    model: FakeModel


@asynccontextmanager
async def engine_with(
    path: Path,
    say: Say | Sequence[str],
    *,
    limits: Limits | None = None,
    context_size: int | None = None,
    workers: Workers | None = None,
    preview_types: frozenset[str] = frozenset(),
    schemes: Mapping[str, Scheme] = SCHEMES,
    commands: Commands | None = None,
    project_root: Path | None = None,
    hidden: tuple[str, ...] = (),
    papers: Papers = PAPERS,
) -> AsyncIterator[Bench]:
    """Open an engine on the database at ``path``; a second time on the same path it finds the same session.

    Without ``commands`` no runtime is installed; without ``project_root`` there are no files.
    """
    model, bus, ear = FakeModel(say, context_size), Bus(), Ear()
    limits = limits or Limits()
    env = {"PLURNK_MODEL": "fake", "PLURNK_MODEL_fake": "fake/fake", "PLURNK_MODEL_other": "fake/other"}
    wake_rules = WakeRules(partial(has_alias, env), limits.max_wakes)
    async with (
        opened(path, bus.publish) as store,
        open_streams(store, tell=bus.tell, wake_rules=wake_rules) as streams,
    ):
        models = Models(env, cast("ProviderPlugins", Plugins(model)))
        async with open_engine(
            store,
            bus,
            models,
            schemes,
            papers,
            streams=streams,
            commands=commands or FakeCommands(runtimes=()),
            workers=workers or InlineWorkers(),
            preview_types=preview_types,
            limits=limits,
            hidden=hidden,
        ) as engine:
            session, run = await new_session(store)
            if project_root is not None:
                await store.write(lambda tx: sessions.set_root(tx, session.id, str(project_root)))
            bus.join(ear, session.id)
            yield Bench(engine, session, run, ear, model)


async def do(bench: Bench, text: str) -> list[OpResult]:
    """The results of the statements in ``text``, done by a client."""
    parsed = parse(text)
    statements = [item.statement for item in parsed.items if isinstance(item, StatementItem)]
    assert not [item for item in parsed.items if item.__struct_config__.tag == "error"], text
    client = ClientLoop(bench.engine, bench.run.id)
    results, _turn_id = await client.run(statements)
    await client.close()
    return results


async def put_bytes(bench: Bench, path: str, data: bytes, mimetype: str = "text/plain") -> int:
    """Give the entry ``known://path`` these bytes, as no statement can; returns its id."""

    def put(tx: Tx) -> int:
        entry = entries.find(tx.db, bench.session.id, "known", path) or entries.create(
            tx, bench.session.id, "known", path
        )
        channel = channels.find(tx.db, entry.id, "body") or channels.create(tx.db, entry.id, "body", mimetype)
        channels.replace(tx.db, channel, data, mimetype=mimetype, tokens=1)
        return entry.id

    return await bench.engine.store.write(put)


async def indexed(bench: Bench) -> list[str]:
    """The paths of what the run's index shows."""
    found = await bench.engine.store.read(lambda db: entries.indexed(db, bench.run.id))
    return [entry.pathname for entry, _channels in found]
