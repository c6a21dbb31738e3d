"""Killed after each commit of a loop that retries, folds and starts a stream: the next start goes on from the truth."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from plurnk.engine import asking
from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.providers.errors import ProviderFailed
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.store import database, turns
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot, query
from plurnk.wire.notifications import TelemetryEvent
from tests.support.brooks import Brook, start
from tests.support.engines import SCHEMES, Bench, engine_with

NOTE = "\n".join(f"line {number} of the note" for number in range(60))
READ = "<<READ(known://a)::READ"
SAYS = {
    1: f"<<EDIT(known://a):{NOTE}:EDIT {READ}",
    2: f"{READ} {start('one')} <<READ(known://none)::READ",
    3: f"I wonder. {READ}",
    4: f"<<SEND[102]::SEND {READ}",
}
"""What the model says at each turn; at any other it gives up, which ends its stream, too: none wakes another loop."""

CONTEXT = 1400
LIMITS = Limits(settle_s=0)
RETRIED = frozenset({2, 4})
PAID = 100 + 10 * 10


@dataclass
class Model:
    """Fails the first time that it is asked for some turns. ``sent``: the last request of each turn."""

    failed: set[int] = field(default_factory=set[int])
    sent: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])

    async def __call__(self, _number: int, request: GenerateRequest) -> str:
        system, user = (message.content for message in request.messages)
        found = re.search(r"^Turn (\d+)/", user, re.MULTILINE)
        turn = int(found[1]) if found else 1
        self.sent[turn] = (system, user)
        if turn in RETRIED - self.failed:
            self.failed.add(turn)
            raise ProviderFailed("not now", http_status=503, transient=True)
        return SAYS.get(turn, "<<SEND[499]::SEND")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before a retry."""

    def pause_s(*_args: Any, **_named: Any) -> float:
        return 0.0

    monkeypatch.setattr(asking, "pause_s", pause_s)


@pytest.mark.spec("7.2-resume", "3.3-announced-is-durable", "3.4-fit-folds-oldest", "3.5-drain-on-read")
async def test_a_loop_that_is_killed_after_any_commit_goes_on_with_nothing_lost_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, model = tmp_path / "p.db", Model()
    left: list[Path] = []
    commit = database._Writer._commit

    def and_copy(writer: database._Writer, group: Sequence[Any]) -> Any:
        done = commit(writer, group)
        left.append(tmp_path / f"{len(left)}.db")
        for suffix in ("", "-wal"):  # all that a kill at this moment would leave
            shutil.copyfile(f"{here}{suffix}", f"{left[-1]}{suffix}")
        return done

    async with engine_with(here, model, limits=LIMITS, context_size=CONTEXT, schemes=_schemes()) as first:
        with monkeypatch.context() as patch, trio.fail_after(30):
            patch.setattr(database._Writer, "_commit", and_copy)
            submitted = await first.engine.submit(first.run.id, Submission(prompt="do it"))
            loop = await first.engine.loop_end(submitted.loop_id)
        assert (loop.status, loop.reason) == (499, "external")
        told = Counter(n.event["kind"] for n in first.ear.heard if isinstance(n, TelemetryEvent))
        assert told["budget_folded"] >= 2
        assert told["provider_retry"] == len(RETRIED)
        await _see_that_it_is_whole(first, model.sent)
    assert len(left) > 20
    for path in left:
        again = Model(sent=dict(model.sent))
        async with engine_with(path, again, limits=LIMITS, context_size=CONTEXT, schemes=_schemes()) as opened:
            bench = replace(opened, session=first.session, run=first.run)
            with trio.fail_after(30):
                await bench.engine.resume(resume=True)
                loop = await bench.engine.loop_end(submitted.loop_id)
            assert (loop.status, loop.reason) == (499, "external")
            await _see_that_it_is_whole(bench, again.sent)


def _schemes() -> dict[str, Any]:
    return {**SCHEMES, "brook": Brook()}


async def _see_that_it_is_whole(bench: Bench, sent: dict[int, tuple[str, str]]) -> None:
    def look(db: Snapshot) -> None:
        _see_that_nothing_is_missing(db)
        _see_that_packets_are_as_sent(db, bench.session.id, sent)
        _see_that_all_is_told_once(db, bench.session.id)

    await bench.engine.store.read(look)


def _see_that_nothing_is_missing(db: Snapshot) -> None:
    assert query(db, "SELECT id FROM turns WHERE ended_at IS NULL") == []
    for sql in (
        "SELECT loop_id, seq FROM turns ORDER BY 1, 2",
        "SELECT turn_id, sequence FROM log_entries ORDER BY 1, 2",
        "SELECT session_id, seq FROM events ORDER BY 1, 2",
        "SELECT run_id || part, number FROM packet_texts ORDER BY 1, 2",
    ):
        for owner, rows in groupby(query(db, sql), lambda row: row[0]):
            numbers = [number for _owner, number in rows]
            assert numbers == list(range(1, len(numbers) + 1)), (sql, owner)
    # Whatever was answered was paid, once, and has its packet.
    paid = query(db, "SELECT prompt_tokens, completion_tokens, cost_pico FROM turns WHERE model IS NOT NULL")
    assert set(paid) == {(100, 10, PAID)}
    assert query(db, "SELECT id FROM turns WHERE (packet IS NULL) <> (model IS NULL)") == []
    assert query(db, "SELECT cost_pico FROM runs WHERE id = 1") == [(PAID * len(paid),)]
    ends = query(db, "SELECT params ->> '$.usage.costPico' FROM events WHERE method = 'loop/terminated'")
    assert [int(cost) for (cost,) in ends] == [PAID * len(paid)]
    # A turn that was not cut off counts for the rails, and no other.
    assert query(db, "SELECT id FROM turns WHERE (fingerprint IS NULL) <> (reason IS 'interrupted')") == []
    shown = query(db, "SELECT 1 FROM log_entries WHERE op = 'EDIT' AND origin = 'system' AND scheme = 'plurnk'")
    assert len(shown) == 1
    ended = query(db, "SELECT 1 FROM log_entries WHERE op = 'EXEC' AND origin = 'system'")
    assert len(ended) == len(query(db, "SELECT 1 FROM subscriptions WHERE closed_at IS NOT NULL AND told = 1"))


def _see_that_packets_are_as_sent(db: Snapshot, session_id: int, sent: dict[int, tuple[str, str]]) -> None:
    for turn_id, seq in query(db, "SELECT id, seq FROM turns WHERE packet IS NOT NULL ORDER BY id"):
        packet = msgspec.json.decode(turns.packet(db, session_id, turn_id), type=Packet)
        assert (render_system(packet), render_user(packet)) == sent[seq]
        assert packet.user.prompt == "do it"


def _see_that_all_is_told_once(db: Snapshot, session_id: int) -> None:
    """What clients were told of folds and retries, a model was told once, in a packet that it has answered."""
    told = Counter(
        kind for (kind,) in query(db, "SELECT params ->> '$.event.kind' FROM events WHERE method = 'telemetry/event'")
    )
    shown: Counter[str] = Counter()
    for (turn_id,) in query(db, "SELECT id FROM turns WHERE model IS NOT NULL"):
        packet = json.loads(turns.packet(db, session_id, turn_id))
        shown.update(error["kind"] for error in packet["user"]["telemetry"]["errors"])
    cut_off = query(db, "SELECT id FROM turns WHERE reason = 'interrupted'")
    assert len(cut_off) <= 1
    assert shown["interrupted"] == len(cut_off)
    assert (shown["budget_folded"], shown["provider_retry"]) == (told["budget_folded"], told["provider_retry"])
