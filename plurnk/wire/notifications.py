"""What the daemon tells its clients unasked (SPEC 6.4)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from plurnk.language.ast import LineMarker, OpName

Origin: TypeAlias = Literal["model", "client", "system", "plugin"]
WakeAction: TypeAlias = Literal["skipped-aborted", "skipped-no-provider", "no-op-active-loop", "opened-loop"]


class Notification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base: ``method`` is the JSON-RPC method; ``durable`` ones go through the events table (6.5)."""

    method: ClassVar[str]
    durable: ClassVar[bool] = True


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens and cost of a turn or loop; ``costPico`` is in pico-USD."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cost_pico: int = 0


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the log, in the field names of the wire (snake case but for ``lineMarker``).

    ``tx`` is what was asked (``{"body": …}`` as in the AST), ``rx`` the result; ``at`` is RFC 3339 UTC.
    """

    id: int
    run_id: int
    loop_id: int
    turn_id: int
    loop_seq: int
    turn_seq: int
    sequence: int
    at: str
    origin: Origin
    op: OpName
    suffix: str
    signal: Any
    scheme: str | None
    username: str | None
    password: str | None
    hostname: str | None
    port: int | None
    pathname: str | None
    params: dict[str, Any] | None
    fragment: str | None
    line_marker: LineMarker | None = msgspec.field(name="lineMarker")
    tx: dict[str, Any]
    mimetype_tx: str
    rx: dict[str, Any]
    mimetype_rx: str
    status_rx: int
    tokens: int
    state: str
    outcome: str | None


class LogEntryAdded(Notification, frozen=True):
    method = "log/entry"
    entry: LogEntry


class LogEntryUpdated(Notification, frozen=True):
    method = "log/updated"
    entry: LogEntry


class LoopStarted(Notification, frozen=True):
    method = "loop/started"
    loop_id: int
    run_id: int
    prompt: str
    origin: Origin


class LoopTerminated(Notification, frozen=True):
    """``reason`` (SPEC 3.1): null when it ended as it should. ``error``: what ``reason`` does not tell."""

    method = "loop/terminated"
    loop_id: int
    run_id: int
    final_status: int
    hit_max_turns: bool
    reason: str | None
    usage: Usage
    error: str | None = None


class ProposalTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Scheme null: a file."""

    scheme: str | None
    pathname: str | None


class LoopProposal(Notification, frozen=True):
    """Something with effects outside waits for ``loop.resolve`` (SPEC 5.3). ``attrs`` are the scheme's.

    ``flags``: the loop's, and ``approved``, the id of the standing approval that accepts it, if one does.
    """

    method = "loop/proposal"
    log_entry_id: int
    session_id: int
    run_id: int
    loop_id: int
    turn_id: int
    op: OpName
    target: ProposalTarget
    body: str
    attrs: dict[str, Any]
    flags: dict[str, Any]


class StreamEvent(Notification, frozen=True):
    """A channel has grown or changed its state; ``contentLength`` counts bytes that are committed.

    ``awaitingInput``: a process has waited for its stdin for a while; said once a wait.
    """

    method = "stream/event"
    durable = False
    entry_id: int
    target: str
    channel: str
    state: Literal["active", "closed", "errored"]
    content_length: int
    awaiting_input: bool | msgspec.UnsetType = msgspec.UNSET


class StreamConcluded(Notification, frozen=True, kw_only=True):
    """A stream is over (SPEC 4.4). ``exitCode`` and ``signal`` are a command's; 128 + n comes with its signal."""

    method = "stream/concluded"
    session_id: int
    run_id: int
    entry_id: int
    target: str
    subscription_id: int
    close_status: int
    scheme: str
    summary: str
    exit_code: int | msgspec.UnsetType = msgspec.UNSET
    signal: str | msgspec.UnsetType = msgspec.UNSET
    stdout_bytes: int
    stderr_bytes: int
    duration_ms: int
    wake_action: WakeAction
    wake_loop_id: int | msgspec.UnsetType = msgspec.UNSET


class SessionCreated(Notification, frozen=True):
    method = "session/created"
    id: int
    name: str
    project_root: str | None
    persona: str | None


class TelemetryEvent(Notification, frozen=True):
    """``event`` is a flat object with ``kind`` and ``message`` (SPEC 3.5)."""

    method = "telemetry/event"
    loop_id: int
    event: dict[str, Any]


class TurnDelta(Notification, frozen=True):
    """A piece of the model's answer as it streams; only for clients that attached with ``deltas``.

    ``attempt`` counts from 1. The first of a higher one, whose text is empty, says that what came of the turn before
    is void: the provider failed in mid-answer and is asked again (SPEC 3.8).
    """

    method = "turn/delta"
    durable = False
    loop_id: int
    turn_id: int
    kind: Literal["content", "reasoning"]
    text: str
    attempt: int = 1


class SessionLagged(Notification, frozen=True):
    """The client was too slow and missed events; attach again with ``since: resumeFrom``."""

    method = "session/lagged"
    durable = False
    resume_from: int
