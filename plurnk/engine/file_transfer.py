"""COPY and MOVE with a file at either end: what it comes to is found out first, then proposed (SPEC 2.4, 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import msgspec

from plurnk.content import diffs
from plurnk.engine.transfer import Place, Transfer
from plurnk.errors import Conflict, Stale, TooLarge, UnsupportedType
from plurnk.files.beneath import Root
from plurnk.files.reading import FileContent
from plurnk.language.ast import Copy, Move
from plurnk.language.targets import entry_address
from plurnk.plugins.api import (
    Call,
    ChannelContent,
    EntryContent,
    Manifest,
    OpResult,
    Origin,
    Proposal,
    Store,
    TurnRef,
    Tx,
    Unit,
)
from plurnk.schemes.disk import Change
from plurnk.schemes.files import registered
from plurnk.schemes.files.project import FILE_MAX_BYTES, content_of, project_of, real_path, type_of
from plurnk.schemes.files.proposing import Intent, Record, proposal
from plurnk.store import entries
from plurnk.store.channels import BeingWritten


@dataclass(frozen=True, slots=True)
class FilePlace:
    """An end that is a file, as it was named."""

    manifest: Manifest
    path: str


class _Rehearsed(Exception):
    """No error: raised to undo what was rehearsed."""

    def __init__(self, result: OpResult) -> None:
        super().__init__()
        self.result = result


class _FileEnd:
    """A file as storage for a transfer: it is read from what was found on disk, and keeps what it is to hold.

    The store's part, which is the file's entry, is done at once.
    """

    def __init__(self, path: str, change_path: str, found: FileContent | None) -> None:
        self.path = path
        self.change_path = change_path
        self.found = found
        self.data = self.base
        self.mimetype = type_of(path, self.base or b"")

    @property
    def base(self) -> bytes | None:
        return None if self.found is None else self.found.data

    def read_entry(self, tx: Tx, turn: TurnRef, pathname: str) -> EntryContent | None:
        if self.base is None:
            return None
        content = ChannelContent(mimetype=self.mimetype, data=self.base)
        tags = registered.tags(tx.db, turn.session_id, pathname)
        return EntryContent(channels={registered.BODY: content}, tags=tags)

    def write_entry(
        self,
        tx: Tx,
        turn: TurnRef,
        origin: Origin,  # noqa: ARG002 – EntryStorage's; here and below
        pathname: str,
        content: EntryContent,
    ) -> int:
        for name in content.channels:
            if name != registered.BODY:
                raise UnsupportedType(f"a file has no channel {name}; copy #{name} alone")
        data = content.channels[registered.BODY].data
        if len(data) > FILE_MAX_BYTES:
            raise TooLarge(f"a file that is written has at most {FILE_MAX_BYTES} bytes")
        self.data = data
        channel = registered.register(tx, turn.session_id, pathname, type_of(pathname, data))
        entries.set_tags(tx, channel.entry_id, content.tags)
        entries.index(tx, turn.run_id, [channel.id])
        return channel.entry_id

    def delete_entry(
        self,
        tx: Tx,
        turn: TurnRef,
        origin: Origin,  # noqa: ARG002
        pathname: str,
        channel: str | None,  # noqa: ARG002
    ) -> None:
        self.data = None
        registered.forget(tx, turn.session_id, pathname)

    def change(self, mode: int | None = None) -> Change:
        return Change(path=self.change_path, base=self.base, new=self.data, mode=mode)


async def transfer_files(
    call: Call, statement: Copy | Move, source: Place | FilePlace, destination: Place | FilePlace | None
) -> Unit | Proposal:
    """Do or propose what ``statement`` says; a file that is only read needs nobody's consent.

    Raises:
        NotFound, Conflict, NoSuchRange, UnsupportedType, Malformed, Denied: as SPEC 2.4 says.
    """
    from_place, origin = await _opened(call, source, is_written=isinstance(statement, Move))
    to_place, target = await _opened(call, destination, is_written=True) if destination is not None else (None, None)
    transfer = Transfer(call.turn, call.origin, statement, from_place, to_place)
    if isinstance(statement, Copy) and target is None:
        return transfer
    result = await _rehearsed(call.store, transfer)
    if result.status == 304:
        return transfer
    intent = _intent(transfer, origin, target)
    shown = [end.data for end in (origin, target) if end is not None]

    def prepare(made: Change) -> Record:
        # Whoever asked for something else is told.
        diff = diffs.readable(b"", made.new or b"", made.path) or None if made != intent.change else None

        def record(tx: Tx) -> OpResult:
            done = transfer(tx)
            if [end.data for end in (origin, target) if end is not None] != shown:
                raise Stale("the entry has changed since the proposal")
            return done if diff is None else msgspec.structs.replace(done, diff=diff)

        return record

    return await proposal(call, intent, prepare)


async def _opened(call: Call, place: Place | FilePlace, *, is_written: bool) -> tuple[Place, _FileEnd | None]:
    """The place with its storage; that of a file has what is on disk now."""
    if isinstance(place, Place):
        return place, None
    end = await project_of(call).on_thread(partial(_found, place.path, is_written=is_written))
    return Place(end, place.manifest, end.path, None), end


def _found(path: str, root: Root, *, is_written: bool) -> _FileEnd:
    path = root.locate(path)
    real = real_path(root, path) if is_written else None
    found = content_of(root, path)
    return _FileEnd(path, real or (path if found is None else found.path), found)


async def _rehearsed(store: Store, transfer: Transfer) -> OpResult:
    """What ``transfer`` would come to, and leave in the files; nothing is written.

    Raises:
        PlurnkError: as it refuses.
    """

    def rehearse(tx: Tx) -> None:
        raise _Rehearsed(transfer(tx))

    try:
        await store.write(rehearse)
    except _Rehearsed as rehearsed:
        return rehearsed.result
    except BeingWritten:
        # Nobody could be shown what is to be moved: it is still growing.
        raise Conflict(f"a live stream writes {transfer.source}; cancel it first") from None
    raise AssertionError


def _intent(transfer: Transfer, origin: _FileEnd | None, target: _FileEnd | None) -> Intent:
    """What the rehearsed ``transfer`` means for the files at its ends."""
    statement = transfer.statement
    if target is None:
        assert origin is not None
        to = transfer.destination
        return Intent(
            kind="delete" if origin.data is None else "edit",
            change=origin.change(),
            to=None if to is None else entry_address(to.manifest.name, to.pathname),
        )
    if origin is None:
        return Intent(kind="create", change=target.change(), may_be_edited=True)
    mode = None if origin.found is None else origin.found.mode
    is_move = isinstance(statement, Move)
    return Intent(
        kind="create" if statement.line_marker is not None else "move" if is_move else "copy",
        change=target.change(mode),
        source=origin.change_path,
        source_base=origin.base,
        left=origin.change() if is_move else None,
    )
