"""What each method is asked with (SPEC 6.3): read once at the edge, unknown fields refused."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from plurnk.language.ast import LineMarker, OpName, Statement

Id: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""A database id. The upper bound is SQLite's; without it a long number would be our bug."""

Offset: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
ShortText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]
"""What is kept and read again and again: in every packet, with every proposal."""

_LINES: Final = r"^-?\d{1,18}([-,]-?\d{1,18})?$"
LineRange: TypeAlias = Annotated[str, Meta(pattern=_LINES, description="N or N-M, as in <L>")] | LineMarker


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base: camelCase on the wire, unknown fields refused."""


class NoParams(Params, frozen=True):
    pass


class LoopFlags(Params, frozen=True):
    """What a loop may do (3.7)."""

    yolo: bool = False
    mode: Literal["act", "ask"] = "act"
    no_web: bool = False
    no_interaction: bool = False
    no_proposals: bool = False


class SessionCreateParams(Params, frozen=True):
    name: Text | None = None
    project_root: Text | None = None
    persona: str | None = None


class SessionListParams(Params, frozen=True):
    """``before``: the id of the last session already seen."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Id | None = None


class SessionAttachParams(Params, frozen=True):
    """``since``: the last eventId seen; ``deltas``: also send the model's answers as they stream."""

    id: Id
    run_id: Id | None = None
    run_name: Text | None = None
    persona: str | None = None
    since: Offset | None = None
    deltas: bool = False


class SessionRunsParams(Params, frozen=True):
    """``id`` None: the session attached to."""

    id: Id | None = None


class SessionSetRootParams(Params, frozen=True):
    project_root: Text | None


class SessionSetPersonaParams(Params, frozen=True):
    persona: str | None


class SessionRenameParams(Params, frozen=True):
    id: Id
    name: Text


class SessionIdParams(Params, frozen=True):
    id: Id


class RunForkParams(Params, frozen=True):
    """``runId`` null: the run attached to; ``name`` null: ``fork-<n>``; ``atTurn`` null: all turns that have ended."""

    run_id: Id | None = None
    name: Text | None = None
    at_turn: Id | None = None


class LoopRunParams(Params, frozen=True):
    """Settings that are absent are the live loop's when there is one, else the daemon's."""

    prompt: Text
    max_turns: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    alias: Text | None = None
    flags: LoopFlags | None = None
    persona: str | None = None
    queue: bool = False
    wait: bool = True


class LoopInjectParams(Params, frozen=True):
    prompt: Text


class LoopCancelParams(Params, frozen=True):
    """The live loop is ended. ``loopId``: that one instead, live or queued. ``all``: the queued ones, too."""

    reason: Text | None = None
    all: bool = False
    loop_id: Id | None = None

    def __post_init__(self) -> None:
        if self.all and self.loop_id is not None:
            raise ValueError("either all or loopId")


class EntryReadParams(Params, frozen=True):
    """``from`` and ``maxBytes`` count bytes of the channel."""

    target: Text
    channel: Text | None = None
    from_: Offset | None = msgspec.field(default=None, name="from")
    max_bytes: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class LogReadParams(Params, frozen=True):
    """``runId`` null: of all runs of the session."""

    run_id: Id | None = None
    loop_id: Id | None = None
    turn_id: Id | None = None
    since_id: Offset | None = None
    before_id: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Literal["asc", "desc"] = "asc"


class OpFindParams(Params, frozen=True):
    """``matcher`` as in a statement's body: ``//xpath``, ``/regex/flags``, ``$.jsonpath``, else a glob."""

    scope: str
    matcher: str | None = None
    tags: tuple[str, ...] | None = None
    line_range: LineRange | None = None


class OpTargetParams(Params, frozen=True):
    """READ, SHOW and HIDE."""

    target: str
    matcher: str | None = None
    tags: tuple[str, ...] | None = None
    line_range: LineRange | None = None


class OpEditParams(Params, frozen=True):
    target: str
    content: str | None = None
    tags: tuple[str, ...] | None = None
    line_range: LineRange | None = None


class OpTransferParams(Params, frozen=True):
    """COPY and MOVE; MOVE without a destination deletes."""

    source: str
    destination: str | None = None
    tags: tuple[str, ...] | None = None
    line_range: LineRange | None = None


class OpSendParams(Params, frozen=True):
    status: Annotated[int, Meta(ge=0, le=999)]
    recipient: str | None = None
    body: str | None = None


class OpExecParams(Params, frozen=True):
    """``cwd`` is relative to the project root; ``runtime`` null: ``sh``."""

    command: str
    cwd: str | None = None
    runtime: Text | None = None


Decision: TypeAlias = Literal["accept", "reject", "cancel"]


class Grant(Params, frozen=True):
    """What a command may do beyond its sandbox profile: the network, and directories to write in."""

    network: bool = False
    writable: tuple[Text, ...] = ()


class LoopResolveParams(Params, frozen=True):
    """``body`` replaces what was proposed; ``outcome`` is what the model is told; ``grant`` widens a sandbox.

    ``digest``, if it is there, must be that of what was proposed.
    """

    log_entry_id: Id
    decision: Decision
    body: str | None = None
    outcome: ShortText | None = None
    grant: Grant | None = None
    digest: ShortText | None = None


SandboxProfile: TypeAlias = Literal["read-only", "workspace", "workspace-net", "off"]


class ApprovalAddParams(Params, frozen=True):
    """``pathGlob``: every path of a file operation; ``commandPrefix``: of an EXEC's argv.

    ``sandboxProfile``: of an EXEC, the widest; null: ``workspace``.
    """

    op: OpName
    scheme: ShortText | None = None
    path_glob: ShortText | None = None
    command_prefix: ShortText | None = None
    sandbox_profile: SandboxProfile | None = None


class ApprovalRemoveParams(Params, frozen=True):
    id: Id


class FileHistoryParams(Params, frozen=True):
    target: Text


class FileRestoreParams(Params, frozen=True):
    """``version``: as file.history lists it."""

    target: Text
    version: Id


class SubscriptionListParams(Params, frozen=True):
    """``all``: those that are over, too. Of more than ``limit``: those that live, then the newest."""

    all: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class SubscriptionCancelParams(Params, frozen=True):
    """One of them: ``id``, or ``target``, the address of its entry."""

    id: Id | None = None
    target: Text | None = None


class OpDispatchParams(Params, frozen=True):
    statement: Statement


class OpParseParams(Params, frozen=True):
    text: str


class PacketReadParams(Params, frozen=True):
    """``turnId`` alone; or ``loop`` and ``turn``, which count from 1 as in the log, of the run ``runId``.

    Without ``turn`` the loop's last turn that has a packet, without ``loop`` the run's; without ``runId`` of the run
    attached to.
    """

    turn_id: Id | None = None
    run_id: Id | None = None
    loop: Id | None = None
    turn: Id | None = None


def line_marker(lines: LineRange | None) -> LineMarker | None:
    """Return ``lines`` as a statement has it; a text is ``N``, ``N-M`` or ``N,M`` with signed numbers."""
    if not isinstance(lines, str):
        return lines
    first, last = re.fullmatch(r"(-?\d+)(?:[-,](-?\d+))?\n?", lines).groups()  # type: ignore[union-attr]  # by _LINES
    return LineMarker(first=int(first), last=None if last is None else int(last))
