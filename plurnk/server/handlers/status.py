"""ping, discover, daemon.status: the daemon about itself."""

from __future__ import annotations

from collections.abc import Mapping

import trio

import plurnk
from plurnk.plugins.discovery import MIMETYPES, PROVIDERS
from plurnk.plugins.discovery import discover as discover_plugins
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import sessions
from plurnk.store.query import Snapshot, size_bytes
from plurnk.wire import answers, openrpc, params
from plurnk.wire.methods import METHODS, PROTOCOL_VERSION


async def ping(_client: Client, _asked: params.NoParams) -> answers.Empty:
    return answers.Empty()


async def discover(client: Client, _asked: params.NoParams) -> answers.DiscoverResult:
    return answers.DiscoverResult(
        protocol_version=PROTOCOL_VERSION,
        server=answers.ServerInfo(name="plurnk", version=plurnk.__version__),
        methods=tuple(METHODS),
        notifications=tuple(kind.method for kind in openrpc.notification_types()),
        capabilities=answers.Capabilities(
            providers=tuple(await trio.to_thread.run_sync(discover_plugins, PROVIDERS)),
            schemes=tuple(client.state.engine.schemes),
            mimetypes=tuple(await trio.to_thread.run_sync(discover_plugins, MIMETYPES)),
            executors=await client.state.commands.runtimes(),
            sandbox=await client.state.commands.backend(),
        ),
        openrpc=openrpc.document(),
    )


async def status(client: Client, _asked: params.NoParams) -> answers.DaemonStatusResult:
    engine = client.state.engine

    def count(db: Snapshot) -> tuple[int, dict[str, int], int]:
        return sessions.count(db), sessions.loops_by_status(db), size_bytes(db)

    counted, loops, db_bytes = await engine.store.read(count)
    return answers.DaemonStatusResult(
        version=plurnk.__version__,
        uptime_ms=int((trio.current_time() - engine.started_at) * 1000),
        counts=answers.Counts(
            sessions=counted, loops=loops, streams=engine.streams.count, clients=engine.bus.listeners
        ),
        queues={"writer": engine.store.waiting},
        db_bytes=db_bytes,
        sandbox=await client.state.commands.backend(),
    )


HANDLERS: Mapping[str, Handler[Client]] = {"ping": ping, "discover": discover, "daemon.status": status}
