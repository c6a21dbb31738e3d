"""COPY and MOVE: one transaction over two schemes' entries (SPEC 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from plurnk.content import json_items, lines, mimetypes
from plurnk.errors import Conflict, Malformed, NotFound, UnsupportedType
from plurnk.language.ast import Copy, LineMarker, Move
from plurnk.plugins.api import ChannelContent, EntryContent, EntryStorage, Manifest
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import Origin
from plurnk.wire.results import OpResult


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a transfer: a scheme's storage, the decoded path, the channel that was named."""

    storage: EntryStorage
    manifest: Manifest
    pathname: str
    channel: str | None

    def __str__(self) -> str:
        return f"{self.manifest.name}://{self.pathname}"


def transfer(
    turn: TurnRef, origin: Origin, statement: Copy | Move, source: Place, destination: Place | None, tx: Tx
) -> OpResult:
    """Do it, or nothing.

    Raises:
        NotFound, Conflict, NoSuchRange, UnsupportedType, Malformed, Denied: as SPEC 2.4 says.
    """
    entry = source.storage.read_entry(tx, turn, source.pathname)
    if entry is None or (source.channel is not None and source.channel not in entry.channels):
        raise NotFound(f"{source} is not there")
    marker = statement.line_marker
    if destination is None:
        if isinstance(statement, Copy):
            raise Malformed("COPY needs a destination in its body")
        _take_away(tx, turn, origin, source, entry, marker)
        return OpResult(status=200)
    carried = _carried(entry, source, destination, marker)
    tags = entry.tags if statement.signal is None else tuple(sorted(set(statement.signal)))
    present = destination.storage.read_entry(tx, turn, destination.pathname)
    if present is not None:
        same = all(
            name in present.channels and present.channels[name].data == content.data
            for name, content in carried.items()
        )
        if same and set(present.tags) == set(tags):
            return OpResult(status=304)
        raise Conflict(f"{destination} exists")
    entry_id = destination.storage.write_entry(
        tx, turn, origin, destination.pathname, EntryContent(channels=carried, tags=tags)
    )
    if isinstance(statement, Move):
        _take_away(tx, turn, origin, source, entry, marker)
    return OpResult(status=201, entry_id=entry_id)


def _carried(
    entry: EntryContent, source: Place, destination: Place, marker: LineMarker | None
) -> dict[str, ChannelContent]:
    """The channels that arrive, under the names they arrive with."""
    if source.channel is None and destination.channel is None and marker is None:
        return dict(entry.channels)
    name = _one_channel(entry, source)
    content = entry.channels[name]
    arrives_as = destination.channel or destination.manifest.default_channel or name
    if marker is not None:
        content = ChannelContent(mimetype=content.mimetype, data=_slice(content, marker).encode())
    return {arrives_as: content}


def _take_away(
    tx: Tx, turn: TurnRef, origin: Origin, source: Place, entry: EntryContent, marker: LineMarker | None
) -> None:
    """What MOVE leaves behind: nothing, or the lines that were not moved."""
    if marker is None:
        source.storage.delete_entry(tx, turn, origin, source.pathname, source.channel)
        return
    name = _one_channel(entry, source)
    content = entry.channels[name]
    edit = json_items.edit_items if mimetypes.is_json(content.mimetype) else lines.edit_lines
    rest = ChannelContent(mimetype=content.mimetype, data=edit(_text(content), marker, "").encode())
    source.storage.write_entry(tx, turn, origin, source.pathname, EntryContent(channels={name: rest}, tags=entry.tags))


def _one_channel(entry: EntryContent, source: Place) -> str:
    name = source.channel or source.manifest.default_channel
    if name is None or name not in entry.channels:
        raise NotFound(f"{source} has no channel {name}")
    return name


def _slice(content: ChannelContent, marker: LineMarker) -> str:
    if mimetypes.is_json(content.mimetype):
        return json_items.slice_items(_text(content), marker).text
    return lines.slice_lines(_text(content), marker).text


def _text(content: ChannelContent) -> str:
    if not mimetypes.is_text(content.mimetype, content.data):
        raise UnsupportedType(f"{content.mimetype} has no lines")
    return content.data.decode("utf-8", "replace")
