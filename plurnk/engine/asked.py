"""An operation that has to be accepted: who asked for it, what was shown, and whether that still holds (SPEC 5.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from plurnk.errors import PlurnkError, Stale
from plurnk.language.ast import Statement, op_name
from plurnk.plugins.api import Proposal, Unit
from plurnk.rules.digest import digest
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import LogEntry, LoopProposal, Origin, ProposalTarget
from plurnk.wire.params import LoopFlags
from plurnk.wire.results import OpResult

CHANGED_ON_DISK: Final = "changed on disk since the proposal"
_CHANGED: Final = frozenset({400, 404, 409, 413, 415, 416})
"""What a statement is refused with that could be shown before: the file is another one now."""


class Suspended(Exception):
    """The daemon stops while a model's loop waits for an answer: the next start takes both up as they are."""


Also: TypeAlias = Callable[[Tx, LogEntry], None]
"""More to write in the transaction of a row that is done with, such as the turn's end."""

WorkOut: TypeAlias = Callable[[], Awaitable[OpResult | Unit | Proposal]]
"""Find out what a statement would do now. Raises what refuses it."""


@dataclass(slots=True)
class Patience:
    """How long somebody has waited for verdicts in all: that counts as no time of a loop's (SPEC 5.3)."""

    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked for what, and how it is worked out again. ``also`` is run in the transaction of its answer."""

    turn: TurnRef
    statement: Statement
    origin: Origin
    flags: LoopFlags
    project_root: str | None
    patience: Patience
    again: WorkOut
    also: Also | None = None


def digest_of(statement: Statement, target: ProposalTarget, proposal: Proposal) -> str:
    return digest(op=op_name(statement), target=target, body=proposal.body, attrs=proposal.attrs)


async def as_shown(asked: Asked, told: LoopProposal) -> Proposal:
    """The operation as it is worked out now, which is as it was shown.

    Raises:
        Stale: it would do something else now.
        PlurnkError: it is refused now.
    """
    on_disk = "path" in told.attrs
    try:
        effect = await asked.again()
    except PlurnkError as error:
        if on_disk and error.status in _CHANGED:
            raise Stale(CHANGED_ON_DISK) from error
        raise
    if isinstance(effect, Proposal) and digest_of(asked.statement, told.target, effect) == told.attrs["digest"]:
        return effect
    raise Stale(CHANGED_ON_DISK if on_disk else "what it would do is not what was shown any more")


async def misfit(asked: Asked | None, told: LoopProposal, body: str) -> PlurnkError | None:
    """Why ``body`` cannot be accepted instead of what was proposed, as far as that can be told before."""
    if asked is None:  # its loop has ended
        return None
    with suppress(PlurnkError):  # then nothing can be accepted, which the decision will say
        shown = await as_shown(asked, told)
        try:
            if shown.check is not None:
                await shown.check(body)
        except PlurnkError as error:
            return error
    return None
