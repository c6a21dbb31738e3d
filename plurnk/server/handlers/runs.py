"""run.*"""

from __future__ import annotations

from collections.abc import Mapping

from plurnk.errors import NotFound
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import forking, sessions
from plurnk.store.database import Tx
from plurnk.store.query import Snapshot
from plurnk.store.sessions import Run
from plurnk.wire import answers, params, problems


def run_of(db: Snapshot, session_id: int, run_id: int) -> Run:
    """Return a run of the session.

    Raises:
        RequestError: the session has none of that id.
    """
    for run in sessions.runs(db, session_id):
        if run.id == run_id:
            return run
    raise problems.run_not_found(run_id)


async def fork(client: Client, asked: params.RunForkParams) -> answers.RunForkResult:
    place = await client.state.place()

    def unit(tx: Tx) -> Run:
        original = run_of(tx.db, place.session_id, asked.run_id or place.run_id)
        try:
            return forking.fork(tx, original.id, name=asked.name, at_turn=asked.at_turn)
        except NotFound as error:  # the run is there
            raise problems.loop_not_found(error.detail) from None

    copy = await client.state.engine.store.write(unit)
    return answers.RunForkResult(run_id=copy.id, run_name=copy.name)


HANDLERS: Mapping[str, Handler[Client]] = {"run.fork": fork}
