"""Forks in the store: what is copied, what is told truly of it, and what stays with the original."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from plurnk.errors import Conflict, NotFound, TooLarge
from plurnk.language.ast import Edit, Read, Statement, UrlTarget
from plurnk.store import channels, entries, forking, log, loops, sessions, turns
from plurnk.store.database import Store, Tx
from plurnk.store.log import TurnRef
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot
from plurnk.store.sessions import Run, Session
from plurnk.store.turns import TurnAnswer, TurnEnd
from plurnk.wire.notifications import Origin, Usage
from plurnk.wire.results import OpResult
from tests.support.stores import DEFAULTS, new_session, opened

T = TypeVar("T")


@dataclass
class Desk:
    """A store with a session and its run, and short words for what happens in them."""

    store: Store
    session: Session
    run: Run

    async def rows(self, run: Run) -> list[tuple[str, str | None]]:
        """Coordinates and content of the rows of a run, in the order of their age."""
        found = await self.store.read(lambda db: log.of_run(db, run.id))
        return [(f"{r.loop_seq}/{r.turn_seq}/{r.sequence}", r.rx.get("content")) for r, _hidden in found]

    async def fork(self, run: Run | None = None, at: TurnRef | None = None, name: str | None = None) -> Run:
        original, turn_id = run or self.run, None if at is None else at.turn_id
        return await self.store.write(lambda tx: forking.fork(tx, original.id, name=name, at_turn=turn_id))

    async def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.store.read(lambda db: db.execute(sql, values).fetchall())

    async def write(self, unit: Callable[[Tx], T]) -> T:
        return await self.store.write(unit)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path / "p.db") as store:
        session, run = await new_session(store)
        yield Desk(store, session, run)


def begin(tx: Tx, run: Run) -> TurnRef:
    """The next turn of the run's live loop; a loop is begun if there is none."""
    if loops.live(tx.db, run.id) is None:
        loops.submit(tx, run.id, Submission(prompt="do it"), DEFAULTS)
    loop = loops.claim(tx, run.id)
    assert loop is not None
    return turns.begin(tx, loop)


def say(tx: Tx, turn: TurnRef, *texts: str, status: int = 200, origin: Origin = "model") -> None:
    """Rows of the turn, whose content is the text."""
    statement: Statement = Read(target=UrlTarget(raw="known://a", scheme="known", pathname="a"))
    for text in texts:
        log.add(tx, turn, statement, origin=origin, result=OpResult(status=status, content=text))


def end(tx: Tx, turn: TurnRef, status: int = 102, *, cost_pico: int = 7) -> None:
    turns.answered(tx, turn, TurnAnswer(model="m", usage=Usage(prompt=5, cost_pico=cost_pico)))
    turns.end(tx, turn, TurnEnd(status=status))


def whole_turn(tx: Tx, run: Run, *texts: str, ends_loop: bool = False) -> TurnRef:
    turn = begin(tx, run)
    say(tx, turn, *texts)
    end(tx, turn, 200 if ends_loop else 102)
    if ends_loop:
        loops.end(tx, turn.loop_id, 200, None)
    return turn


def show_prompt(tx: Tx, turn: TurnRef, path: str) -> None:
    """What a turn does that is the first to show a prompt."""
    entry = entries.create(tx, turn.session_id, "plurnk", path)
    channel = channels.create(tx.db, entry.id, "body", "text/markdown")
    tx.db.execute("INSERT INTO visibility (run_id, channel_id) VALUES (?, ?)", (turn.run_id, channel.id))
    statement = Edit(target=UrlTarget(raw="", scheme="plurnk", pathname=path), body="do it")
    log.add(tx, turn, statement, origin="system", result=OpResult(status=201))


def two_loops(tx: Tx, run: Run) -> list[TurnRef]:
    """A loop of two turns that is done, one of two turns that is not."""
    return [
        whole_turn(tx, run, "a", "b"),
        whole_turn(tx, run, "c", ends_loop=True),
        whole_turn(tx, run, "d"),
        whole_turn(tx, run, "e", "f"),
    ]


async def test_a_fork_has_the_rows_of_all_turns_that_have_ended_under_the_same_coordinates(desk: Desk) -> None:
    made = await desk.write(lambda tx: two_loops(tx, desk.run))
    copy = await desk.fork()
    assert (copy.session_id, copy.parent_run_id, copy.name) == (desk.session.id, desk.run.id, "fork-1")
    assert await desk.rows(copy) == await desk.rows(desk.run)
    own = await desk.store.read(lambda db: log.of_run(db, copy.id))
    assert {row.run_id for row, _ in own} == {copy.id}
    assert not {row.turn_id for row, _ in own} & {turn.turn_id for turn in made}
    belongs = "SELECT count(*) FROM log_entries e JOIN turns t ON t.id = e.turn_id JOIN loops l ON l.id = t.loop_id"
    same = " WHERE l.id = e.loop_id AND l.run_id = e.run_id AND (l.seq, t.seq) = (e.loop_seq, e.turn_seq)"
    assert await desk.query(belongs + same) == [(12,)]
    found = await desk.store.read(lambda db: log.at(db, copy.id, 1, 2, 1))
    assert found is not None
    assert found.rx["content"] == "c"


async def test_no_loop_of_a_fork_is_live_and_each_says_truly_how_it_ended(desk: Desk) -> None:
    def prepare(tx: Tx) -> TurnRef:
        turn = two_loops(tx, desk.run)[1]
        say(tx, begin(tx, desk.run), "of a turn that is open")
        loops.submit(tx, desk.run.id, Submission(prompt="later", queue=True), DEFAULTS)
        loops.open_client_loop(tx, desk.run.id, flags="{}", max_turns=1)
        return turn

    last_of_the_first = await desk.write(prepare)
    how = "SELECT seq, status, reason, ended_at IS NOT NULL FROM loops WHERE run_id = ? ORDER BY seq"
    before = await desk.query(how, desk.run.id)
    copy = await desk.fork()
    assert await desk.query(how, copy.id) == [(1, 200, None, 1), (2, 499, "forked", 1)]
    assert [content for _place, content in await desk.rows(copy)] == ["a", "b", "c", "d", "e", "f"]
    assert await desk.query(how, (await desk.fork(at=last_of_the_first)).id) == [(1, 200, None, 1)]
    assert await desk.query(how, desk.run.id) == before
    assert await desk.store.read(lambda db: loops.live(db, copy.id)) is None
    assert await desk.store.read(loops.runs_with_work) == [desk.run.id]
    assert await desk.query("SELECT count(*) FROM turns WHERE ended_at IS NULL") == [(1,)]


async def test_a_fork_at_a_turn_of_an_earlier_loop_ends_there(desk: Desk) -> None:
    made = await desk.write(lambda tx: two_loops(tx, desk.run))
    copy = await desk.fork(at=made[0])
    assert await desk.rows(copy) == [("1/1/1", "a"), ("1/1/2", "b")]
    assert await desk.query("SELECT seq, status, reason FROM loops WHERE run_id = ?", copy.id) == [(1, 499, "forked")]
    # What comes next is numbered as if nothing else had ever been.
    following = await desk.write(lambda tx: whole_turn(tx, copy, "another way"))
    assert (following.loop_seq, following.turn_seq) == (2, 1)
    assert (await desk.rows(copy))[2:] == [("2/1/1", "another way")]


async def test_nothing_is_paid_twice(desk: Desk) -> None:
    await desk.write(lambda tx: two_loops(tx, desk.run))
    copy = await desk.fork()
    costs = "SELECT r.id, r.cost_pico, sum(t.cost_pico) FROM runs r JOIN loops l ON l.run_id = r.id"
    by_run = await desk.query(f"{costs} JOIN turns t ON t.loop_id = l.id GROUP BY r.id ORDER BY r.id")
    assert by_run == [(desk.run.id, 28, 28), (copy.id, 0, 0)]
    assert (await desk.store.read(lambda db: sessions.get(db, desk.session.id))).cost_pico == 28
    await desk.write(lambda tx: whole_turn(tx, copy, "x"))
    assert (await desk.store.read(lambda db: sessions.get_run(db, copy.id))).cost_pico == 7
    assert (await desk.store.read(lambda db: sessions.get(db, desk.session.id))).cost_pico == 35


async def test_what_is_hidden_folded_and_said_of_the_run_is_as_it_was(desk: Desk) -> None:
    def prepare(tx: Tx) -> TurnRef:
        sessions.set_run_persona(tx, desk.run.id, "a pirate")
        made = two_loops(tx, desk.run)
        ids = [row.id for row, _hidden in log.of_run(tx.db, desk.run.id)]
        log.set_hidden(tx, ids[1:2], hidden=True)
        tx.db.execute("UPDATE runs SET bodies_folded_to = ?, rows_folded_to = ?", (ids[4], ids[0]))
        return made[1]

    turn = await desk.write(prepare)
    copy, cut = await desk.fork(), await desk.fork(at=turn)
    assert copy.persona == "a pirate"
    assert [hidden for _row, hidden in await desk.store.read(lambda db: log.of_run(db, copy.id))] == [
        False,
        True,
        *[False] * 4,
    ]

    def folded(run: Run, db: Snapshot) -> list[str]:
        """The content of the last rows that are folded."""
        ids: Any = db.execute("SELECT bodies_folded_to, rows_folded_to FROM runs WHERE id = ?", (run.id,)).fetchall()[0]
        found = [log.get(db, row_id) for row_id in ids]
        assert all(row is not None and row.run_id == run.id for row in found)
        return [row.rx["content"] for row in found if row is not None]

    assert await desk.store.read(lambda db: folded(copy, db)) == ["e", "a"]
    assert await desk.store.read(lambda db: folded(cut, db)) == ["c", "a"], "of what is there, all"
    assert await desk.store.read(partial(folded, await desk.fork(copy))) == ["e", "a"]


async def test_rows_are_copied_by_their_age_as_a_model_has_seen_them(desk: Desk) -> None:
    """A client's turn that was begun before the one that counts may have rows after it, and the other way round."""

    def prepare(tx: Tx) -> TurnRef:
        clients = loops.open_client_loop(tx, desk.run.id, flags="{}", max_turns=9)
        early = turns.begin(tx, clients)
        say(tx, early, "early")
        turn = begin(tx, desk.run)
        say(tx, turn, "a")
        late = turns.begin(tx, clients)
        say(tx, late, "late")
        say(tx, turn, "b")
        end(tx, turn)
        say(tx, early, "too late")
        whole_turn(tx, desk.run, "c")
        say(tx, late, "too late")
        end(tx, early)
        end(tx, late)
        return turn

    copy = await desk.fork(at=await desk.write(prepare))
    all_rows = await desk.rows(desk.run)
    assert await desk.rows(copy) == all_rows[:4]
    assert [content for _place, content in all_rows[:4]] == ["early", "a", "late", "b"]


async def test_a_turn_without_rows_can_be_forked_at(desk: Desk) -> None:
    def prepare(tx: Tx) -> tuple[TurnRef, TurnRef]:
        empty = whole_turn(tx, desk.run)
        whole_turn(tx, desk.run, "a")
        return empty, whole_turn(tx, desk.run)

    first, last = await desk.write(prepare)
    assert await desk.rows(await desk.fork(at=first)) == []
    copy = await desk.fork(at=last)
    assert await desk.rows(copy) == [("1/2/1", "a")]
    assert await desk.query(
        "SELECT max(t.seq) FROM turns t JOIN loops l ON l.id = loop_id WHERE run_id = ?", copy.id
    ) == [(3,)]


async def test_what_is_proposed_stays_with_the_original(desk: Desk) -> None:
    """A daemon that was stopped may leave an ended turn with an operation that is still to be answered."""

    def prepare(tx: Tx) -> None:
        turn = begin(tx, desk.run)
        say(tx, turn, "a")
        say(tx, turn, "a diff", status=202)
        end(tx, turn, 500)

    await desk.write(prepare)
    copy = await desk.fork()
    assert await desk.rows(copy) == [("1/1/1", "a")]
    assert await desk.query("SELECT count(*) FROM log_entries WHERE state = 'proposed'") == [(1,)]


async def test_a_fork_shows_what_the_original_shows_but_for_prompts_that_are_not_in_its_log(desk: Desk) -> None:
    def prepare(tx: Tx) -> TurnRef:
        note = entries.create(tx, desk.session.id, "known", "prompt/1")
        channel = channels.create(tx.db, note.id, "body", "text/plain")
        tx.db.execute("INSERT INTO visibility (run_id, channel_id) VALUES (?, ?)", (desk.run.id, channel.id))
        first = begin(tx, desk.run)
        show_prompt(tx, first, "prompt/1")
        end(tx, first)
        second = begin(tx, desk.run)
        show_prompt(tx, second, "prompt/1/2")
        end(tx, second)
        open_one = begin(tx, desk.run)
        show_prompt(tx, open_one, "prompt/1/3")
        return first

    at_first = await desk.fork(at=await desk.write(prepare))

    async def indexed(run: Run) -> list[str]:
        shown = await desk.store.read(lambda db: entries.indexed(db, run.id))
        return [f"{entry.scheme}://{entry.pathname}" for entry, _channels in shown]

    assert await indexed(at_first) == ["known://prompt/1", "plurnk://prompt/1"]
    assert await indexed(await desk.fork()) == ["known://prompt/1", "plurnk://prompt/1", "plurnk://prompt/1/2"]
    assert len(await indexed(desk.run)) == 4


async def test_packets_streams_and_waiting_prompts_stay_with_the_original(desk: Desk) -> None:
    def prepare(tx: Tx) -> None:
        for turn in two_loops(tx, desk.run):
            tx.db.execute("UPDATE turns SET packet = '{}', packet_refs = '{}' WHERE id = ?", (turn.turn_id,))
        loop = loops.live(tx.db, desk.run.id)
        assert loop is not None
        loops.inject(tx, loop, "and this")

    await desk.write(prepare)
    copy = await desk.fork()
    kept = "FROM turns JOIN loops l ON l.id = loop_id WHERE run_id = ? AND (packet IS NOT NULL OR packet_refs NOT NULL)"
    assert await desk.query(f"SELECT count(*) {kept}", copy.id) == [(0,)]
    assert await desk.query("SELECT count(*) FROM injections") == [(1,)]


async def test_a_fork_of_a_fork_outlives_both_and_goes_with_the_session(desk: Desk) -> None:
    await desk.write(lambda tx: two_loops(tx, desk.run))
    child = await desk.fork()
    grandchild = await desk.fork(child, name="mine")
    assert (grandchild.name, grandchild.parent_run_id) == ("mine", child.id)
    rows = await desk.rows(grandchild)
    assert rows == await desk.rows(desk.run)

    def delete(tx: Tx) -> None:
        tx.db.execute("DELETE FROM runs WHERE id IN (?, ?)", (desk.run.id, child.id))

    await desk.write(delete)
    assert await desk.rows(grandchild) == rows
    assert (await desk.store.read(lambda db: sessions.get_run(db, grandchild.id))).parent_run_id is None
    assert await desk.write(lambda tx: sessions.delete(tx, desk.session.id)) is True
    for table in ("runs", "loops", "turns", "log_entries"):
        assert await desk.query(f"SELECT count(*) FROM {table}") == [(0,)], table


async def test_what_cannot_be_forked_is_refused_and_nothing_is_left_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_others = await desk.write(lambda tx: two_loops(tx, desk.run))
    open_one = await desk.write(lambda tx: begin(tx, desk.run))
    other = await desk.write(lambda tx: sessions.create_run(tx, desk.session.id, "other"))
    with pytest.raises(NotFound, match=f"no turn {first.turn_id} in the run other"):
        await desk.fork(other, at=first)
    with pytest.raises(Conflict, match="has not ended"):
        await desk.fork(at=open_one)
    with pytest.raises(Conflict, match="a run named 'other' exists already"):
        await desk.fork(name="other")
    with pytest.raises(NotFound, match="no run 99"):
        await desk.write(lambda tx: forking.fork(tx, 99, name=None, at_turn=None))
    monkeypatch.setattr(forking, "MAX_BYTES", 3 * forking.ROW_BYTES)
    with pytest.raises(TooLarge, match=r"the log has 3,\d\d\d bytes, a fork at most 1,536"):
        await desk.fork()
    assert [run.name for run in await desk.store.read(lambda db: sessions.runs(db, desk.session.id))] == [
        "main",
        "other",
    ]
    assert (await desk.fork(at=first)).name == "fork-1"
    assert (await desk.fork(at=first)).name == "fork-2"
    assert await desk.rows(await desk.fork(other)) == [], "of a run in which nothing was done"


async def test_every_column_is_copied_or_left_out_on_purpose(desk: Desk) -> None:
    for table, copied, on_purpose in (
        ("loops", forking.LOOP_COLUMNS, {"id", "run_id", "status", "reason", "error", "ended_at"}),
        ("turns", forking.TURN_COLUMNS, {"id", "loop_id", "packet", "packet_refs", "cost_pico"}),
        ("log_entries", forking.ROW_COLUMNS, {"id", "run_id", "loop_id", "turn_id"}),
    ):
        columns = {name for (name,) in await desk.query(f"SELECT name FROM pragma_table_info('{table}')")}
        assert columns == {*copied, *on_purpose}, table
