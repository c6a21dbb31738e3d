"""What a packet shows of the run's index: its entries, each with its previews (SPEC 2.7, 2.8, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plurnk.content import mimetypes
from plurnk.content.previews.plain import binary_preview, preview
from plurnk.engine.file_tiles import WINDOW_FACTOR, Tiles
from plurnk.engine.previews import ORDERS_MAX_BYTES, ContentId, Orders, Previews
from plurnk.language.targets import entry_address
from plurnk.plugins.api import ChannelSpec, Scheme
from plurnk.rules.snapshot import IndexChannel, IndexEntry
from plurnk.store import channels, conclusions, entries
from plurnk.store.channels import Channel
from plurnk.store.entries import Entry
from plurnk.store.loops import Loop
from plurnk.store.query import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMaker:
    """Makes the index of one packet, and orders what it would have shown besides.

    ``tiles``: the indexed files as they were on disk a moment ago. ``plain_before``: what ``plain`` was for the packet
    before: the plain previews that were shown, of what nobody else can show better.
    """

    db: Snapshot
    schemes: Mapping[str, Scheme]
    previews: Previews
    preview_chars: int
    tiles: Tiles
    plain_before: Mapping[ContentId, str]
    plain: dict[ContentId, str] = field(default_factory=dict[ContentId, str])
    orders: Orders = field(default_factory=lambda: Orders(ORDERS_MAX_BYTES))

    def entries(self, loop: Loop) -> list[IndexEntry]:
        """Every indexed entry but the loop's own prompts, which are shown as the prompt."""
        own = f"prompt/{loop.id}"
        tags = entries.indexed_tags(self.db, loop.run_id)
        return [
            self._entry(entry, shown, tags.get(entry.id, ()))
            for entry, shown in entries.indexed(self.db, loop.run_id)
            if not (entry.scheme == "plurnk" and (entry.pathname == own or entry.pathname.startswith(f"{own}/")))
        ]

    def _entry(self, entry: Entry, shown: Sequence[Channel], tags: tuple[str, ...]) -> IndexEntry:
        if entry.scheme is None:
            path = entry.pathname
            of_file = tuple(self._of_file(path, channel) for channel in shown)
            return IndexEntry(path=path, channels=of_file, tags=tags)
        path = entry_address(entry.scheme, entry.pathname)
        scheme = self.schemes.get(entry.scheme)
        return IndexEntry(
            path=path,
            channels=tuple(self._channel(scheme, path, channel) for channel in shown),
            tags=tags,
            awaiting_input=entry.attributes.get(conclusions.AWAITING_INPUT) is True,
        )

    def _channel(self, scheme: Scheme | None, path: str, channel: Channel) -> IndexChannel:
        is_default = scheme is None or scheme.manifest.default_channel == channel.name
        address = path if is_default else f"{path}#{channel.name}"
        return IndexChannel(
            name=channel.name,
            mimetype=channel.mimetype,
            tokens=channel.tokens,
            preview=self.previews.made(ContentId.of(channel)) or self._plain(scheme, address, channel),
            is_default=is_default,
            state=channel.state,
        )

    def _of_file(self, path: str, channel: Channel) -> IndexChannel:
        tile = self.tiles.get(path)
        if tile is None:
            missing = path in self.tiles
            return IndexChannel(name=channel.name, mimetype=channel.mimetype, tokens=0, preview="", missing=missing)
        shown = tile.preview
        if tile.content is not None:
            shown = self.previews.made(tile.content) or shown
            handler = self.previews.handler_for(tile.content, self.orders.room_bytes)
            if handler is not None and tile.text is not None:
                self.previews.order(self.orders, tile.content, path, handler, tile.text)
        return IndexChannel(name=channel.name, mimetype=tile.mimetype, tokens=tile.tokens, preview=shown)

    def _plain(self, scheme: Scheme | None, address: str, channel: Channel) -> str:
        """The plain preview of a channel. Where a handler could make a better one, that is ordered."""
        content = ContentId.of(channel)
        known = self.plain_before.get(content)
        if known is not None:
            self.plain[content] = known
            return known
        spec = scheme.manifest.channels.get(channel.name, ChannelSpec()) if scheme is not None else ChannelSpec()
        shown, is_head = self._made(channel, spec)
        if not is_head or self.previews.handler_for(content, ORDERS_MAX_BYTES) is None:
            self.plain[content] = shown
            return shown
        handler = self.previews.handler_for(content, self.orders.room_bytes)
        if handler is not None:
            whole = channels.read_bytes(self.db, channel).decode("utf-8", "replace")
            self.previews.order(self.orders, content, address, handler, whole)
        return shown

    def _made(self, channel: Channel, spec: ChannelSpec) -> tuple[str, bool]:
        """A plain preview, and whether it is but the head of a text.

        From a window at the end that is shown, so that a long channel costs no more than a short one.
        """
        window = self.preview_chars * WINDOW_FACTOR
        start = max(0, channel.length_bytes - window) if spec.orientation == "tail" else 0
        data = channels.read_bytes(self.db, channel, start, window)
        if not mimetypes.is_text(channel.mimetype, data, complete=channel.length_bytes <= window):
            return binary_preview(channel.mimetype, channel.length_bytes), False
        text = data.decode("utf-8", "replace")
        shown = preview(
            text,
            channel.mimetype,
            self.preview_chars,
            spec.orientation,
            first_line=1 if start == 0 else channel.newlines - data.count(b"\n") + 1,
            total_lines=channel.lines,
        )
        return shown, len(text) > self.preview_chars and spec.orientation == "head"
