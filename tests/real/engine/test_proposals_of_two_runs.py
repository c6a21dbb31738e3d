"""Two loops of one session that propose changes of files at the same time (SPEC 3.1, 5.2, 5.3)."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.engine.proposals import Pending, Resolution
from plurnk.files import writing
from plurnk.files.beneath import Root
from plurnk.files.writing import Step
from plurnk.plugins.api import GenerateRequest
from plurnk.store import log, sessions
from plurnk.store.loops import Submission
from tests.support.desk import until
from tests.support.projects import Desk, Tree, project, read_tree


@dataclass
class Held:
    began: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Pair:
    """A desk whose session has two runs; each has a loop that has proposed something, by its prompt."""

    desk: Desk
    runs: Mapping[str, int]
    loops: Mapping[str, int]
    pending: Mapping[str, Pending]

    async def accept(self, prompt: str) -> Resolution:
        row_id = self.pending[prompt].told.log_entry_id
        return await self.desk.bench.engine.proposals.resolve(self.desk.bench.session.id, row_id, "accept")

    async def outcomes(self, prompt: str) -> list[tuple[int, str | None]]:
        """Of the model's operations in the run, once its loop has ended."""
        engine = self.desk.bench.engine
        await engine.loop_end(self.loops[prompt])
        rows = await engine.store.read(lambda db: log.of_run(db, self.runs[prompt]))
        return [(row.status_rx, row.outcome) for row, _hidden in rows if row.origin == "model"]


@asynccontextmanager
async def both(folder: Path, tree: Tree, says: Mapping[str, str]) -> AsyncIterator[Pair]:
    """``says``: by the prompt, what the model answers at first."""

    async def say(_number: int, request: GenerateRequest) -> str:
        prompt = next(prompt for prompt in says if f"\n{prompt}\n" in request.messages[1].content)
        return says[prompt] if '"origin":"model"' not in request.messages[0].content else "<<SEND[200]:done:SEND"

    async with project(folder, tree, say, limits=Limits(settle_s=0)) as desk:
        engine, session = desk.bench.engine, desk.bench.session
        second = await engine.store.write(lambda tx: sessions.create_run(tx, session.id, "second"))
        runs = dict(zip(says, [desk.bench.run.id, second.id], strict=True))
        loops = {prompt: (await engine.submit(run, Submission(prompt=prompt))).loop_id for prompt, run in runs.items()}
        await until(lambda: len(engine.proposals.pending(session.id)) == len(says))
        by_loop = {one.told.loop_id: one for one in engine.proposals.pending(session.id)}
        yield Pair(desk, runs, loops, {prompt: by_loop[loop_id] for prompt, loop_id in loops.items()})


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_a_cancel_takes_its_own_loops_proposal_and_no_other(tmp_path: Path) -> None:
    async with both(tmp_path, {}, {"alpha": "<<EDIT(a):1:EDIT", "beta": "<<EDIT(b):2:EDIT"}) as pair:
        engine, session_id = pair.desk.bench.engine, pair.desk.bench.session.id
        await engine.cancel(pair.runs["alpha"], "enough")
        assert engine.proposals.pending(session_id) == (pair.pending["beta"],)
        assert await pair.outcomes("alpha") == [(499, "loop_cancelled")]
        late = await pair.accept("alpha")
        assert (late.status, late.outcome) == (409, "loop_cancelled")
        assert (await pair.accept("beta")).status == 201
        assert await pair.outcomes("beta") == [(201, None), (200, None)]
        assert read_tree(pair.desk.root) == {"b": b"2"}


@pytest.mark.spec("5.2-cas-409", "5.2-atomic-write")
async def test_of_two_changes_of_one_file_that_are_accepted_at_once_one_is_made(tmp_path: Path) -> None:
    says = {"alpha": "<<EDIT(a)<1>:A:EDIT", "beta": "<<EDIT(a)<3>:B:EDIT"}
    async with both(tmp_path, {"a": "1\n2\n3\n"}, says) as pair:
        answers: dict[str, Resolution] = {}

        async def accept(prompt: str) -> None:
            answers[prompt] = await pair.accept(prompt)

        async with trio.open_nursery() as accepting:
            for prompt in says:
                accepting.start_soon(accept, prompt)
        assert sorted(answer.status for answer in answers.values()) == [200, 409]
        made = "alpha" if answers["alpha"].status == 200 else "beta"
        assert read_tree(pair.desk.root) == {"a": b"A\n2\n3\n" if made == "alpha" else b"1\n2\nB\n"}
        for prompt in says:
            expected = (200, None) if prompt == made else (409, "write_conflict")
            assert await pair.outcomes(prompt) == [expected, (200, None)]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """A change of the file ``a`` stops when it is on disk and not recorded."""
    stop, apply = Held(), writing.apply

    def stopping(root: Root, step: Step, data: bytes | None) -> None:
        apply(root, step, data)
        if step.path == "a":
            stop.began.set()
            stop.go_on.wait(10)

    monkeypatch.setattr(writing, "apply", stopping)
    return stop


async def test_a_change_that_is_being_made_stands_in_no_others_way(tmp_path: Path, held: Held) -> None:
    says = {"alpha": "<<EDIT(a):1:EDIT", "beta": "<<EDIT(b):2:EDIT"}
    async with both(tmp_path, {"a": "old", "b": "old"}, says) as pair, trio.open_nursery() as tasks:
        tasks.start_soon(pair.accept, "alpha")
        await until(held.began.is_set)
        assert (await pair.accept("beta")).status == 200
        held.go_on.set()
        assert await pair.outcomes("alpha") == [(200, None), (200, None)]
        assert read_tree(pair.desk.root) == {"a": b"1", "b": b"2"}


async def test_loops_end_with_what_is_being_made_done_or_undone(tmp_path: Path, held: Held) -> None:
    says = {"alpha": "<<EDIT(a):1:EDIT", "beta": "<<EDIT(b):2:EDIT"}
    async with both(tmp_path, {"a": "old", "b": "old"}, says) as pair, trio.open_nursery() as tasks:
        engine, session_id = pair.desk.bench.engine, pair.desk.bench.session.id
        tasks.start_soon(pair.accept, "alpha")
        await until(held.began.is_set)
        tasks.start_soon(engine.cancel_runs, list(pair.runs.values()), "its session is deleted")
        await until(lambda: not engine.proposals.pending(session_id))
        held.go_on.set()
        assert await pair.outcomes("beta") == [(499, "loop_cancelled")]
        (made,) = await pair.outcomes("alpha")
        assert made in {(200, None), (499, "loop_cancelled")}
        assert read_tree(pair.desk.root) == {"a": b"1" if made[0] == 200 else b"old", "b": b"old"}


@pytest.mark.spec("5.2-atomic-write")
async def test_a_session_goes_only_when_what_a_client_changes_is_done_or_undone(tmp_path: Path, held: Held) -> None:
    """How to undo it is written down in the session: without that no start could."""
    async with project(tmp_path, {"a": "old"}) as desk, trio.open_nursery() as tasks:
        engine = desk.bench.engine
        tasks.start_soon(desk.one, "<<EDIT(a):new:EDIT")
        await until(held.began.is_set)
        later = threading.Timer(0.1, held.go_on.set)
        later.start()
        await engine.cancel_runs([desk.bench.run.id], "its session is deleted")
        assert read_tree(desk.root) in ({"a": b"new"}, {"a": b"old"})
        later.join()
