"""The methods: one table, from which decoding, ``discover`` and the OpenRPC document are made (SPEC 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

import msgspec

from plurnk.wire import answers, jsonrpc, params
from plurnk.wire.params import Params
from plurnk.wire.results import OpResult

PROTOCOL_VERSION: Final = "0.5"


@dataclass(frozen=True)
class Method:
    """``needs_session``: a fresh client gets a session of its own. ``long_running``: no RPC timeout."""

    name: str
    params: type[Params]
    result: type[msgspec.Struct]
    summary: str
    _: KW_ONLY
    needs_session: bool = False
    long_running: bool = False

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Params]:
        return msgspec.json.Decoder(self.params)

    def decode(self, raw: msgspec.Raw) -> Params:
        """Read the params of a request.

        Raises:
            RequestError: -32602, naming the field and what it should be.
        """
        return jsonrpc.decode_params(raw, self._decoder)


_TABLE: Final = (
    Method("ping", params.NoParams, answers.Empty, "Nothing, quickly"),
    Method("discover", params.NoParams, answers.DiscoverResult, "What this daemon can do, and how to ask it"),
    Method("daemon.status", params.NoParams, answers.DaemonStatusResult, "How the daemon is: counts, queues, sizes"),
    Method(
        "session.create",
        params.SessionCreateParams,
        answers.SessionCreateResult,
        "Make a session with its first run, and attach to it",
    ),
    Method("session.list", params.SessionListParams, answers.SessionListResult, "Sessions, newest first"),
    Method(
        "session.attach",
        params.SessionAttachParams,
        answers.SessionAttachResult,
        "Receive a session's events, those after `since` first",
    ),
    Method("session.runs", params.SessionRunsParams, answers.SessionRunsResult, "The runs of a session"),
    Method(
        "session.set_root",
        params.SessionSetRootParams,
        answers.SessionSetRootResult,
        "Give the session a project directory, or take it away",
        needs_session=True,
    ),
    Method(
        "session.set_persona",
        params.SessionSetPersonaParams,
        answers.SessionSetPersonaResult,
        "Set the session's persona, or take it away",
        needs_session=True,
    ),
    Method("session.rename", params.SessionRenameParams, answers.SessionRenameResult, "Give a session another name"),
    Method("session.archive", params.SessionIdParams, answers.SessionArchiveResult, "Mark a session as done with"),
    Method(
        "session.delete",
        params.SessionIdParams,
        answers.SessionDeleteResult,
        "End a session's loops and streams, then remove all of it",
    ),
    Method(
        "run.fork",
        params.RunForkParams,
        answers.RunForkResult,
        "Make a run that begins where another one is, or was at a turn",
        needs_session=True,
    ),
    Method(
        "loop.run",
        params.LoopRunParams,
        answers.LoopRunResult,
        "Have a prompt worked on, and wait for the end",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "loop.inject",
        params.LoopInjectParams,
        answers.LoopInjectResult,
        "Show a prompt to the live loop at its next turn",
        needs_session=True,
    ),
    Method("loop.cancel", params.LoopCancelParams, answers.LoopCancelResult, "End the live loop", needs_session=True),
    Method(
        "loop.resolve",
        params.LoopResolveParams,
        answers.LoopResolveResult,
        "Accept, reject or cancel what was proposed",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "proposal.list",
        params.NoParams,
        answers.ProposalListResult,
        "What waits for loop.resolve in the session",
        needs_session=True,
    ),
    Method(
        "approval.add",
        params.ApprovalAddParams,
        answers.ApprovalView,
        "Accept what matches from now on, in this session",
        needs_session=True,
    ),
    Method(
        "approval.list", params.NoParams, answers.ApprovalListResult, "What is accepted by itself", needs_session=True
    ),
    Method(
        "approval.remove",
        params.ApprovalRemoveParams,
        answers.ApprovalRemoveResult,
        "Ask about such things again",
        needs_session=True,
    ),
    Method(
        "file.history",
        params.FileHistoryParams,
        answers.FileHistoryResult,
        "What a file held before each accepted write",
        needs_session=True,
    ),
    Method(
        "file.restore",
        params.FileRestoreParams,
        OpResult,
        "Propose that a file holds again what it held then; answered when that is resolved",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "subscription.list",
        params.SubscriptionListParams,
        answers.SubscriptionListResult,
        "The session's live streams, and with `all` those that are over",
        needs_session=True,
    ),
    Method(
        "subscription.cancel",
        params.SubscriptionCancelParams,
        answers.SubscriptionCancelResult,
        "End a stream; answered when nothing of it is left",
        needs_session=True,
        long_running=True,
    ),
    Method("providers.list", params.NoParams, answers.ProvidersListResult, "The model aliases and which is active"),
    Method(
        "entry.read",
        params.EntryReadParams,
        answers.EntryReadResult,
        "An entry with its channels, or one channel from a byte on",
        needs_session=True,
    ),
    Method(
        "log.read",
        params.LogReadParams,
        answers.LogReadResult,
        "Rows of the session's log, or of one run's",
        needs_session=True,
    ),
    Method("op.find", params.OpFindParams, OpResult, "FIND: addresses below a scope", needs_session=True),
    Method(
        "op.read",
        params.OpTargetParams,
        OpResult,
        "READ: content, a part of it, or what matches in it",
        needs_session=True,
    ),
    Method("op.show", params.OpTargetParams, OpResult, "SHOW: put into the index", needs_session=True),
    Method("op.hide", params.OpTargetParams, OpResult, "HIDE: take out of the index", needs_session=True),
    Method(
        "op.edit",
        params.OpEditParams,
        OpResult,
        "EDIT: write content, or replace lines of it",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.copy",
        params.OpTransferParams,
        OpResult,
        "COPY: write a source's content to a destination",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.move",
        params.OpTransferParams,
        OpResult,
        "MOVE: the same, and remove it from the source",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.send",
        params.OpSendParams,
        OpResult,
        "SEND: a status to an entry, a process or everybody",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.exec",
        params.OpExecParams,
        OpResult,
        "EXEC: run a command; answered when its proposal is resolved",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.dispatch",
        params.OpDispatchParams,
        OpResult,
        "Any statement, as its AST",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "op.parse",
        params.OpParseParams,
        answers.OpParseResult,
        "The statements of a text, in order, as one turn",
        needs_session=True,
        long_running=True,
    ),
    Method(
        "packet.read",
        params.PacketReadParams,
        answers.PacketReadResult,
        "What a turn's model was sent",
        needs_session=True,
    ),
)

METHODS: Final[Mapping[str, Method]] = MappingProxyType({method.name: method for method in _TABLE})
