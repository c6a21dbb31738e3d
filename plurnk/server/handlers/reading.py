"""entry.read, log.read, packet.read, providers.list: looking without leaving a row in the log."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from functools import partial

import msgspec

from plurnk.errors import NotFound, PlurnkError
from plurnk.language.ast import LocalTarget, Read
from plurnk.language.targets import canonical, check_file_targets, entry_pathname, localized, parse_target
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.schemes.files import registered
from plurnk.schemes.files.project import project_at
from plurnk.schemes.files.views import view as file_view
from plurnk.server.attachment import Client, Place
from plurnk.server.handlers.runs import run_of
from plurnk.server.methods import Handler
from plurnk.store import channels, entries, log, packet_turns, sessions, turns
from plurnk.store.channels import Channel
from plurnk.store.database import Tx
from plurnk.store.packet_turns import PacketTurn
from plurnk.store.query import Snapshot
from plurnk.wire import answers, params, problems

MAX_BYTES: int = 1024 * 1024
"""What one entry.read returns of a channel when ``maxBytes`` does not say: a frame that any client can take."""


async def entry(client: Client, asked: params.EntryReadParams) -> answers.EntryReadResult:
    place = await client.state.place()
    read = Read(target=parse_target(asked.target))
    check_file_targets(read)
    target = localized(read).target
    assert target is not None
    if isinstance(target, LocalTarget):
        return await _file(client, place, entry_pathname(target), asked)
    scheme, pathname, wanted = target.scheme, entry_pathname(target), asked.channel or target.fragment

    def find(db: Snapshot) -> answers.EntryReadResult:
        found = entries.find(db, place.session_id, scheme, pathname) or entries.find(db, None, scheme, pathname)
        if found is None:
            return answers.EntryReadResult(status=404, error=f"{canonical(target)} is not there")
        shown = [c for c in channels.of_entry(db, found.id) if wanted in (None, c.name)]
        if wanted is not None and not shown:
            return answers.EntryReadResult(status=404, error=f"{canonical(target)} has no channel {wanted}")
        view = answers.EntryView(
            id=found.id,
            scheme=found.scheme,
            pathname=found.pathname,
            target=canonical(target),
            tags=entries.tags(db, found.id),
            attributes=found.attributes,
            channels={c.name: _view(db, c, asked.from_ or 0, asked.max_bytes or MAX_BYTES) for c in shown},
        )
        return answers.EntryReadResult(status=200, entry=view)

    return await client.state.engine.store.read(find)


def _view(db: Snapshot, channel: Channel, start: int, max_bytes: int) -> answers.ChannelView:
    data = channels.read_bytes(db, channel, start, max_bytes)
    is_end = start + len(data) >= channel.length_bytes and channel.state != "active"
    content, next_byte = _text(data, start, is_end=is_end)
    return answers.ChannelView(
        content=content,
        mimetype=channel.mimetype,
        tokens=channel.tokens,
        state=channel.state,
        length=channel.length_bytes,
        next=next_byte,
    )


def _text(data: bytes, start: int, *, is_end: bool) -> tuple[str, int]:
    """The text of the bytes from ``start`` on, and where to read on: before a character that was cut at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    content = decoder.decode(data, final=is_end)
    pending, _flag = decoder.getstate()
    return content, start + len(data) - len(pending)


async def _file(client: Client, place: Place, path: str, asked: params.EntryReadParams) -> answers.EntryReadResult:
    """A file as it is on disk. It is registered, so that it has an id as everything else."""
    engine = client.state.engine
    session = await engine.store.read(lambda db: sessions.get(db, place.session_id))
    start, max_bytes = asked.from_ or 0, asked.max_bytes or MAX_BYTES
    try:
        project = project_at(session.project_root, engine.hidden)
        seen = await project.on_thread(partial(file_view, path, start, max_bytes))
    except PlurnkError as error:
        if error.status >= 500:
            raise
        return answers.EntryReadResult(status=error.status, error=error.detail)
    if asked.channel not in (None, registered.BODY):
        return answers.EntryReadResult(status=404, error=f"{seen.path} has no channel {asked.channel}")
    content, next_byte = _text(seen.data, start, is_end=start + len(seen.data) >= seen.size_bytes)
    shown = answers.ChannelView(
        content=content,
        mimetype=seen.mimetype,
        tokens=seen.tokens,
        state="static",
        length=seen.size_bytes,
        next=next_byte,
    )

    def described(tx: Tx) -> answers.EntryView:
        channel = registered.register(tx, place.session_id, seen.path, seen.mimetype)
        return answers.EntryView(
            id=channel.entry_id,
            scheme=None,
            pathname=seen.path,
            target=seen.path,
            tags=entries.tags(tx.db, channel.entry_id),
            attributes=entries.get(tx.db, channel.entry_id).attributes,
            channels={registered.BODY: shown},
        )

    return answers.EntryReadResult(status=200, entry=await engine.store.write(described))


async def rows(client: Client, asked: params.LogReadParams) -> answers.LogReadResult:
    place = await client.state.place()
    found = await client.state.engine.store.read(
        lambda db: log.page(
            db,
            place.session_id,
            run_id=asked.run_id,
            loop_id=asked.loop_id,
            turn_id=asked.turn_id,
            since_id=asked.since_id,
            before_id=asked.before_id,
            limit=asked.limit,
            descending=asked.order == "desc",
        )
    )
    return answers.LogReadResult(status=200, entries=tuple(found))


async def packet(client: Client, asked: params.PacketReadParams) -> answers.PacketReadResult:
    if asked.turn_id is not None and (asked.run_id, asked.loop, asked.turn) != (None, None, None):
        raise problems.invalid_params("turnId: expected alone; got runId, loop or turn with it")
    if asked.turn is not None and asked.loop is None:
        raise problems.invalid_params("turn: expected with loop; got it alone")
    place = await client.state.place()
    return await client.state.engine.store.read(lambda db: _packet(db, place, asked))


def _packet(db: Snapshot, place: Place, asked: params.PacketReadParams) -> answers.PacketReadResult:
    try:
        turn = _turn(db, place, asked)
        stored = turns.packet(db, place.session_id, turn.id)
    except NotFound as error:
        raise problems.loop_not_found(error.detail) from None
    sent = msgspec.json.decode(stored, type=Packet)
    return answers.PacketReadResult(
        turn_id=turn.id,
        loop=turn.loop_seq,
        turn=turn.turn_seq,
        packet=msgspec.json.decode(stored),
        rendered=f"{render_system(sent)}\n\n{render_user(sent)}",
    )


def _turn(db: Snapshot, place: Place, asked: params.PacketReadParams) -> PacketTurn:
    if asked.turn_id is not None:
        return packet_turns.by_id(db, place.session_id, asked.turn_id)
    run = run_of(db, place.session_id, asked.run_id or place.run_id)
    if asked.loop is not None and asked.turn is not None:
        return packet_turns.at(db, run.id, asked.loop, asked.turn)
    return packet_turns.last(db, run.id, asked.loop)


async def providers(client: Client, _asked: params.NoParams) -> answers.ProvidersListResult:
    models = client.state.engine.models
    return answers.ProvidersListResult(
        aliases=tuple(
            answers.Alias(alias=a.name, provider=a.provider, model=a.model, active=a.name == models.active)
            for a in models.aliases.values()
        ),
        why=models.why,
    )


HANDLERS: Mapping[str, Handler[Client]] = {
    "entry.read": entry,
    "log.read": rows,
    "packet.read": packet,
    "providers.list": providers,
}
