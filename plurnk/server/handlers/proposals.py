"""loop.resolve, proposal.list and approval.*: what is decided about operations that wait (SPEC 5.3)"""

from __future__ import annotations

from collections.abc import Mapping

from plurnk.plugins.api import CommandGrant
from plurnk.rules.approvals import Approval, check
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import approvals
from plurnk.wire import answers, params
from plurnk.wire.notifications import LoopProposal


async def resolve(client: Client, asked: params.LoopResolveParams) -> answers.LoopResolveResult:
    """Answered when what was decided has been carried out (SPEC 5.3)."""
    place = await client.state.place()
    grant = asked.grant or params.Grant()
    resolution = await client.state.engine.proposals.resolve(
        place.session_id,
        asked.log_entry_id,
        asked.decision,
        body=asked.body,
        outcome=asked.outcome,
        grant=CommandGrant(network=grant.network, writable=grant.writable),
        digest=asked.digest,
    )
    return answers.LoopResolveResult(
        status=resolution.status,
        log_entry_id=asked.log_entry_id,
        outcome=resolution.outcome,
        error=resolution.error,
    )


async def proposals(client: Client, _asked: params.NoParams) -> answers.ProposalListResult:
    place = await client.state.place()
    pending = client.state.engine.proposals.pending(place.session_id)
    return answers.ProposalListResult(proposals=tuple(_view(one.told, one.at) for one in pending))


def _view(told: LoopProposal, at: str) -> answers.ProposalView:
    return answers.ProposalView(
        log_entry_id=told.log_entry_id,
        run_id=told.run_id,
        loop_id=told.loop_id,
        turn_id=told.turn_id,
        op=told.op,
        target=told.target,
        body=told.body,
        attrs=told.attrs,
        flags=told.flags,
        at=at,
    )


async def add_approval(client: Client, asked: params.ApprovalAddParams) -> answers.ApprovalView:
    approval = Approval(
        op=asked.op,
        scheme=asked.scheme,
        path_glob=asked.path_glob,
        command_prefix=asked.command_prefix,
        sandbox_profile=asked.sandbox_profile,
    )
    check(approval)
    place = await client.state.place()
    return await client.state.engine.store.write(lambda tx: approvals.add(tx, place.session_id, approval))


async def list_approvals(client: Client, _asked: params.NoParams) -> answers.ApprovalListResult:
    place = await client.state.place()
    found = await client.state.engine.store.read(lambda db: approvals.of_session(db, place.session_id))
    return answers.ApprovalListResult(approvals=tuple(found))


async def remove_approval(client: Client, asked: params.ApprovalRemoveParams) -> answers.ApprovalRemoveResult:
    place = await client.state.place()
    removed = await client.state.engine.store.write(lambda tx: approvals.remove(tx, place.session_id, asked.id))
    return answers.ApprovalRemoveResult(id=asked.id, removed=removed)


HANDLERS: Mapping[str, Handler[Client]] = {
    "loop.resolve": resolve,
    "proposal.list": proposals,
    "approval.add": add_approval,
    "approval.list": list_approvals,
    "approval.remove": remove_approval,
}
