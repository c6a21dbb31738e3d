"""entry.read, log.read, packet.read, providers.list: looking without leaving a row in the log."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

import msgspec

from plurnk.errors import NotFound
from plurnk.language.ast import LocalTarget, Read
from plurnk.language.targets import canonical, check_file_targets, entry_pathname, localized, parse_target
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.server.attachment import Client, Place
from plurnk.server.methods import Handler
from plurnk.store import channels, entries, log, turns
from plurnk.store.channels import Channel
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
    scheme = None if isinstance(target, LocalTarget) else target.scheme
    pathname = entry_pathname(target)
    wanted = asked.channel or (None if isinstance(target, LocalTarget) else target.fragment)

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
    """The bytes from ``start`` on; a character that is cut off at the end is left for the next read."""
    data = channels.read_bytes(db, channel, start, max_bytes)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    content = decoder.decode(data, final=start + len(data) >= channel.length_bytes and channel.state != "active")
    pending, _flag = decoder.getstate()
    return answers.ChannelView(
        content=content,
        mimetype=channel.mimetype,
        tokens=channel.tokens,
        state=channel.state,
        length=channel.length_bytes,
        next=start + len(data) - len(pending),
    )


async def rows(client: Client, asked: params.LogReadParams) -> answers.LogReadResult:
    place = await client.state.place()
    found = await client.state.engine.store.read(
        lambda db: log.page(
            db,
            place.session_id,
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
    place = await client.state.place()
    return await client.state.engine.store.read(lambda db: _packet(db, place, asked.turn_id))


def _packet(db: Snapshot, place: Place, turn_id: int) -> answers.PacketReadResult:
    try:
        stored = turns.packet(db, place.session_id, turn_id)
    except NotFound as error:
        raise problems.loop_not_found(error.detail) from None
    sent = msgspec.json.decode(stored, type=Packet)
    return answers.PacketReadResult(
        turn_id=turn_id,
        packet=msgspec.json.decode(stored),
        rendered=f"{render_system(sent)}\n\n{render_user(sent)}",
    )


async def providers(client: Client, _asked: params.NoParams) -> answers.ProvidersListResult:
    models = client.state.engine.models
    return answers.ProvidersListResult(
        aliases=tuple(
            answers.Alias(alias=a.name, provider=a.provider, model=a.model, active=a.name == models.active)
            for a in models.aliases.values()
        )
    )


HANDLERS: Mapping[str, Handler[Client]] = {
    "entry.read": entry,
    "log.read": rows,
    "packet.read": packet,
    "providers.list": providers,
}
