"""The daemon: everything it has, in the order in which it must die (SPEC 6.1, 7.2).

    store ⊃ workers ⊃ commands ⊃ streams ⊃ models ⊃ runs ⊃ peers ⊃ listeners

What others need dies last. Each is an ``async with``; leaving the innermost begins the end.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from plurnk import resources
from plurnk.config import Settings
from plurnk.engine.bus import Bus
from plurnk.engine.choosing import choose_model
from plurnk.engine.engine import Engine, open_engine
from plurnk.engine.limits import Limits
from plurnk.engine.models import has_alias, open_models
from plurnk.engine.packets import Papers
from plurnk.errors import Malformed, PlurnkError
from plurnk.plugins.registry import ProviderPlugins, load_executors, load_schemes, preview_types
from plurnk.server.access import Gate, Rules, load_token
from plurnk.server.attachment import Attachment, Client
from plurnk.server.handlers import HANDLERS
from plurnk.server.listener import (
    Listener,
    check_exposure,
    is_loopback,
    open_tcp,
    open_unix,
    serve_listeners,
    url_of,
)
from plurnk.server.logs import set_up as set_up_logging
from plurnk.server.methods import Methods, only_leaf
from plurnk.server.outbox import Outbox
from plurnk.server.peer import Peer
from plurnk.server.websocket import CloseCode
from plurnk.store import sessions
from plurnk.store.clock import utc_now
from plurnk.store.database import Durability, open_store
from plurnk.store.wakes import WakeRules
from plurnk.streams.commands import Commands, CommandSettings, open_commands
from plurnk.streams.live import open_streams
from plurnk.workers.pool import open_workers

logger = logging.getLogger(__name__)

FAREWELL_S: float = 5.0
"""How long clients may take to say goodbye before they are cut off; each bounds itself by less."""


class Clients:
    """The clients that are here, each served by a task of its own."""

    def __init__(self, engine: Engine, commands: Commands, gate: Gate, methods: Methods[Client]) -> None:
        self._engine = engine
        self._commands = commands
        self._gate = gate
        self._methods = methods
        self._here: set[Client] = set()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Let the caller in, if it may come, and serve it until it has left."""
        async with self._gate.admit(stream) as socket:
            if socket is None:
                return
            outbox = Outbox()
            attachment = Attachment(self._engine, self._commands, outbox)
            peer = Peer(socket, self._methods, outbox=outbox, state=attachment)
            self._here.add(peer)
            try:
                await peer.run()
            finally:
                self._here.discard(peer)
                # Shield: what the client had open is ended, whatever ended the client (SPEC 6.3).
                with trio.move_on_after(FAREWELL_S, shield=True):
                    await attachment.close()

    def send_away(self) -> None:
        """Tell every client that the daemon stops."""
        for peer in list(self._here):
            peer.close(CloseCode.GOING_AWAY, "the daemon is stopping")


async def serve(settings: Settings) -> None:
    """Run the daemon until TERM or INT; a second signal shortens the end. Prints its URL when it is ready.

    Raises:
        PlurnkError: it cannot start: the database, an address, a plugin or a setting; the message says which.
    """
    set_up_logging(settings.log_level)
    for warning in settings.warnings:
        logger.warning("%s", warning)
    stop, hurry = trio.Event(), trio.Event()
    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as daemon:
                daemon.start_soon(_obey, signals, stop, hurry)
                await run(settings, ready=tell_ready, stop=stop, hurry=hurry)
                daemon.cancel_scope.cancel(reason="the daemon has stopped")
    except ExceptionGroup as group:
        cause = only_leaf(group)
        if isinstance(cause, PlurnkError):
            raise cause from None
        raise


def tell_ready(url: str) -> None:
    """Print the URL, and keep what a start leaves in memory from being searched for garbage again and again.

    It stays until the end, and a search of it holds everybody up for more than 10 ms.
    """
    gc.freeze()
    print(url, flush=True)  # noqa: T201 – who has started the daemon waits for it


async def _obey(signals: AsyncIterator[int], stop: trio.Event, hurry: trio.Event) -> None:
    async for _signal in signals:
        if stop.is_set():
            hurry.set()
        stop.set()


async def run(settings: Settings, *, ready: Callable[[str], object], stop: trio.Event, hurry: trio.Event) -> None:
    """Serve until ``stop``, then end everything in order; ``hurry`` ends the wait for live loops.

    ``ready`` is called with the URL once clients can come.

    Raises:
        PlurnkError: as ``serve``.
    """
    bus = Bus()
    limits = _limits(settings)
    choice = await choose_model(settings.env)
    wake_rules = WakeRules(partial(has_alias, choice.env), limits.max_wakes)
    schemes, executors, providers, handled = load_schemes(), load_executors(), ProviderPlugins(), preview_types()
    papers = Papers(resources.language_card(), _persona(settings))
    async with (
        open_store(
            settings.db_path,
            resources.migrations(),
            clock=utc_now,
            announce=bus.publish,
            durability=cast("Durability", settings.durability),
            events_keep=settings.events_keep,
        ) as store,
        open_workers() as workers,
        open_commands(
            _command_settings(settings),
            executors,
            existing=lambda ids: store.read(lambda db: sessions.existing(db, ids)),
        ) as commands,
        open_streams(store, tell=bus.tell, wake_rules=wake_rules) as streams,
        open_models(choice.env, providers, choice.why) as models,
        open_engine(
            store,
            bus,
            models,
            schemes,
            papers,
            streams=streams,
            commands=commands,
            workers=workers,
            preview_types=handled,
            limits=limits,
            hidden=_own_files(settings),
        ) as engine,
        trio.open_nursery() as peers,
    ):
        gate = Gate(
            _rules(settings),
            max_message_bytes=settings.max_message_bytes,
            may_be_command=lambda: commands.shares_network,
        )
        methods = Methods(HANDLERS, rpc_timeout_ms=int(settings.rpc_timeout_s * 1000))
        clients = Clients(engine, commands, gate, methods)
        async with _open_listeners(settings) as (listeners, url), trio.open_nursery() as listening:
            # Before anybody is let in, so that nobody is told that nothing is pending where something is.
            await engine.resume(resume=settings.resume)
            listening.start_soon(serve_listeners, listeners, peers, clients.serve)
            logger.info("listening on %s, with the database %s", url, settings.db_path)
            chosen = models.resolve(None)
            as_ = f", as {choice.why}; PLURNK_MODEL chooses another" if choice.why else ""
            logger.info("the model is %s: %s by %s%s", chosen.name, chosen.model, chosen.provider, as_)
            ready(url)
            await stop.wait()
            logger.info("stopping")
            engine.refuse_prompts()
            listening.cancel_scope.cancel(reason="the daemon stops")
        await _end_loops(engine, settings.drain_s, hurry)
        clients.send_away()
        peers.cancel_scope.deadline = trio.current_time() + FAREWELL_S


async def _end_loops(engine: Engine, drain_s: float, hurry: trio.Event) -> None:
    """Let live loops end their turn within ``drain_s`` or until ``hurry``, then end them all."""
    async with trio.open_nursery() as waiting:

        async def wait_for_turns() -> None:
            await engine.drain()
            waiting.cancel_scope.cancel(reason="every turn has ended")

        waiting.cancel_scope.deadline = trio.current_time() + drain_s
        waiting.start_soon(wait_for_turns)
        await hurry.wait()
        waiting.cancel_scope.cancel(reason="a second signal")
    await engine.stop()


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_turns=settings.max_turns,
        max_commands=settings.max_commands,
        max_strikes=settings.max_strikes,
        min_cycles=settings.min_cycles,
        max_cycle_period=settings.max_cycle_period,
        max_wakes=settings.max_wakes,
        loop_timeout_s=settings.loop_timeout_s,
        settle_s=settings.settle_s,
        park_s=settings.park_s,
        kill_grace_s=settings.exec_kill_grace_s,
        fetch_timeout_s=settings.fetch_timeout_s,
        provider_retries=settings.provider_retries,
        read_max_chars=settings.read_max_chars,
        preview_chars=settings.preview_chars,
        match_timeout_s=settings.match_timeout_s,
        reasoning_tokens=settings.reason_tokens,
        proposal_timeout_s=settings.proposal_timeout_s,
    )


def _command_settings(settings: Settings) -> CommandSettings:
    """In which sandbox commands run; what is the daemon's own is hidden from them."""
    own = (settings.state_dir, settings.socket_path, settings.tls_key, *settings.files)
    return CommandSettings(
        profile=cast("Any", settings.sandbox),
        accept=settings.sandbox_accept,
        timeout_s=0 if math.isinf(settings.exec_timeout_s) else settings.exec_timeout_s,
        kill_grace_s=settings.exec_kill_grace_s,
        state_dir=settings.state_dir,
        hidden=tuple(path for path in own if path is not None),
        env=settings.env,
    )


def _own_files(settings: Settings) -> tuple[str, ...]:
    """What no operation on files touches, though it may lie in a project: a folder may be a project and hold these."""
    database = settings.db_path
    beside = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", ".lock"))
    sessions_of_commands = settings.state_dir / "sessions"
    own = (database, *beside, settings.token_path, settings.url_path, sessions_of_commands)
    # The configuration is one of them when it is not there yet, as it says whether there is a sandbox; so is what the
    # kernel tells of the daemon: its environment has the keys.
    named = (settings.socket_path, settings.tls_key, *settings.files, settings.own_file, Path("/proc"))
    return tuple(str(path.absolute()) for path in (*own, *named) if path is not None)


def _persona(settings: Settings) -> str:
    """The persona that loops have when nothing else says one.

    Raises:
        Malformed: the file cannot be read.
    """
    if settings.persona_path is None:
        return resources.persona()
    try:
        return settings.persona_path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(f"PLURNK_PERSONA: cannot read {settings.persona_path}: {error}") from error


def _rules(settings: Settings) -> Rules:
    """Who may come in.

    Raises:
        Denied: the listener would be in the clear on a network, or the token's file is not ours alone.
    """
    tls = settings.tls_cert is not None
    check_exposure(settings.host, tls=tls, insecure=settings.insecure)
    asked = settings.auth == "token" or not is_loopback(settings.host)
    return Rules(
        uid=os.geteuid(),
        origins=frozenset(settings.allowed_origins),
        hosts=frozenset({settings.host.lower()}),
        token=load_token(settings.token_path) if asked else None,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise Malformed(f"PLURNK_TLS_CERT, PLURNK_TLS_KEY: {error}") from error
    return context


@asynccontextmanager
async def _open_listeners(settings: Settings) -> AsyncIterator[tuple[Sequence[Listener], str]]:
    """Listen on TCP and, if there is to be one, on the Unix socket; the URL is in ``daemon.url`` meanwhile."""
    async with open_tcp(settings.host, settings.port, tls=_tls(settings)) as listeners:
        url = url_of(listeners[0])
        async with AsyncExitStack() as files:
            if settings.socket_path is not None:
                listeners.append(await files.enter_async_context(open_unix(settings.socket_path)))
            files.enter_context(_published(settings.url_path, url))
            yield listeners, url


@contextmanager
def _published(path: Path, url: str) -> Iterator[None]:
    """Keep ``url`` in the file at ``path``."""
    path.write_text(url + "\n", "utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
