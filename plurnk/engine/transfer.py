"""COPY and MOVE: one transaction over two schemes' entries (SPEC 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from plurnk.content import mimetypes, parts
from plurnk.errors import Conflict, Malformed, NoSuchRange, NotFound, UnsupportedType
from plurnk.language.ast import Copy, LineMarker, Move
from plurnk.language.targets import FILE
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
        return self.pathname if self.manifest.name == FILE else f"{self.manifest.name}://{self.pathname}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A COPY or MOVE that is understood; calling it is the unit that does it, or nothing.

    Raises, when called:
        NotFound, Conflict, NoSuchRange, UnsupportedType, Malformed, Denied: as SPEC 2.4 says.
    """

    turn: TurnRef
    origin: Origin
    statement: Copy | Move
    source: Place
    destination: Place | None

    def __call__(self, tx: Tx) -> OpResult:
        source, destination = self.source, self.destination
        entry = source.storage.read_entry(tx, self.turn, source.pathname)
        if entry is None or (source.channel is not None and source.channel not in entry.channels):
            raise NotFound(f"{source} is not there")
        if destination is None:
            if isinstance(self.statement, Copy):
                raise Malformed("COPY needs a destination in its body")
            self._take_away(tx, entry)
            return OpResult(status=200)
        signal = self.statement.signal
        arriving = EntryContent(
            channels=self._carried(entry, destination),
            tags=entry.tags if signal is None else tuple(sorted(set(signal))),
        )
        present = destination.storage.read_entry(tx, self.turn, destination.pathname)
        if present is not None:
            if _holds(present, arriving):
                return OpResult(status=304)
            raise Conflict(f"{destination} exists")
        entry_id = destination.storage.write_entry(tx, self.turn, self.origin, destination.pathname, arriving)
        if isinstance(self.statement, Move):
            self._take_away(tx, entry)
        return OpResult(status=201, entry_id=entry_id)

    def _carried(self, entry: EntryContent, destination: Place) -> dict[str, ChannelContent]:
        """The channels that arrive, under the names they arrive with."""
        marker = self.statement.line_marker
        if self.source.channel is None and destination.channel is None and marker is None:
            return dict(entry.channels)
        name = _one_channel(entry, self.source)
        content = entry.channels[name]
        if marker is not None:
            _check_lines(content, marker)
            content = ChannelContent(mimetype=content.mimetype, data=parts.part(content.data, marker, content.mimetype))
        return {destination.channel or destination.manifest.default_channel or name: content}

    def _take_away(self, tx: Tx, entry: EntryContent) -> None:
        """What MOVE leaves behind: nothing, or the lines that were not moved."""
        source, marker = self.source, self.statement.line_marker
        if marker is None:
            source.storage.delete_entry(tx, self.turn, self.origin, source.pathname, source.channel)
            return
        name = _one_channel(entry, source)
        content = entry.channels[name]
        _check_lines(content, marker)
        rest = ChannelContent(mimetype=content.mimetype, data=parts.edited(content.data, marker, "", content.mimetype))
        left = EntryContent(channels={name: rest}, tags=entry.tags)
        source.storage.write_entry(tx, self.turn, self.origin, source.pathname, left)


def _holds(present: EntryContent, arriving: EntryContent) -> bool:
    """Whether the destination has all that arrives already, tags included."""
    return set(present.tags) == set(arriving.tags) and all(
        name in present.channels and present.channels[name].data == content.data
        for name, content in arriving.channels.items()
    )


def _one_channel(entry: EntryContent, source: Place) -> str:
    name = source.channel or source.manifest.default_channel
    if name is None or name not in entry.channels:
        raise NotFound(f"{source} has no channel {name}")
    return name


def _check_lines(content: ChannelContent, marker: LineMarker) -> None:
    if not mimetypes.is_text(content.mimetype, content.data):
        raise UnsupportedType(f"{content.mimetype} has no lines")
    if marker.last is None and marker.first in {0, -1}:
        raise NoSuchRange(f"<{marker.first}> is between lines; expected the number of a line, or a range")
