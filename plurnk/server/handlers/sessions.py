"""session.*"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trio

from plurnk.errors import Conflict, Malformed
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler, Then
from plurnk.store import events
from plurnk.store import sessions as store
from plurnk.store.database import Tx
from plurnk.store.query import Snapshot
from plurnk.store.sessions import Run, Session
from plurnk.wire import answers, params, problems

ATTEMPTS: int = 100
"""How often a session is emptied before its deletion is given up; once will do where nobody works against it."""


async def create(client: Client, asked: params.SessionCreateParams) -> Then:
    attachment = client.state
    await _check_root(asked.project_root)
    session, run = await attachment.engine.store.write(
        lambda tx: store.create(tx, name=asked.name, project_root=asked.project_root, persona=asked.persona)
    )
    _place, feed = await attachment.attach(session, run, since=None, deltas=False)
    result = answers.SessionCreateResult(
        id=session.id,
        name=session.name,
        project_root=session.project_root,
        persona=session.persona,
        run_id=run.id,
        run_name=run.name,
    )
    return Then(result, lambda: attachment.replay(feed))


async def listing(client: Client, asked: params.SessionListParams) -> answers.SessionListResult:
    found = await client.state.engine.store.read(lambda db: store.listing(db, limit=asked.limit, before=asked.before))
    return answers.SessionListResult(
        sessions=tuple(
            answers.SessionRow(
                id=s.id,
                name=s.name,
                project_root=s.project_root,
                persona=s.persona,
                created_at=s.created_at,
                cost_pico=s.cost_pico,
                archived=s.archived,
            )
            for s in found
        )
    )


async def attach(client: Client, asked: params.SessionAttachParams) -> Then:
    attachment = client.state

    def find(db: Snapshot) -> tuple[Session, Run, int, int]:
        session = store.get(db, asked.id)
        run = _choose_run(store.runs(db, session.id), asked)
        return session, run, events.oldest_seq(db, session.id), events.last_seq(db, session.id)

    session, run, oldest, last = await attachment.engine.store.read(find)
    if asked.persona is not None:
        await attachment.engine.store.write(lambda tx: store.set_run_persona(tx, run.id, asked.persona))
    # What was asked for is not all there any more: say so, and begin with what is new.
    resync = asked.since is not None and asked.since < oldest - 1
    since = None if resync or asked.since is None else asked.since
    _place, feed = await attachment.attach(session, run, since=since, deltas=asked.deltas)
    result = answers.SessionAttachResult(
        id=session.id,
        name=session.name,
        run_id=run.id,
        run_name=run.name,
        project_root=session.project_root,
        last_event_id=last,
        resync=resync,
        oldest=oldest if resync else None,
    )

    async def catch_up() -> None:
        await attachment.replay(feed)
        attachment.tell_open(feed)

    return Then(result, catch_up)


def _choose_run(runs: list[Run], asked: params.SessionAttachParams) -> Run:
    """The run that was named, else the session's first."""
    for run in runs:
        if asked.run_id in (None, run.id) and asked.run_name in (None, run.name):
            return run
    raise problems.run_not_found(asked.run_id or asked.run_name or "")


async def runs(client: Client, asked: params.SessionRunsParams) -> answers.SessionRunsResult:
    session_id = asked.id if asked.id is not None else (await client.state.place()).session_id

    def find(db: Snapshot) -> list[Run]:
        return store.runs(db, store.get(db, session_id).id)

    found = await client.state.engine.store.read(find)
    return answers.SessionRunsResult(
        runs=tuple(
            answers.RunRow(
                id=run.id,
                name=run.name,
                created_at=run.created_at,
                cost_pico=run.cost_pico,
                parent_run_id=run.parent_run_id,
            )
            for run in found
        )
    )


async def set_root(client: Client, asked: params.SessionSetRootParams) -> answers.SessionSetRootResult:
    await _check_root(asked.project_root)
    session_id = (await client.state.place()).session_id
    await client.state.engine.store.write(lambda tx: store.set_root(tx, session_id, asked.project_root))
    return answers.SessionSetRootResult(id=session_id, project_root=asked.project_root)


async def _check_root(root: str | None) -> None:
    """Raises:
    Malformed: it is no absolute path of a directory.
    """
    if root is None:
        return
    if not root.startswith("/"):
        raise Malformed(f"projectRoot: expected an absolute path; got {root!r}")
    if not await trio.to_thread.run_sync(Path(root).is_dir):
        raise Malformed(f"projectRoot: expected an existing directory; got {root!r}")


async def set_persona(client: Client, asked: params.SessionSetPersonaParams) -> answers.SessionSetPersonaResult:
    session_id = (await client.state.place()).session_id
    await client.state.engine.store.write(lambda tx: store.set_persona(tx, session_id, asked.persona))
    return answers.SessionSetPersonaResult(id=session_id, persona=asked.persona)


async def rename(client: Client, asked: params.SessionRenameParams) -> answers.SessionRenameResult:
    session = await client.state.engine.store.write(lambda tx: store.rename(tx, asked.id, asked.name))
    return answers.SessionRenameResult(id=session.id, name=session.name)


async def archive(client: Client, asked: params.SessionIdParams) -> answers.SessionArchiveResult:
    session = await client.state.engine.store.write(lambda tx: store.archive(tx, asked.id))
    return answers.SessionArchiveResult(id=session.id, archived=session.archived)


async def delete(client: Client, asked: params.SessionIdParams) -> answers.SessionDeleteResult:
    engine = client.state.engine

    def find(db: Snapshot) -> list[int]:
        return [run.id for run in store.runs(db, store.get(db, asked.id).id)]

    def remove(tx: Tx) -> bool:
        return store.delete(tx, asked.id)

    run_ids = await engine.store.read(find)
    await engine.cancel_runs(run_ids, "its session is deleted")
    # What another client has begun since then is ended, too: nothing may go on that has no row.
    for _ in range(ATTEMPTS):
        if await engine.store.write(remove):
            break
        await engine.cancel_runs(run_ids, "its session is deleted")
    else:
        raise Conflict("what its clients begin cannot be ended as fast as they begin it")
    await engine.proposals.abandon(run_ids)  # those made since then have no row any more
    await client.state.commands.forget(asked.id)
    return answers.SessionDeleteResult(id=asked.id, deleted=True)


HANDLERS: Mapping[str, Handler[Client]] = {
    "session.create": create,
    "session.list": listing,
    "session.attach": attach,
    "session.runs": runs,
    "session.set_root": set_root,
    "session.set_persona": set_persona,
    "session.rename": rename,
    "session.archive": archive,
    "session.delete": delete,
}
