"""exec:// – running commands: an entry of streams for each, made by EXEC and spoken to by SEND (SPEC 4.2, 4.3)."""

from __future__ import annotations

from functools import partial

from plurnk.errors import Malformed, NotFound, Overran
from plurnk.language.ast import Exec, LocalTarget, Send, UrlTarget
from plurnk.language.targets import canonical, entry_pathname
from plurnk.plugins.api import (
    Accepted,
    Call,
    ChannelSpec,
    CommandOrder,
    Manifest,
    OpResult,
    Proposal,
    ReadyCommand,
    Tx,
    Unit,
)
from plurnk.schemes.entries import EntryScheme
from plurnk.store import channels, entries, sessions
from plurnk.store.log import TurnRef
from plurnk.store.query import Snapshot

DEFAULT_RUNTIME = "sh"
STREAMS = ("stdout", "stderr", "stdin")
HANDLE_CHARS: int = 100
"""A subscription's handle is the beginning of its command's first line."""

INPUT, END_OF_INPUT = 200, 204
"""The signals of SEND that write to stdin and close it."""

_SCRIPTS = ("skill", "known", "unknown")
"""Schemes whose entries can be run."""

_STREAM = ChannelSpec(mimetype="text/plain", orientation="tail")


class ExecScheme(EntryScheme):
    """Entries that nobody edits. EXEC makes one and opens its stream in one transaction with its log row."""

    def __init__(self) -> None:
        super().__init__(
            Manifest(
                name="exec",
                channels=dict.fromkeys(STREAMS, _STREAM),
                default_channel="stdout",
                writable_by=frozenset({"model", "client"}),
                effects="external",
                proposes=True,
                excluded_in_ask=True,
                editable=False,
                category="streams",
            )
        )
        self.handlers = {**self.handlers, "EXEC": self.exec}

    # -- EXEC

    async def exec(self, call: Call) -> Proposal:
        """Find all that the command needs, and propose it."""
        statement = call.statement
        assert isinstance(statement, Exec)
        order = CommandOrder(
            runtime=statement.signal or DEFAULT_RUNTIME,
            command=await self._command(call, statement),
            cwd=statement.target.raw if isinstance(statement.target, LocalTarget) else None,
            session_id=call.turn.session_id,
            project_root=call.project_root,
        )
        ready = await call.commands.prepare(order)
        return Proposal(body=order.command, attrs=ready.attrs, apply=partial(self._start, call, order, ready))

    async def _command(self, call: Call, statement: Exec) -> str:
        """The command's text: the body, or the content of the entry that is its target."""
        body, target = statement.body or "", statement.target
        if not isinstance(target, UrlTarget):
            return body
        if target.scheme not in _SCRIPTS:
            raise Malformed(f"EXEC runs the content of a note, such as {_SCRIPTS[0]}://script, not {target.raw}")
        if body.strip():
            raise Malformed("EXEC takes a command in its body or in the entry that is its target, not in both")
        name, pathname = target.scheme, entry_pathname(target)

        def text(db: Snapshot) -> str:
            entry = entries.find(db, call.turn.session_id, name, pathname) or entries.find(db, None, name, pathname)
            found = entry and channels.of_entry(db, entry.id)
            wanted = [c for c in found or () if target.fragment in (None, c.name)]
            if not wanted:
                raise NotFound(f"{canonical(target)} is not there")
            return channels.read_bytes(db, wanted[0]).decode("utf-8", "replace")

        return await call.store.read(text)

    async def _start(self, call: Call, order: CommandOrder, ready: ReadyCommand, accepted: Accepted) -> None:
        command = accepted.body
        if not command.strip():
            raise Malformed("a command cannot be empty")
        turn = call.turn

        def opened(tx: Tx, entry_id: int, subscription_id: int) -> None:
            address = entries.address(tx.db, entry_id)
            result = OpResult(
                status=102,
                entry_id=entry_id,
                entry=address,
                subscription_id=subscription_id,
                command=command if command != order.command else None,
            )
            accepted.record(tx, result)

        await call.streams.open(
            turn,
            partial(self._make_entry, turn, order.runtime, command, ready),
            scheme=self._name,
            handle=command.strip().splitlines()[0][:HANDLE_CHARS],
            channels=STREAMS,
            work=ready.work(command, accepted.grant),
            opened=opened,
        )

    def _make_entry(self, turn: TurnRef, runtime: str, command: str, ready: ReadyCommand, tx: Tx) -> int:
        number = sessions.next_command(tx, turn.session_id)
        entry = entries.create(tx, self._session(turn), self._name, f"{runtime}-{number}")
        entries.set_attribute(tx, entry.id, "command", command)
        entries.set_attribute(tx, entry.id, "cwd", ready.attrs["cwd"])
        made = [channels.create(tx.db, entry.id, name, _STREAM.mimetype) for name in STREAMS]
        entries.index(tx, turn.run_id, [channel.id for channel in made if channel.name != "stdin"])
        return entry.id

    # -- SEND

    async def send(self, call: Call) -> OpResult | Unit:
        """Write to the command's stdin or close it; the rest as of any entry."""
        statement = call.statement
        assert isinstance(statement, Send)
        if statement.signal not in (INPUT, END_OF_INPUT):
            return await super().send(call)
        target = statement.target
        fragment = target.fragment if isinstance(target, UrlTarget) else None
        if fragment not in (None, "stdin"):
            raise Malformed(f"nobody but the command writes {self._name}://#{fragment}; its stdin can be sent to")
        pathname = self._pathname(target)
        entry = await call.store.read(lambda db: self._entry(db, call.turn, pathname))
        if statement.signal == END_OF_INPUT:
            if statement.body is not None and statement.body.raw:
                raise Malformed("SEND[204] closes stdin and takes no text; send that with SEND[200] before")
            await call.streams.close_input(entry.id)
            return OpResult(status=200, entry_id=entry.id, channel="stdin")
        text = statement.body.raw if statement.body is not None else ""
        if fragment is None and not text.endswith("\n"):
            text += "\n"
        data = text.encode()
        taken = await call.streams.send(entry.id, data)
        if taken < len(data):
            raise Overran(f"{self._uri(pathname)} took {taken} of {len(data)} bytes; it does not read its stdin")
        return OpResult(status=200, entry_id=entry.id, channel="stdin")


exec_ = ExecScheme()
