"""A client's own operations: each call one turn of the client's loop (SPEC 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio

from plurnk.engine.dispatch import Asker
from plurnk.engine.doing import turn_status
from plurnk.engine.engine import DEFAULT_FLAGS, Engine
from plurnk.errors import NotFound
from plurnk.language.ast import Statement
from plurnk.store import log, loops, sessions, turns
from plurnk.store.database import Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.turns import TurnEnd
from plurnk.wire.notifications import LogEntry
from plurnk.wire.params import LoopFlags
from plurnk.wire.results import OpResult

GOODBYE_LIMIT_S: float = 5.0


class ClientLoop:
    """The loop of one client in one run: opened with its first operation, closed (200) when it leaves.

    A client that moves to another session leaves, too; what it has under way then goes on in the loop, and the last
    of that closes it.
    """

    def __init__(self, engine: Engine, run_id: int) -> None:
        self._engine = engine
        self._run_id = run_id
        self._loop: Loop | None = None
        self._under_way = 0
        self._is_closed = False
        self._opening = trio.Lock()

    @property
    def loop_id(self) -> int | None:
        """The loop that is open; None before the first operation."""
        return None if self._loop is None else self._loop.id

    async def run(self, statements: Sequence[Statement]) -> tuple[list[OpResult], int]:
        """Do the statements in order, as one turn; returns their results and the turn's id.

        Raises:
            NotFound: the run is there no more.

        Cancelled: what was done stays done; the turn is closed 499.
        """
        self._under_way += 1
        try:
            return await self._turn(statements)
        finally:
            self._under_way -= 1
            if self._is_closed:
                # Shield: as of ``close``.
                with trio.move_on_after(GOODBYE_LIMIT_S, shield=True):
                    await self._end_if_idle()

    async def _turn(self, statements: Sequence[Statement]) -> tuple[list[OpResult], int]:
        turn, project_root = await self._begin()
        asker = Asker(origin="client", flags=LoopFlags(), project_root=project_root)
        rows: list[LogEntry] = []
        results: list[OpResult] = []

        def end(tx: Tx, last: LogEntry) -> None:
            turns.end(tx, turn, TurnEnd(status=turn_status([*rows, last])))

        if not statements:
            await self._engine.store.write(lambda tx: turns.end(tx, turn, TurnEnd(status=turn_status([]))))
        try:
            for number, statement in enumerate(statements, 1):
                also = end if number == len(statements) else None
                row, result = await self._engine.dispatcher.dispatch(turn, statement, asker, also=also)
                rows.append(row)
                results.append(result)
        except BaseException:
            # Shield: a turn that is over must not look as if it were still running (SPEC 3.3).
            with trio.move_on_after(GOODBYE_LIMIT_S, shield=True):
                await self._engine.store.write(lambda tx: turns.end(tx, turn, TurnEnd(status=499)))
            raise
        return results, turn.turn_id

    async def _begin(self) -> tuple[TurnRef, str | None]:
        """The next turn, in a loop that is opened if need be, and the session's project root."""
        begun: list[tuple[Loop, TurnRef]] = []

        def unit(tx: Tx) -> tuple[Loop, TurnRef, str | None]:
            session = sessions.get(tx.db, sessions.get_run(tx.db, self._run_id).session_id)
            loop = self._loop or loops.open_client_loop(
                tx, self._run_id, flags=DEFAULT_FLAGS, max_turns=self._engine.limits.max_turns
            )
            turn = turns.begin(tx, loop)
            begun.append((loop, turn))
            return loop, turn, session.project_root

        # One at a time, so that two first operations do not open two loops.
        async with self._opening:
            try:
                self._loop, turn, project_root = await self._engine.store.write(unit)
            except trio.Cancelled:
                # Shield: the turn may have begun all the same; it must not look as if it were still running.
                with trio.move_on_after(GOODBYE_LIMIT_S, shield=True):
                    # Units run in order, so by now it is known what ``unit`` did; it counts if it was committed.
                    if await self._engine.store.write(lambda tx: _cut_off(tx, begun)):
                        self._loop = begun[0][0]
                raise
        return turn, project_root

    async def close(self) -> None:
        """End the loop, if there is one, once nothing is under way in it.

        Never raises ``Cancelled``; bounded by GOODBYE_LIMIT_S.
        """
        self._is_closed = True
        # Shield: a loop ends with a terminal row whatever becomes of its client (SPEC 3.1).
        with trio.move_on_after(GOODBYE_LIMIT_S, shield=True):
            await self._end_if_idle()

    async def _end_if_idle(self) -> None:
        async with self._opening:
            if self._loop is not None and not self._under_way:
                loop_id, self._loop = self._loop.id, None
                with suppress(NotFound):  # its session was deleted meanwhile
                    await self._engine.store.write(lambda tx: _end(tx, loop_id))


def _end(tx: Tx, loop_id: int) -> None:
    turns.close_open(tx, loop_id, loops.ENDED_EARLY, None)  # what the disk had no room for when it was time
    log.abandon_of_loop(tx, loop_id)
    loops.end(tx, loop_id, loops.DONE, None)


def _cut_off(tx: Tx, begun: Sequence[tuple[Loop, TurnRef]]) -> bool:
    """End the turn that was begun, if one was; False if not."""
    return bool(begun) and turns.end(tx, begun[0][1], TurnEnd(status=499))
