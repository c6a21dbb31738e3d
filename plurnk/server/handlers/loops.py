"""loop.* and proposal.list"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plurnk.plugins.api import CommandGrant
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import loops
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot
from plurnk.wire import answers, params
from plurnk.wire.notifications import LoopProposal, Usage


async def run(client: Client, asked: params.LoopRunParams) -> answers.LoopRunResult:
    """Have a prompt worked on. When the client leaves while it waits, the loop goes on (SPEC 3.1)."""
    place, engine = await client.state.place(), client.state.engine
    submission = Submission(
        prompt=asked.prompt,
        flags=msgspec.json.encode(asked.flags).decode() if asked.flags is not None else None,
        alias=asked.alias,
        persona=asked.persona,
        max_turns=asked.max_turns,
        queue=asked.queue,
    )
    submitted = await engine.submit(place.run_id, submission)
    if submitted.action == "injected_next_turn" or not asked.wait:
        return answers.LoopRunResult(
            loop_id=submitted.loop_id,
            turn_ids=(),
            final_status=loops.QUEUED,
            hit_max_turns=False,
            reason=None,
            usage=Usage(),
            action=submitted.action,
        )
    loop = await engine.loop_end(submitted.loop_id)

    def account(db: Snapshot) -> tuple[list[int], Usage]:
        return loops.turn_ids(db, loop.id), loops.usage(db, loop.id)

    turn_ids, usage = await engine.store.read(account)
    return answers.LoopRunResult(
        loop_id=loop.id,
        turn_ids=tuple(turn_ids),
        final_status=loop.status,
        hit_max_turns=loop.reason == "max_turns",
        reason=loop.reason,
        usage=usage,
        action=submitted.action,
    )


async def inject(client: Client, asked: params.LoopInjectParams) -> answers.LoopInjectResult:
    place = await client.state.place()
    submitted = await client.state.engine.submit(place.run_id, Submission(prompt=asked.prompt))
    return answers.LoopInjectResult(action=submitted.action, loop_id=submitted.loop_id, turn_seq=submitted.turn_seq)


async def cancel(client: Client, asked: params.LoopCancelParams) -> answers.LoopCancelResult:
    place = await client.state.place()
    reason = asked.reason or "cancelled by a client"
    ended = await client.state.engine.cancel(place.run_id, reason, queued_too=asked.all)
    return answers.LoopCancelResult(
        cancelled=ended.loop_id is not None or bool(ended.dropped),
        run_id=place.run_id,
        loop_id=ended.loop_id,
        reason=reason,
    )


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


HANDLERS: Mapping[str, Handler[Client]] = {
    "loop.run": run,
    "loop.inject": inject,
    "loop.cancel": cancel,
    "loop.resolve": resolve,
    "proposal.list": proposals,
}
