"""What is often asked for, by name and with types: commands, proposals, approvals, files.

Each of these raises what ``call`` raises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from plurnk.wire.answers import (
    ApprovalListResult,
    ApprovalRemoveResult,
    ApprovalView,
    FileHistoryResult,
    FileVersion,
    LoopResolveResult,
    ProposalListResult,
    ProposalView,
    SubscriptionCancelResult,
    SubscriptionListResult,
    SubscriptionView,
)
from plurnk.wire.params import (
    ApprovalAddParams,
    ApprovalRemoveParams,
    Decision,
    FileHistoryParams,
    FileRestoreParams,
    Grant,
    LoopResolveParams,
    OpExecParams,
    Params,
    SubscriptionCancelParams,
    SubscriptionListParams,
)
from plurnk.wire.results import OpResult


class Calls(ABC):
    """The part of a client that is nothing but ``call``."""

    @abstractmethod
    async def call(self, method: str, params: Params | Mapping[str, Any] | None = None) -> Any: ...

    async def exec(self, command: str, *, cwd: str | None = None, runtime: str | None = None) -> OpResult:
        """Run a command, once its proposal is accepted; ``entry`` of a 102 is the address to ``follow``.

        Cancelled: the daemon may have started it, or may still do so.
        """
        result: OpResult = await self.call("op.exec", OpExecParams(command=command, cwd=cwd, runtime=runtime))
        return result

    async def proposals(self) -> tuple[ProposalView, ...]:
        """Return what waits for ``resolve`` in the session."""
        found: ProposalListResult = await self.call("proposal.list")
        return found.proposals

    async def resolve(
        self,
        log_entry_id: int,
        decision: Decision,
        *,
        body: str | None = None,
        outcome: str | None = None,
        grant: Grant | None = None,
        digest: str | None = None,
    ) -> LoopResolveResult:
        """Decide on a proposal; its ``status`` is the operation's then.

        ``digest``: of what was looked at, as its ``attrs`` have it; nothing else can be decided on by this then.

        Cancelled: the decision may stand.
        """
        asked = LoopResolveParams(
            log_entry_id=log_entry_id, decision=decision, body=body, outcome=outcome, grant=grant, digest=digest
        )
        result: LoopResolveResult = await self.call("loop.resolve", asked)
        return result

    async def add_approval(self, approval: ApprovalAddParams) -> ApprovalView:
        """Have what matches accepted by itself in the session from now on.

        Cancelled: it may stand.
        """
        result: ApprovalView = await self.call("approval.add", approval)
        return result

    async def approvals(self) -> tuple[ApprovalView, ...]:
        """Return what is accepted by itself in the session, oldest first."""
        found: ApprovalListResult = await self.call("approval.list")
        return found.approvals

    async def remove_approval(self, approval_id: int) -> bool:
        """Have such things asked about again; False: the session has no approval of that id."""
        result: ApprovalRemoveResult = await self.call("approval.remove", ApprovalRemoveParams(id=approval_id))
        return result.removed

    async def file_history(self, target: str) -> tuple[FileVersion, ...]:
        """Return what a file held before each accepted write, newest first."""
        found: FileHistoryResult = await self.call("file.history", FileHistoryParams(target=target))
        return found.versions

    async def file_restore(self, target: str, version: int) -> OpResult:
        """Propose that a file holds again what it held then; returns once that is resolved.

        Cancelled: it may be proposed, and accepted.
        """
        result: OpResult = await self.call("file.restore", FileRestoreParams(target=target, version=version))
        return result

    async def subscriptions(self, *, closed_too: bool = False) -> tuple[SubscriptionView, ...]:
        """Return the session's live streams, oldest first."""
        found: SubscriptionListResult = await self.call("subscription.list", SubscriptionListParams(all=closed_too))
        return found.subscriptions

    async def cancel_subscription(self, which: int | str) -> SubscriptionCancelResult:
        """End the stream with this id, or of the entry with this address; nothing of it is left then.

        Cancelled: the stream's end goes on if the daemon has heard of it.
        """
        asked = SubscriptionCancelParams(id=which) if isinstance(which, int) else SubscriptionCancelParams(target=which)
        result: SubscriptionCancelResult = await self.call("subscription.cancel", asked)
        return result
