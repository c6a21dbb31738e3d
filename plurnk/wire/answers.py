"""What each method answers (SPEC 6.3). A field with a default is left out while it has it."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from plurnk.language.ast import OpName, ParseError
from plurnk.wire.notifications import LogEntry, ProposalTarget, Usage
from plurnk.wire.params import SandboxProfile
from plurnk.wire.results import OpResult

ChannelState: TypeAlias = Literal["static", "active", "closed", "errored"]
RunAction: TypeAlias = Literal["injected_next_turn", "enqueued_new_loop"]


class Result(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base. Unknown fields are let pass, so that an older client can read a newer daemon."""


class Row(msgspec.Struct, frozen=True):
    """Base of what a list holds: the columns' own names, all of them present."""


class Empty(Result, frozen=True):
    pass


class ServerInfo(Result, frozen=True):
    name: str
    version: str


class Capabilities(Result, frozen=True):
    """Names of what is installed; ``sandbox`` is the backend's, null when commands cannot run."""

    providers: tuple[str, ...]
    schemes: tuple[str, ...]
    mimetypes: tuple[str, ...]
    executors: tuple[str, ...]
    sandbox: str | None


class DiscoverResult(Result, frozen=True):
    protocol_version: str
    server: ServerInfo
    methods: tuple[str, ...]
    notifications: tuple[str, ...]
    capabilities: Capabilities
    openrpc: dict[str, Any]


class Counts(Result, frozen=True):
    """``loops``: status → how many."""

    sessions: int
    loops: dict[str, int]
    streams: int
    clients: int


class DaemonStatusResult(Result, frozen=True):
    """``queues``: name → how much waits in it."""

    version: str
    uptime_ms: int
    counts: Counts
    queues: dict[str, int]
    db_bytes: int
    sandbox: str | None


class SessionCreateResult(Result, frozen=True):
    id: int
    name: str
    project_root: str | None
    persona: str | None
    run_id: int
    run_name: str


class SessionRow(Row, frozen=True):
    id: int
    name: str
    project_root: str | None
    persona: str | None
    created_at: str
    cost_pico: int
    archived: bool


class SessionListResult(Result, frozen=True):
    """Newest first."""

    sessions: tuple[SessionRow, ...]


class SessionAttachResult(Result, frozen=True):
    """``resync``: events after ``since`` are no longer all kept; ``oldest`` is the first that is."""

    id: int
    name: str
    run_id: int
    run_name: str
    project_root: str | None
    last_event_id: int
    resync: bool = False
    oldest: int | None = None


class RunRow(Row, frozen=True):
    id: int
    name: str
    created_at: str
    cost_pico: int
    parent_run_id: int | None


class SessionRunsResult(Result, frozen=True):
    runs: tuple[RunRow, ...]


class SessionSetRootResult(Result, frozen=True):
    id: int
    project_root: str | None


class SessionSetPersonaResult(Result, frozen=True):
    id: int
    persona: str | None


class SessionRenameResult(Result, frozen=True):
    id: int
    name: str


class SessionArchiveResult(Result, frozen=True):
    id: int
    archived: bool


class SessionDeleteResult(Result, frozen=True):
    id: int
    deleted: bool


class RunForkResult(Result, frozen=True):
    run_id: int
    run_name: str


class LoopRunResult(Result, frozen=True):
    """``finalStatus`` 100: not waited for, or injected into a live loop. ``error``: what ``reason`` does not tell."""

    loop_id: int
    turn_ids: tuple[int, ...]
    final_status: int
    hit_max_turns: bool
    reason: str | None
    usage: Usage
    action: RunAction
    error: str | None = None


class LoopInjectResult(Result, frozen=True):
    action: RunAction
    loop_id: int
    turn_seq: int | None = None


class LoopCancelResult(Result, frozen=True):
    cancelled: bool
    run_id: int
    reason: str | None
    loop_id: int | None = None


class LoopResolveResult(Result, frozen=True):
    """``status`` is the operation's after the decision: 404 nothing is pending there, 409 somebody was first."""

    status: int
    log_entry_id: int
    outcome: str | None = None
    error: str | None = None


class ProposalView(Result, frozen=True):
    """One that is open, as ``loop/proposal`` told it."""

    log_entry_id: int
    run_id: int
    loop_id: int
    turn_id: int
    op: OpName
    target: ProposalTarget
    body: str
    attrs: dict[str, Any]
    flags: dict[str, Any]
    at: str


class ProposalListResult(Result, frozen=True):
    proposals: tuple[ProposalView, ...]


class ApprovalView(Result, frozen=True):
    """What is accepted by itself, as ``approval.add`` was told."""

    id: int
    op: OpName
    scheme: str | None
    path_glob: str | None
    command_prefix: str | None
    sandbox_profile: SandboxProfile | None
    created_at: str


class ApprovalListResult(Result, frozen=True):
    """Oldest first."""

    approvals: tuple[ApprovalView, ...]


class ApprovalRemoveResult(Result, frozen=True):
    """``removed`` False: there was none of that id in the session."""

    id: int
    removed: bool


class FileVersion(Result, frozen=True):
    """What a file held before an accepted write. ``sha256`` and ``bytes`` null: it was not there.

    ``afterSha256`` is what the write made of it, null: nothing, it was deleted.
    """

    version: int
    at: str
    log_entry_id: int | None
    sha256: str | None
    bytes: int | None
    after_sha256: str | None


class FileHistoryResult(Result, frozen=True):
    """Newest first."""

    target: str
    versions: tuple[FileVersion, ...]


class SubscriptionView(Result, frozen=True):
    """A stream. ``closedAt`` null: it is live. The bytes are those of the channels so far."""

    id: int
    run_id: int
    entry_id: int
    target: str
    scheme: str
    handle: str
    opened_at: str
    stdout_bytes: int
    stderr_bytes: int
    awaiting_input: bool
    closed_at: str | None
    close_status: int | None
    close_detail: str | None
    exit_code: int | None
    signal: str | None


class SubscriptionListResult(Result, frozen=True):
    """Oldest first."""

    subscriptions: tuple[SubscriptionView, ...]


class SubscriptionCancelResult(Result, frozen=True):
    """``status`` 200, also when it had ended before: ``closeStatus`` says how it ended. 404: there is none."""

    status: int
    target: str | None = None
    close_status: int | None = None
    error: str | None = None


class Alias(Result, frozen=True):
    alias: str
    provider: str
    model: str
    active: bool


class ProvidersListResult(Result, frozen=True):
    """``why``: a clause that says why the active one is, when ``PLURNK_MODEL`` does not name it."""

    aliases: tuple[Alias, ...]
    why: str = ""


class ChannelView(Result, frozen=True):
    """``length`` counts the bytes of the whole channel, whatever part ``content`` is; ``next`` is the
    offset of the byte after that part, from which to read on.
    """

    content: str
    mimetype: str
    tokens: int
    state: ChannelState
    length: int
    next: int


class EntryView(Result, frozen=True):
    id: int
    scheme: str | None
    pathname: str
    target: str
    tags: tuple[str, ...]
    attributes: dict[str, Any]
    channels: dict[str, ChannelView]


class EntryReadResult(Result, frozen=True):
    status: int
    entry: EntryView | None = None
    error: str | None = None


class LogReadResult(Result, frozen=True):
    status: int
    entries: tuple[LogEntry, ...]


class OpParseResult(Result, frozen=True):
    """One turn: ``results`` in the order of the statements, ``errors`` of those that could not be read.

    ``loopId`` is the client's own loop: by it a client knows the proposals that it caused itself.
    """

    results: tuple[OpResult, ...]
    errors: tuple[ParseError, ...]
    turn_id: int | None
    loop_id: int | None = None


class PacketReadResult(Result, frozen=True):
    """``packet`` as it is stored (3.4); ``rendered`` as it was sent. ``loop`` and ``turn`` as in the log."""

    turn_id: int
    loop: int
    turn: int
    packet: dict[str, Any]
    rendered: str
