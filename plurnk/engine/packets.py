"""What a turn's packet shows, read from the store in one snapshot (SPEC 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import msgspec

from plurnk.content import mimetypes
from plurnk.content.previews.plain import binary_preview, preview
from plurnk.engine.file_tiles import WINDOW_FACTOR, Tiles
from plurnk.engine.limits import Limits
from plurnk.engine.previews import ORDERS_MAX_BYTES, ContentId, Order, Orders, Previews
from plurnk.engine.run_texts import RunTexts
from plurnk.errors import TooLarge
from plurnk.language.ast import LocalTarget, Target, UrlTarget
from plurnk.language.targets import canonical, entry_address
from plurnk.plugins.api import ChannelSpec, GenerateRequest, Message, Provider, Scheme
from plurnk.rules import packet
from plurnk.rules.context import packet_limit
from plurnk.rules.fitting import Folds
from plurnk.rules.packet import Packet
from plurnk.rules.shown import index_text
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow, PacketInputs
from plurnk.store import channels, conclusions, entries, log, loops, packets, sessions, turns
from plurnk.store.channels import Channel
from plurnk.store.entries import Entry
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.packets import Pieces
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry

COMMAND_CHARS: int = 120
"""So much of a command stands in its log row; its statement has the whole."""

KEPT_RUNS: int = 32
"""Runs whose rendered log is kept in memory."""

_READS = frozenset({"READ", "FIND"})
_TRANSFERS = frozenset({"COPY", "MOVE"})


class ContextExceeded(TooLarge):
    """The prompt, with what goes before and after it, is more than the model's context has room for."""


@dataclass(frozen=True, slots=True)
class Papers:
    """The texts that every packet begins with: the language card, and the persona of last resort."""

    definition: str
    persona: str


@dataclass(frozen=True, slots=True)
class Built:
    """The packet of a turn, how it is kept, what is asked of the provider, and previews that the packet lacks.

    ``folds``: how far the log had to be folded for it, None where no further than before.
    """

    packet: Packet
    pieces: Pieces
    request: GenerateRequest
    folds: Folds | None
    orders: tuple[Order, ...]


class PacketMaker:
    """Builds packets. ``build`` runs on a reader thread: a long log is no load for the event loop.

    What was rendered of a run's log is kept for KEPT_RUNS runs, so a turn costs what is new.
    """

    def __init__(self, papers: Papers, limits: Limits, schemes: Mapping[str, Scheme], previews: Previews) -> None:
        self.papers = papers
        self.limits = limits
        self.schemes = schemes
        self.previews = previews
        self._kept: dict[int, RunTexts] = {}
        self._builds = count()
        self._newest: dict[int, int] = {}

    def build(self, provider: Provider, loop: Loop, turn: TurnRef, tiles: Tiles, db: Snapshot) -> Built:
        """The packet of the turn, complete but for its orders: there the plain previews stand.

        ``tiles``: the indexed files as they were on disk a moment ago.

        Raises:
            ContextExceeded: what cannot be left out does not fit into the model's context.
        """
        number = self._newest[loop.run_id] = next(self._builds)
        kept = self._kept.pop(loop.run_id, None) or RunTexts.open(db, loop.run_id)
        orders = Orders(ORDERS_MAX_BYTES)
        folds = packets.folds(db, loop.run_id)
        inputs = PacketInputs(
            definition=self.papers.definition,
            persona=self._persona(db, loop),
            index=[index_text(entry, provider.count_tokens) for entry in self._index(db, loop, tiles, orders)],
            log=kept.read(db, folds, self._row, provider, provider.count_tokens),
            prompts=tuple(loops.prompts(db, loop)),
            errors=turns.telemetry_before(db, turn),
            turn_number=turn.turn_seq,
            max_turns=loop.max_turns,
            context_size=provider.context_size,
            limit=self._limit(db, provider, turn),
            folds=folds,
            recent_from=log.recent_from(db, turn),
        )
        try:
            made, fitted = packet.build(inputs, provider.count_tokens)
        except TooLarge as error:
            raise ContextExceeded(error.detail) from None
        pieces = kept.pieces(db, made, fitted)
        marks = packet.cache_marks(made, kept.log_ends(fitted))
        self._keep(loop.run_id, kept, number)
        return Built(
            packet=made,
            pieces=pieces,
            request=self._request(made, marks),
            folds=fitted.folds if fitted.folded_rows else None,
            orders=tuple(orders.all),
        )

    def _keep(self, run_id: int, kept: RunTexts, number: int) -> None:
        """Keep what was read, unless another build has begun since: one that was abandoned knows an older log."""
        if self._newest.get(run_id) != number:
            return
        self._kept[run_id] = kept  # at the end: the first is the one that was not asked for longest
        while len(self._kept) > KEPT_RUNS:
            oldest = next(iter(self._kept))
            self._kept.pop(oldest, None)
            self._newest.pop(oldest, None)

    def _limit(self, db: Snapshot, provider: Provider, turn: TurnRef) -> int | None:
        if provider.context_size is None:
            return None
        estimated, counted = turns.last_counted(db, turn)
        return packet_limit(provider.context_size, self.limits.reasoning_tokens, estimated=estimated, counted=counted)

    def _request(self, made: Packet, marks: tuple[int, ...]) -> GenerateRequest:
        return GenerateRequest(
            messages=(
                Message(role="system", content=packet.render_system(made)),
                Message(role="user", content=packet.render_user(made)),
            ),
            cache_marks=marks,
            reasoning_tokens=self.limits.reasoning_tokens,
        )

    def _persona(self, db: Snapshot, loop: Loop) -> str:
        """Loop > run > session > the file."""
        of_run = sessions.get_run(db, loop.run_id).persona
        of_session = sessions.get(db, loop.session_id).persona
        return next(p for p in (loop.persona, of_run, of_session, self.papers.persona) if p is not None)

    def _index(self, db: Snapshot, loop: Loop, tiles: Tiles, orders: Orders) -> list[IndexEntry]:
        """Every indexed entry but the loop's own prompts, which are shown as the prompt."""
        own = f"prompt/{loop.id}"
        return [
            self._file(db, entry, shown, tiles, orders)
            if entry.scheme is None
            else self._entry(db, entry, shown, orders)
            for entry, shown in entries.indexed(db, loop.run_id)
            if not (entry.scheme == "plurnk" and (entry.pathname == own or entry.pathname.startswith(f"{own}/")))
        ]

    def _file(self, db: Snapshot, entry: Entry, shown: Sequence[Channel], tiles: Tiles, orders: Orders) -> IndexEntry:
        return IndexEntry(
            path=entry.pathname,
            channels=tuple(self._file_channel(entry.pathname, channel, tiles, orders) for channel in shown),
            tags=entries.tags(db, entry.id),
        )

    def _file_channel(self, path: str, channel: Channel, tiles: Tiles, orders: Orders) -> IndexChannel:
        tile = tiles.get(path)
        if tile is None:
            missing = path in tiles
            return IndexChannel(name=channel.name, mimetype=channel.mimetype, tokens=0, preview="", missing=missing)
        shown = tile.preview
        if tile.content is not None:
            shown = self.previews.made(tile.content) or shown
            handler = self.previews.handler_for(tile.content, orders.room_bytes)
            if handler is not None and tile.text is not None:
                self.previews.order(orders, tile.content, path, handler, tile.text)
        return IndexChannel(name=channel.name, mimetype=tile.mimetype, tokens=tile.tokens, preview=shown)

    def _entry(self, db: Snapshot, entry: Entry, shown: Sequence[Channel], orders: Orders) -> IndexEntry:
        assert entry.scheme is not None
        path = entry_address(entry.scheme, entry.pathname)
        scheme = self.schemes.get(entry.scheme)
        return IndexEntry(
            path=path,
            channels=tuple(self._channel(db, scheme, path, channel, orders) for channel in shown),
            tags=entries.tags(db, entry.id),
            awaiting_input=entry.attributes.get(conclusions.AWAITING_INPUT) is True,
        )

    def _channel(
        self, db: Snapshot, scheme: Scheme | None, path: str, channel: Channel, orders: Orders
    ) -> IndexChannel:
        is_default = scheme is None or scheme.manifest.default_channel == channel.name
        address = path if is_default else f"{path}#{channel.name}"
        spec = scheme.manifest.channels.get(channel.name, ChannelSpec()) if scheme is not None else ChannelSpec()
        return IndexChannel(
            name=channel.name,
            mimetype=channel.mimetype,
            tokens=channel.tokens,
            preview=self.previews.made(ContentId.of(channel))
            or self._plain_preview(db, channel, spec, address, orders),
            is_default=is_default,
            state=channel.state,
        )

    def _plain_preview(self, db: Snapshot, channel: Channel, spec: ChannelSpec, address: str, orders: Orders) -> str:
        """From a window at the end that is shown, so that a long channel costs no more than a short one.

        Where a handler could make a better one, that is ordered.
        """
        budget = self.limits.preview_chars
        window = budget * WINDOW_FACTOR
        start = max(0, channel.length_bytes - window) if spec.orientation == "tail" else 0
        data = channels.read_bytes(db, channel, start, window)
        if not mimetypes.is_text(channel.mimetype, data, complete=channel.length_bytes <= window):
            return binary_preview(channel.mimetype, channel.length_bytes)
        text = data.decode("utf-8", "replace")
        if len(text) > budget and spec.orientation == "head":
            content = ContentId.of(channel)
            handler = self.previews.handler_for(content, orders.room_bytes)
            if handler is not None:
                whole = channels.read_bytes(db, channel).decode("utf-8", "replace")
                self.previews.order(orders, content, address, handler, whole)
        first_line = 1 if start == 0 else channel.newlines - data.count(b"\n") + 1
        return preview(
            text,
            channel.mimetype,
            budget,
            spec.orientation,
            first_line=first_line,
            total_lines=channel.lines,
        )

    def _row(self, row: LogEntry) -> LogRow:
        shows_content = row.op in _READS
        return LogRow(
            loop_seq=row.loop_seq,
            turn_seq=row.turn_seq,
            sequence=row.sequence,
            op=row.op,
            origin=row.origin,
            status=row.status_rx,
            target=self._target(row),
            destination=self._destination(row),
            matcher=_matcher(row.tx.get("body")),
            matches=row.rx.get("matches"),
            content=row.rx.get("content") if shows_content else None,
            mimetype=row.rx.get("mimetype", mimetypes.PLAIN),
            start_line=row.rx.get("startLine"),
            next_line=row.rx.get("nextLine"),
            diff=row.rx.get("diff"),
            command=_command(row),
            entry=row.rx.get("entry"),
            error=row.rx.get("error"),
            outcome=row.outcome,
        )

    def _target(self, row: LogEntry) -> str | None:
        if row.pathname is None:
            return None
        if row.scheme is None:
            return row.pathname
        return self._address(
            UrlTarget(
                raw="",
                scheme=row.scheme,
                hostname=row.hostname,
                port=row.port,
                pathname=row.pathname,
                fragment=row.fragment,
            )
        )

    def _destination(self, row: LogEntry) -> str | None:
        body = row.tx.get("body")
        if row.op not in _TRANSFERS or not isinstance(body, dict):
            return None
        target: Target = msgspec.convert(body, UrlTarget | LocalTarget)
        return target.raw if isinstance(target, LocalTarget) else self._address(target)

    def _address(self, target: UrlTarget) -> str:
        """The canonical address, with ``#channel`` unless that is the default one."""
        scheme = self.schemes.get(target.scheme)
        default = scheme.manifest.default_channel if scheme is not None else None
        return canonical(
            msgspec.structs.replace(target, fragment=None if target.fragment == default else target.fragment)
        )


def _command(row: LogEntry) -> str | None:
    """The first line of what an EXEC ran, or was to run, cut to a length that a log can bear."""
    body = row.rx.get("command") or row.tx.get("body")
    if row.op != "EXEC" or row.origin == "system" or not isinstance(body, str) or not body.strip():
        return None
    first, *rest = body.strip().splitlines()
    return f"{first[:COMMAND_CHARS]}…" if rest or len(first) > COMMAND_CHARS else first


def _matcher(body: Any) -> str | None:
    """The matcher of a row as it was written; None when its body is something else."""
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return fields["raw"] if "dialect" in fields else None
