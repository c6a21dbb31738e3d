"""Schemes whose resources are entries in the store: known, unknown, skill, plurnk (SPEC 2.3, 2.4).

Every write is a unit that runs in the transaction of its log row. Reads run on a reader thread,
against one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import trio

from plurnk.content import diffs, mimetypes, parts
from plurnk.content.globs import has_glob
from plurnk.content.matching.subject import Subject
from plurnk.content.tokens import estimate_tokens
from plurnk.errors import Conflict, Denied, Malformed, NotFound, Unsupported, UnsupportedType
from plurnk.language.ast import Edit, Find, Hide, Matcher, OpName, Read, Send, Show, Target, UrlTarget
from plurnk.language.targets import entry_address, entry_pathname
from plurnk.plugins.api import Call, ChannelContent, EntryContent, Handler, Manifest, Streams, Unit
from plurnk.schemes import reading, selection
from plurnk.schemes.matching import having, match_limit, rows
from plurnk.schemes.selection import Wanted
from plurnk.schemes.together import read_together
from plurnk.store import channels, entries
from plurnk.store.channels import Channel
from plurnk.store.database import Tx
from plurnk.store.entries import Entry
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import Origin
from plurnk.wire.results import OpResult

GONE, CANCEL = 410, 499
"""The signals of SEND and HIDE that mean "delete the entry" and "cancel its live stream"."""


class EntryScheme:
    """One scheme over the store's entries. Paths under ``reserved`` are not the model's to write."""

    def __init__(self, manifest: Manifest, *, reserved: str | None = None) -> None:
        self.manifest = manifest
        self._name = manifest.name
        self._reserved = reserved
        self.handlers: Mapping[OpName, Handler] = {
            "FIND": self.find,
            "READ": self.read,
            "EDIT": self.edit,
            "SHOW": self.show,
            "HIDE": self.hide,
            "SEND": self.send,
        }

    # -- operations

    async def find(self, call: Call) -> OpResult:
        statement = call.statement
        assert isinstance(statement, Find)
        wanted = selection.wanted(self._pathname(statement.target), statement.signal, statement.body)
        self._check_fragment(statement.target)
        found = await self._select(call, wanted, statement.target)
        return selection.listing(
            found, lambda entry: self._uri(entry.pathname), statement.line_marker, call.read_max_chars
        )

    async def read(self, call: Call) -> OpResult:
        statement = call.statement
        assert isinstance(statement, Read)
        pathname = self._pathname(statement.target)
        name = self._channel_name(statement.target)
        with match_limit(call):
            if not has_glob(pathname):
                return await self._read(call, statement, name, call.read_max_chars, pathname)
            found = await self._select(call, selection.wanted(pathname, statement.signal, None), statement.target)
            if [entry.pathname for entry in found] == [pathname]:
                return await self._read(call, statement, name, call.read_max_chars, pathname)
            return await read_together(
                [entry.pathname for entry in found],
                self._uri,
                lambda path, max_chars: self._read(call, statement, name, max_chars, path),
                call.read_max_chars,
            )

    async def _read(self, call: Call, statement: Read, name: str, max_chars: int, pathname: str) -> OpResult:
        tags = frozenset(statement.signal or ())
        marker, matcher = statement.line_marker, statement.body

        def source(db: Snapshot) -> reading.ChannelSource:
            entry = self._entry(db, call.turn, pathname)
            if not tags <= set(entries.tags(db, entry.id)):
                raise NotFound(f"{self._uri(pathname)} does not have the tags {', '.join(sorted(tags))}")
            return reading.ChannelSource(db, self._channel(db, entry, name))

        if matcher is None:
            return await call.store.read(lambda db: reading.read(source(db), marker, max_chars=max_chars))
        subject = await call.store.read(lambda db: reading.subject(source(db), marker, matcher))
        return reading.rows_result(await rows(call, matcher, subject, max_chars), name)

    async def edit(self, call: Call) -> Unit:
        statement = call.statement
        assert isinstance(statement, Edit)
        pathname = self._pathname(statement.target)
        name = self._channel_name(statement.target)
        self._check_reserved(call.origin, pathname)
        if not pathname:
            raise Malformed(f"EDIT needs a path after {self._name}://")
        return partial(self._edit, call.turn, statement, pathname, name)

    def _edit(self, turn: TurnRef, statement: Edit, pathname: str, name: str, tx: Tx) -> OpResult:
        body = statement.body or ""
        entry = entries.find(tx.db, self._session(turn), self._name, pathname)
        if entry is None and name != self.manifest.default_channel:
            raise NotFound(f"{self._uri(pathname)} is not there, so it has no channel {name}")
        old = new = body.encode()
        if entry is None:
            entry = entries.create(tx, self._session(turn), self._name, pathname)
            status = 201
        else:
            status = 200
            old = self._editable(tx, entry, name)
            if statement.line_marker is not None:
                new = parts.edited(old, statement.line_marker, body, self._type(pathname, name))
        channel = channels.find(tx.db, entry.id, name)
        if channel is None or new != old:
            channel = self._write(tx, entry, name, new)
        elif status == 200:
            status = 304
        if entries.add_tags(tx, entry.id, statement.signal or ()) and status == 304:
            status = 200
        entries.index(tx, turn.run_id, [channel.id])
        diff = None
        if status == 200 and new != old:
            diff = diffs.unified(old.decode("utf-8", "replace"), new.decode("utf-8", "replace"), self._uri(pathname))
        return OpResult(status=status, entry_id=entry.id, channel=name, diff=diff)

    async def show(self, call: Call) -> Unit:
        statement = call.statement
        assert isinstance(statement, Show)
        return await self._toggle(call, statement, entries.index)

    async def hide(self, call: Call) -> Unit:
        statement = call.statement
        assert isinstance(statement, Hide)
        if isinstance(statement.signal, int) and statement.signal != CANCEL:
            raise Malformed(f"HIDE takes tags or 499, not {statement.signal}")
        return await self._toggle(call, statement, entries.archive)

    async def _toggle(self, call: Call, statement: Show | Hide, change: entries.ChangeIndex) -> Unit:
        """SHOW or HIDE: ``change`` the run's index for what the statement names."""
        tags = statement.signal if isinstance(statement.signal, tuple) else ()
        wanted = selection.wanted(self._pathname(statement.target), tags, statement.body)
        fragment = statement.target.fragment if isinstance(statement.target, UrlTarget) else None
        self._check_fragment(statement.target)
        name = fragment or None
        is_one = wanted.is_one_path and statement.line_marker is None
        if is_one:
            chosen: Sequence[Entry] = [await call.store.read(lambda db: self._entry(db, call.turn, wanted.scope))]
        else:
            chosen = selection.page(await self._select(call, wanted, statement.target), statement.line_marker)
        cancelled = await _cancel_all(call.streams, chosen) if statement.signal == CANCEL else False

        def unit(tx: Tx) -> OpResult:
            # The one may be gone since it was read, and that is a 404; of many, those that are gone have no channels.
            there = [self._entry(tx.db, call.turn, wanted.scope)] if is_one else chosen
            ids = [c.id for e in there for c in channels.of_entry(tx.db, e.id) if name in {None, c.name}]
            changed = change(tx, call.turn.run_id, ids)
            return OpResult(status=200 if changed or cancelled else 304, matches=len(there))

        return unit

    async def _select(self, call: Call, wanted: Wanted, target: Target | None) -> Sequence[Entry]:
        """The entries that ``wanted`` names; by content, it is that of the channel that ``target`` names."""
        found = await call.store.read(lambda db: selection.select(db, self._session(call.turn), self._name, wanted))
        matcher = wanted.content
        if matcher is None:
            return found
        name = self._channel_name(target)
        with match_limit(call):
            return await having(call, matcher, found, lambda db, entry: _subject(db, entry, name, matcher))

    async def send(self, call: Call) -> OpResult | Unit:
        statement = call.statement
        assert isinstance(statement, Send)
        pathname = self._pathname(statement.target)
        fragment = statement.target.fragment if isinstance(statement.target, UrlTarget) else None
        self._check_fragment(statement.target)
        if statement.signal == CANCEL:
            return await self._cancel(call, pathname)
        if statement.signal != GONE:
            raise Unsupported(f"{self._name}:// does not take SEND[{statement.signal}]; 410 deletes an entry")
        self._check_reserved(call.origin, pathname)
        if fragment is None:
            return partial(self._delete, call.turn, pathname)
        return partial(self._delete_channel, call.turn, pathname, self._channel_name(statement.target))

    async def _cancel(self, call: Call, pathname: str) -> OpResult:
        entry = await call.store.read(lambda db: self._entry(db, call.turn, pathname))
        if not await call.streams.cancel(entry.id, reason="SEND[499]"):
            raise Conflict(f"{self._uri(pathname)} has no live stream")
        return OpResult(status=200, entry_id=entry.id)

    def _delete(self, turn: TurnRef, pathname: str, tx: Tx) -> OpResult:
        entry = self._entry(tx.db, turn, pathname)
        entries.delete(tx, entry.id)
        return OpResult(status=200, entry_id=entry.id)

    def _delete_channel(self, turn: TurnRef, pathname: str, name: str, tx: Tx) -> OpResult:
        entry = self._entry(tx.db, turn, pathname)
        channels.delete(tx.db, self._channel(tx.db, entry, name).id)
        return OpResult(status=200, entry_id=entry.id, channel=name)

    # -- COPY and MOVE

    def read_entry(self, tx: Tx, turn: TurnRef, pathname: str) -> EntryContent | None:
        entry = entries.find(tx.db, self._session(turn), self._name, pathname)
        if entry is None:
            return None
        return EntryContent(
            channels={
                c.name: ChannelContent(mimetype=c.mimetype, data=channels.read_bytes(tx.db, c))
                for c in channels.of_entry(tx.db, entry.id)
            },
            tags=entries.tags(tx.db, entry.id),
        )

    def write_entry(self, tx: Tx, turn: TurnRef, origin: Origin, pathname: str, content: EntryContent) -> int:
        self._check_reserved(origin, pathname)
        if not pathname:
            raise Malformed(f"a path is needed after {self._name}://")
        for name, channel in content.channels.items():
            self._check_accepted(name, channel.mimetype)
        session_id = self._session(turn)
        entry = entries.find(tx.db, session_id, self._name, pathname)
        if entry is None:
            entry = entries.create(tx, session_id, self._name, pathname)
        written = [self._write(tx, entry, name, channel.data) for name, channel in content.channels.items()]
        entries.set_tags(tx, entry.id, content.tags)
        entries.index(tx, turn.run_id, [channel.id for channel in written])
        return entry.id

    def delete_entry(self, tx: Tx, turn: TurnRef, origin: Origin, pathname: str, channel: str | None) -> None:
        self._check_reserved(origin, pathname)
        entry = entries.find(tx.db, self._session(turn), self._name, pathname)
        if entry is None:
            return
        if channel is None:
            entries.delete(tx, entry.id)
        else:
            channels.delete(tx.db, self._channel(tx.db, entry, channel).id)

    # -- parts

    def _session(self, turn: TurnRef) -> int | None:
        return turn.session_id if self.manifest.scope == "session" else None

    def _uri(self, pathname: str) -> str:
        return entry_address(self._name, pathname)

    def _pathname(self, target: Target | None) -> str:
        if target is None:
            raise Malformed(f"a target such as {self._name}://name is needed")
        return entry_pathname(target)

    def _channel_name(self, target: Target | None) -> str:
        fragment = target.fragment if isinstance(target, UrlTarget) else None
        name = fragment or self.manifest.default_channel
        if name is None:
            raise Malformed(f"{self._name}:// has no default channel; name one of {self._declared()} after #")
        if name not in self.manifest.channels:
            raise Malformed(f"{self._name}:// has no channel {name}; it has {self._declared()}")
        return name

    def _check_fragment(self, target: Target | None) -> None:
        if isinstance(target, UrlTarget) and target.fragment:
            self._channel_name(target)

    def _declared(self) -> str:
        return ", ".join(self.manifest.channels)

    def _check_reserved(self, origin: Origin, pathname: str) -> None:
        if origin == "model" and self._reserved is not None and pathname.startswith(self._reserved):
            raise Denied(f"writer 'model' may not write {self._uri(self._reserved)}…")

    def _check_accepted(self, name: str, mimetype: str) -> None:
        spec = self.manifest.channels.get(name)
        if spec is None:
            raise UnsupportedType(f"{self._name}:// has no channel {name}")
        if not any(mimetypes.fits(mimetype, accepted) for accepted in spec.accepts):
            raise UnsupportedType(f"{self._name}://#{name} takes {', '.join(spec.accepts)}, not {mimetype}")

    def _entry(self, db: Snapshot, turn: TurnRef, pathname: str) -> Entry:
        entry = entries.find(db, self._session(turn), self._name, pathname)
        if entry is None:
            raise NotFound(f"{self._uri(pathname)} is not there")
        return entry

    def _channel(self, db: Snapshot, entry: Entry, name: str) -> Channel:
        channel = channels.find(db, entry.id, name)
        if channel is None:
            raise NotFound(f"{self._uri(entry.pathname)} has no channel {name}")
        return channel

    def _type(self, pathname: str, name: str) -> str:
        return mimetypes.mimetype_of(pathname, self.manifest.channels[name].mimetype)

    def _editable(self, tx: Tx, entry: Entry, name: str) -> bytes:
        channel = channels.find(tx.db, entry.id, name)
        if channel is None:
            return b""
        data = channels.read_bytes(tx.db, channel)
        if not mimetypes.is_text(channel.mimetype, data):
            raise UnsupportedType(f"{self._uri(entry.pathname)} is {channel.mimetype}, which EDIT cannot change")
        return data

    def _write(self, tx: Tx, entry: Entry, name: str, data: bytes) -> Channel:
        mimetype = self._type(entry.pathname, name)
        channel = channels.find(tx.db, entry.id, name) or channels.create(tx.db, entry.id, name, mimetype)
        entries.touch(tx, entry.id)
        tokens = estimate_tokens(data.decode("utf-8", "replace"))
        return channels.replace(tx.db, channel, data, mimetype=mimetype, tokens=tokens)


async def _cancel_all(live: Streams, chosen: Sequence[Entry]) -> bool:
    """Cancel the streams of these entries, all at the same time; False: none is live."""
    answers: list[bool] = []

    async def cancel(entry: Entry) -> None:
        answers.append(await live.cancel(entry.id, reason="HIDE[499]"))

    async with trio.open_nursery() as cancels:
        for entry in chosen:
            cancels.start_soon(cancel, entry)
    return any(answers)


def _subject(db: Snapshot, entry: Entry, name: str, matcher: Matcher) -> Subject | None:
    channel = channels.find(db, entry.id, name)
    return None if channel is None else reading.whole_subject(reading.ChannelSource(db, channel), matcher)
