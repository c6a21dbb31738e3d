"""What the author of a plugin imports, besides ``plurnk.errors`` and the statements of ``plurnk.language.ast``
(SPEC 2.3, 3.8, 7.4).

A scheme plugin is an object that satisfies ``Scheme`` under the entry-point group ``plurnk.schemes``,
its name there being its manifest's. An executor satisfies ``Executor`` under ``plurnk.executors``; its name
there is the runtime's. A provider plugin satisfies ``ProviderFactory`` under
``plurnk.providers``; its name there is the ``<provider>`` of ``PLURNK_MODEL_<alias>=<provider>/<model>``.
A preview handler satisfies ``PreviewHandler`` under ``plurnk.mimetypes``; its name there is its mimetype.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from plurnk.content.previews import PreviewHandler
from plurnk.language.ast import OpName, Statement
from plurnk.plugins.discovery import CONTRACT_VERSION
from plurnk.plugins.streaming import (
    CommandGrant,
    CommandOrder,
    Commands,
    Conclusion,
    Executor,
    Feed,
    Inlet,
    Opened,
    ReadyCommand,
    Streams,
    Work,
)
from plurnk.store.database import Store, Tx
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import Origin
from plurnk.wire.results import OpResult
from plurnk.workers.tasks import Task

if TYPE_CHECKING:
    import httpx

__all__ = [
    "CONTRACT_VERSION",
    "Accepted",
    "Call",
    "ChannelContent",
    "ChannelSpec",
    "CommandGrant",
    "CommandOrder",
    "Commands",
    "Completion",
    "Conclusion",
    "Delta",
    "EntryContent",
    "EntryStorage",
    "Executor",
    "Feed",
    "GenerateRequest",
    "Handler",
    "Inlet",
    "Manifest",
    "Message",
    "OpName",
    "OpResult",
    "Opened",
    "Origin",
    "PreviewHandler",
    "Proposal",
    "Provider",
    "ProviderFactory",
    "ProviderSettings",
    "ReadyCommand",
    "Role",
    "Scheme",
    "Statement",
    "Store",
    "Streams",
    "TurnRef",
    "Tx",
    "Unit",
    "Usage",
    "Work",
    "Workers",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """A channel that a scheme's entries have; ``mimetype`` unless the path says otherwise.

    ``accepts``: what COPY and MOVE may bring, as ``text/plain``, ``image/*`` or ``*/*``.
    """

    mimetype: str = "text/markdown"
    accepts: tuple[str, ...] = ("*/*",)
    orientation: Literal["head", "tail"] = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a scheme is (SPEC 2.3). ``channels``' first is not special; ``default_channel`` is."""

    name: str
    channels: Mapping[str, ChannelSpec]
    default_channel: str | None
    writable_by: frozenset[Origin]
    scope: Literal["session", "agent"] = "session"
    authority: bool = False
    effects: Literal["none", "internal", "external"] = "internal"
    proposes: bool = False
    excluded_in_ask: bool = False
    requires_web: bool = False
    requires_interaction: bool = False
    editable: bool = True
    model_visible: bool = True
    category: str = "notes"
    contract_version: int = CONTRACT_VERSION


class Workers(Protocol):
    """Processes for what may take too long (``plurnk.workers``)."""

    async def ask(self, task: Task[T]) -> T:
        """Have ``task`` done.

        Raises:
            PlurnkError: what the task raised; TooLarge when it needed too much memory; 500 when its process crashed.

        Cancelled: whatever was being done for it is over.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation to be done: who asks, where it is logged, and with what to do it.

    ``hidden``: absolute paths of the daemon's own, which are kept out of everybody's sight.
    """

    turn: TurnRef
    origin: Origin
    statement: Statement
    store: Store
    workers: Workers
    streams: Streams
    commands: Commands
    project_root: str | None
    read_max_chars: int
    match_timeout_s: float
    hidden: tuple[str, ...] = ()


Unit: TypeAlias = Callable[[Tx], OpResult]
"""The effect of an operation on the store. It runs in the transaction that writes the log row, so
there is never one without the other; raising a ``PlurnkError`` undoes it and becomes the result. What
was undone because a live stream was in its way is run again when that stream has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A proposal that may be carried out, with the body that was accepted and what was granted.

    ``record`` writes the operation's result. It is to be called once, in the transaction of the effect, so that
    there is never one without the other. ``log_entry_id`` is the id of the operation's row.
    """

    log_entry_id: int
    body: str
    grant: CommandGrant
    record: Callable[[Tx, OpResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An operation that is shown and has to be accepted before it has an effect (SPEC 5.3).

    ``body`` and ``attrs`` (JSON) are what is shown. ``apply`` carries it out; it has recorded its result when it
    returns. A ``PlurnkError`` that it raises becomes the result. ``check`` raises one for a body that could not be
    accepted instead of this one; whoever sent that is told, and may try again.

    When it is accepted, its statement is worked out again, and ``apply`` is the one of the proposal that came of
    that: it is the same, to the last of ``body`` and ``attrs``, or it is refused. So all that matters is in them.
    """

    body: str
    attrs: Mapping[str, Any]
    apply: Callable[[Accepted], Awaitable[None]]
    check: Callable[[str], Awaitable[None]] | None = None


Handler: TypeAlias = Callable[[Call], Awaitable[OpResult | Unit | Proposal]]
"""Does an operation: returns its result, the unit that makes it, or a proposal to make it.

Raises:
    PlurnkError: a refusal; its status and detail become the result.
"""


class Scheme(Protocol):
    """A kind of resource. An op that has no handler answers 501."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def handlers(self) -> Mapping[OpName, Handler]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelContent:
    mimetype: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryContent:
    """An entry as COPY and MOVE carry it: channels by name, and tags."""

    channels: Mapping[str, ChannelContent]
    tags: tuple[str, ...] = ()


@runtime_checkable
class EntryStorage(Protocol):
    """What a scheme whose entries live in the store has besides, for COPY and MOVE across schemes.

    All three run inside a write unit; ``pathname`` is decoded.
    """

    def read_entry(self, tx: Tx, turn: TurnRef, pathname: str) -> EntryContent | None:
        """The entry, or None when there is none."""
        ...

    def write_entry(self, tx: Tx, turn: TurnRef, origin: Origin, pathname: str, content: EntryContent) -> int:
        """Set the given channels and exactly these tags, making the entry if need be; returns its id.

        Raises:
            PlurnkError: the path or a channel is refused.
        """
        ...

    def delete_entry(self, tx: Tx, turn: TurnRef, origin: Origin, pathname: str, channel: str | None) -> None:
        """Remove the entry, or only that channel of it. Nothing happens when it is not there."""
        ...


Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One round trip: the messages exactly as stored in the turn's packet.

    For prompt caching: ``cache_marks`` are offsets in the first message, in characters, ascending. Up to each of
    them it is expected to come again unchanged, and a mark that one turn has, the next one has, too: the first is
    the end of what hardly ever changes, the others are the ends of what each turn has added.
    ``reasoning_tokens`` 0 means "do not ask for reasoning".
    """

    messages: tuple[Message, ...]
    cache_marks: tuple[int, ...] = ()
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider reported them; ``cached`` is part of ``prompt``, ``reasoning`` of ``completion``.

    ``cache_written``: the part of ``prompt`` that the provider charges for keeping; for ``cost_for``, not recorded.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_written: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    kind: Literal["content", "reasoning"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The whole answer. ``raw`` is the provider's own last object, JSON by definition."""

    content: str
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    model: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Provider(Protocol):
    """One model, ready to be asked; used by one turn at a time."""

    @property
    def model(self) -> str: ...

    @property
    def context_size(self) -> int | None: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text``: sync and cheap; an estimate will do."""
        ...

    def cost_for(self, usage: Usage) -> int:
        """Cost of ``usage`` in pico-USD; 0 when prices are not known."""
        ...

    def generate(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[Delta | Completion]]:
        """Ask. Iterate for deltas; the last item is the one ``Completion``.

        Leaving the block, by ``Cancelled`` too, closes the provider's stream before it returns.

        Raises:
            UpstreamFailed: the provider refused, failed, or broke off (never naming the key). It is asked again, from
                the start, if this is a ``plurnk.providers.errors.ProviderFailed`` that is ``transient``.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What a factory gets. ``env`` is the effective environment (PLURNK_* cascade and keys);
    ``http`` returns the daemon's one shared client, made at first use.
    """

    alias: str
    provider: str
    model: str
    env: Mapping[str, str]
    http: Callable[[], httpx.AsyncClient]

    def option(self, name: str) -> str | None:
        """The alias's own setting ``PLURNK_MODEL_<alias>__<name>``, or None."""
        return self.env.get(f"PLURNK_MODEL_{self.alias}__{name}")


class ProviderFactory(Protocol):
    """``uses_http``: its providers ask over ``settings.http``; that client is then there before the first turn."""

    contract_version: int
    uses_http: bool

    def __call__(self, settings: ProviderSettings) -> Provider:
        """Make a provider. Called on a worker thread, so importing what is heavy is fine; no I/O on the network.

        Raises:
            Malformed: a setting is missing or wrong; the message names the variable.
        """
        ...
