"""One operation, from statement to log row (SPEC 2.4).

Whatever happens – a refusal, a crash of the handler – there is exactly one row, and the row is in the
same transaction as the effect: never one without the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import msgspec

from plurnk.engine.asked import Also, Asked, Patience
from plurnk.engine.file_transfer import FilePlace, transfer_files
from plurnk.engine.limits import Limits
from plurnk.engine.proposals import Proposals
from plurnk.engine.transfer import Place, Transfer
from plurnk.errors import Denied, Malformed, NotEditable, PlurnkError, Unsupported
from plurnk.language.ast import Copy, Edit, Exec, Hide, LocalTarget, Move, Send, Statement, Target, op_name
from plurnk.language.targets import FILE, check_file_targets, entry_pathname, localized
from plurnk.plugins.api import Call, Commands, EntryStorage, Manifest, Proposal, Scheme, Streams, Unit, Workers
from plurnk.schemes.files import FileScheme
from plurnk.store import log, proposals
from plurnk.store.channels import BeingWritten
from plurnk.store.database import Store, Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.proposals import Proposed
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry, Origin
from plurnk.wire.params import LoopFlags
from plurnk.wire.results import OpResult

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who wants operations done, under which rules, and how long that has waited to be allowed to.

    ``read_max_chars``: what one READ returns at most; None: as much as the limits say.
    """

    origin: Origin
    flags: LoopFlags
    project_root: str | None
    read_max_chars: int | None = None
    patience: Patience = field(default_factory=Patience)


class Dispatcher:
    """Does operations over the installed schemes."""

    def __init__(
        self,
        store: Store,
        schemes: Mapping[str, Scheme],
        *,
        streams: Streams,
        commands: Commands,
        workers: Workers,
        proposals: Proposals,
        limits: Limits,
        hidden: tuple[str, ...] = (),
    ) -> None:
        self._store = store
        self._workers = workers
        self._streams = streams
        self._commands = commands
        self._proposals = proposals
        self._schemes = schemes
        self._limits = limits
        self.hidden = hidden

    async def dispatch(
        self, turn: TurnRef, asked: Statement, asker: Asker, *, also: Also | None = None
    ) -> tuple[LogEntry, OpResult]:
        """Do what is ``asked`` and write its row; when this returns, both are committed.

        Raises:
            OutOfRoom, StoreFailed: not even the row of a refusal could be written.

        Cancelled: either nothing happened, or all of it did; a live stream that was in its way may be cancelled.
        What was proposed and not carried out yet has its row, answered 499.
        """
        statement = localized(asked)

        def record(tx: Tx, result: OpResult) -> tuple[LogEntry, OpResult]:
            row = log.add(tx, turn, statement, origin=asker.origin, result=result)
            if also is not None:
                also(tx, row)
            return row, result

        try:
            check_file_targets(asked)
            effect = await self._effect(turn, statement, asker)
            if not isinstance(effect, OpResult | Proposal):
                unit = effect
                return await self._write(lambda tx: record(tx, unit(tx)))
        except Exception as error:  # noqa: BLE001 – SPEC 2.4: a handler that raises is a 500, and has its row
            # What the unit had written was undone with it; the row is left to write.
            effect = _refused(statement, error)
        if isinstance(effect, Proposal):
            answered = self._proposals.see_through(self._asked(turn, statement, asker, also), effect)
            del effect  # it holds what files hold; as long as it waits, nobody needs that
            row = await answered
            return row, msgspec.structs.replace(msgspec.convert(row.rx, OpResult), outcome=row.outcome)
        result = effect
        return await self._store.write(lambda tx: record(tx, result))

    def _asked(self, turn: TurnRef, statement: Statement, asker: Asker, also: Also | None) -> Asked:
        return Asked(
            turn=turn,
            statement=statement,
            origin=asker.origin,
            flags=asker.flags,
            project_root=asker.project_root,
            patience=asker.patience,
            again=partial(self._effect, turn, statement, asker),
            also=also,
        )

    async def take_up(self, loop: Loop, asker: Asker) -> None:
        """See through what the loop had proposed when the daemon was stopped, in order (SPEC 5.3).

        Raises, Cancelled: as ``dispatch``.
        """
        for row_id in self._proposals.reopened(loop.id):
            found = await self._store.read(partial(_reopened, loop, row_id))
            if found is not None:
                turn, proposed = found
                as_then = replace(asker, project_root=proposed.project_root)
                asked = self._asked(turn, proposed.statement, as_then, None)
                await self._proposals.see_through_reopened(asked, row_id)

    def drop_proposals(self, loop_id: int) -> None:
        """Forget what the loop, which has ended, had not taken up."""
        self._proposals.drop(loop_id)

    async def _write(self, unit: Callable[[Tx], T]) -> T:
        """Write ``unit``. If it deletes what a live stream writes, that stream is cancelled first (SPEC 2.4)."""
        looked_again = False
        while True:
            try:
                return await self._store.write(unit)
            except BeingWritten as error:
                refusal = error
            if not await self._streams.cancel(refusal.entry_id, reason="its entry was deleted"):
                # It may have ended between the two, which the next look sees.
                if looked_again:
                    raise refusal
                looked_again = True

    async def _effect(self, turn: TurnRef, statement: Statement, asker: Asker) -> OpResult | Unit | Proposal:
        if isinstance(statement, Send) and statement.target is None:
            return _broadcast(statement)
        scheme = self._scheme(statement, statement.target)
        if isinstance(statement, Copy | Move):
            return await self._transfer(turn, statement, asker)
        handler = scheme.handlers.get(op_name(statement))
        if isinstance(statement, Edit | Send | Exec):
            _check_writer(scheme.manifest, asker.origin)
        _check_flags(scheme.manifest, asker.flags, writes=_writes(statement))
        if isinstance(statement, Edit):
            _check_editable(scheme.manifest)
        if handler is None:
            raise Unsupported(f"there is no {op_name(statement)} of {_named(scheme.manifest)}")
        return await handler(self._call(turn, statement, asker))

    def _call(self, turn: TurnRef, statement: Statement, asker: Asker) -> Call:
        return Call(
            turn=turn,
            origin=asker.origin,
            statement=statement,
            store=self._store,
            workers=self._workers,
            streams=self._streams,
            commands=self._commands,
            project_root=asker.project_root,
            read_max_chars=asker.read_max_chars or self._limits.read_max_chars,
            match_timeout_s=self._limits.match_timeout_s,
            hidden=self.hidden,
        )

    async def _transfer(self, turn: TurnRef, statement: Copy | Move, asker: Asker) -> Unit | Proposal:
        source = self._end(statement, statement.target)
        destination = self._end(statement, statement.body) if statement.body is not None else None
        written = [place for place in (destination, source if isinstance(statement, Move) else None) if place]
        for place in written:
            _check_writer(place.manifest, asker.origin)
        for end in (source, destination):
            if end is not None:
                _check_flags(end.manifest, asker.flags, writes=end in written)
        if destination is not None:
            _check_editable(destination.manifest)
        if isinstance(statement, Move) and statement.line_marker is not None:
            _check_editable(source.manifest)  # the other lines stay, in a new generation
        if isinstance(source, FilePlace) or isinstance(destination, FilePlace):
            return await transfer_files(self._call(turn, statement, asker), statement, source, destination)
        return Transfer(turn, asker.origin, statement, source, destination)

    def _end(self, statement: Copy | Move, target: Target | None) -> Place | FilePlace:
        scheme = self._scheme(statement, target)
        if isinstance(scheme, FileScheme) and target is not None:
            return FilePlace(scheme.manifest, entry_pathname(target))
        if target is None or isinstance(target, LocalTarget) or not isinstance(scheme, EntryStorage):
            raise Unsupported(f"there is no {op_name(statement)} of {_named(scheme.manifest)}")
        channel = target.fragment
        if channel is not None and channel not in scheme.manifest.channels:
            raise Malformed(f"{scheme.manifest.name}:// has no channel {channel}")
        return Place(scheme, scheme.manifest, entry_pathname(target), channel)

    def _scheme(self, statement: Statement, target: Target | None) -> Scheme:
        if isinstance(statement, Exec):
            name = "exec"  # its target is where to run, not what
        elif target is None:
            raise Malformed(f"{op_name(statement)} needs a target")
        else:
            name = FILE if isinstance(target, LocalTarget) else target.scheme
        scheme = self._schemes.get(name)
        if scheme is None:
            raise Unsupported(f"no scheme {name!r} to {op_name(statement)} with; there are {', '.join(self._schemes)}")
        return scheme


def _reopened(loop: Loop, row_id: int, db: Snapshot) -> tuple[TurnRef, Proposed] | None:
    """Where that row of the loop belongs, and what it proposed; None when its session is gone."""
    row, proposed = log.get(db, row_id), proposals.find(db, loop.session_id, row_id)
    if row is None or proposed is None:
        return None
    turn = TurnRef(
        session_id=loop.session_id,
        run_id=row.run_id,
        loop_id=row.loop_id,
        turn_id=row.turn_id,
        loop_seq=row.loop_seq,
        turn_seq=row.turn_seq,
    )
    return turn, proposed


def _check_writer(manifest: Manifest, origin: Origin) -> None:
    if origin not in manifest.writable_by:
        raise Denied(f"writer '{origin}' may not write {_named(manifest)}")


def _writes(statement: Statement) -> bool:
    # HIDE[499] ends a stream as SEND[499] does.
    ends = isinstance(statement, Hide) and isinstance(statement.signal, int)
    return ends or isinstance(statement, Edit | Send | Exec)


def _check_editable(manifest: Manifest) -> None:
    if not manifest.editable:
        raise NotEditable(f"{_named(manifest)} cannot be edited")


def _named(manifest: Manifest) -> str:
    return "files" if manifest.name == FILE else f"{manifest.name}://"


def _check_flags(manifest: Manifest, flags: LoopFlags, *, writes: bool) -> None:
    if (
        (flags.mode == "ask" and writes and manifest.effects == "external")
        or (flags.no_web and manifest.requires_web)
        or (flags.no_interaction and manifest.requires_interaction)
        or (flags.no_proposals and writes and manifest.proposes)
    ):
        raise Denied(f"scheme '{manifest.name}' is inactive under this loop's flags")


def _broadcast(statement: Send) -> OpResult:
    if statement.signal is None:
        raise Malformed("SEND needs a status, such as SEND[200]")
    return OpResult(status=200)


def _refused(statement: Statement, error: Exception) -> OpResult:
    if isinstance(error, PlurnkError) and error.status != 500:
        return OpResult(status=error.status, error=error.detail)
    logger.error("%s failed", op_name(statement), exc_info=error)
    return OpResult(status=500, error=f"{op_name(statement)} failed inside plurnk: {error}")
