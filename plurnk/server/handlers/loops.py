"""loop.*, but for loop.resolve"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import loops
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot
from plurnk.wire import answers, params
from plurnk.wire.notifications import Usage


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
        error=loop.error,
    )


async def inject(client: Client, asked: params.LoopInjectParams) -> answers.LoopInjectResult:
    place = await client.state.place()
    submitted = await client.state.engine.submit(place.run_id, Submission(prompt=asked.prompt))
    return answers.LoopInjectResult(action=submitted.action, loop_id=submitted.loop_id, turn_seq=submitted.turn_seq)


async def cancel(client: Client, asked: params.LoopCancelParams) -> answers.LoopCancelResult:
    place = await client.state.place()
    reason = asked.reason or "cancelled by a client"
    ended = await client.state.engine.cancel(place.run_id, reason, queued_too=asked.all, loop_id=asked.loop_id)
    return answers.LoopCancelResult(
        cancelled=ended.loop_id is not None or bool(ended.dropped),
        run_id=place.run_id,
        loop_id=ended.loop_id if asked.loop_id is None or not ended.dropped else asked.loop_id,
        reason=reason,
    )


HANDLERS: Mapping[str, Handler[Client]] = {
    "loop.run": run,
    "loop.inject": inject,
    "loop.cancel": cancel,
}
