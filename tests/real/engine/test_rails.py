"""A loop that does nothing but fail or repeat itself is told so, and then ended (SPEC 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.engine.proposals import Decision
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopTerminated, TelemetryEvent
from tests.support.brooks import brooks, start, turns_ended
from tests.support.commands import FakeCommands
from tests.support.desk import until
from tests.support.engines import Bench, engine_with

DONE = "<<SEND[200]::SEND"
PARK = "<<SEND[202]::SEND"
LIMITS = Limits(settle_s=0)


def good(number: int) -> str:
    return f"<<EDIT(known://n{number}):x:EDIT"


def refused(number: int) -> str:
    """A statement that is refused, and not the one of another number."""
    return f"<<EDIT(plurnk://prompt/{number}):x:EDIT"


async def begin(bench: Bench, prompt: str = "go", max_turns: int | None = None) -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt=prompt, max_turns=max_turns))).loop_id


async def end(bench: Bench, loop_id: int) -> tuple[int, str | None]:
    with trio.fail_after(30):
        loop = await bench.engine.loop_end(loop_id)
    return loop.status, loop.reason


async def outcome(path: Path, script: Sequence[str], limits: Limits = LIMITS) -> tuple[int, str | None, Bench]:
    """How a loop ends whose model says this, and the bench that it was on, closed."""
    async with engine_with(path, script, limits=limits) as bench:
        status, reason = await end(bench, await begin(bench))
    return status, reason, bench


def told(bench: Bench, *kinds: str) -> list[dict[str, Any]]:
    events = [n.event for n in bench.ear.heard if isinstance(n, TelemetryEvent)]
    return [event for event in events if event["kind"] in kinds]


def strikes(bench: Bench) -> list[tuple[int, str]]:
    return [(event["streak"], event["reason"]) for event in told(bench, "strike")]


@pytest.mark.spec("3.6-strike-streak")
@pytest.mark.parametrize(
    ("turn", "reason"),
    [("Nothing to do here.", "no statement"), (refused(1), "EDIT ended with 403")],
)
async def test_bad_turns_in_a_row_end_the_loop(tmp_path: Path, turn: str, reason: str) -> None:
    script = [good(1), *[turn] * 3, DONE]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == (499, "strike_threshold")
    assert len(bench.model.requests) == 4
    assert strikes(bench) == [(1, reason), (2, reason), (3, reason)]
    ends = [n for n in bench.ear.heard if isinstance(n, LoopTerminated)]
    assert [(n.final_status, n.reason, n.hit_max_turns) for n in ends] == [(499, "strike_threshold", False)]
    assert f'"message":"Strike 2 of 3: {reason}."' in bench.model.requests[3].messages[1].content


@pytest.mark.spec("3.6-strike-streak")
async def test_a_clean_turn_resets(tmp_path: Path) -> None:
    script = [refused(1), refused(2), good(1), refused(3), "Hm.", good(2), DONE]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == (200, None)
    assert [streak for streak, _reason in strikes(bench)] == [1, 2, 1, 2]


@pytest.mark.spec("3.6-strike-streak")
async def test_what_is_not_there_is_no_strike(tmp_path: Path) -> None:
    missing = ["<<READ(known://no)::READ", "<<READ(known://n1)<9>::READ", "<<READ(nosuch://x)::READ"]
    script = [good(1), *missing, " ".join(missing), "<<EDIT(broken:x <<EDIT(known://b):x:EDIT", DONE]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == (200, None)
    assert {event["status"] for event in told(bench, "action_failure")} == {404, 416, 501}
    assert told(bench, "parse_error")
    assert strikes(bench) == []


@pytest.mark.spec("3.6-strike-streak")
@pytest.mark.parametrize(("last", "ending"), [("200", (200, None)), ("499", (499, "external"))])
async def test_a_model_that_ends_its_loop_ends_it(tmp_path: Path, last: str, ending: tuple[int, str | None]) -> None:
    script = [refused(1), refused(2), f"{refused(3)} <<SEND[{last}]::SEND"]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == ending
    assert strikes(bench)[-1][0] == 3


@pytest.mark.spec("3.6-strike-streak")
async def test_strikes_can_be_switched_off(tmp_path: Path) -> None:
    limits = Limits(settle_s=0, max_strikes=0, max_turns=7)
    status, why, bench = await outcome(tmp_path / "p.db", [refused(1)] * 7, limits)
    assert (status, why) == (499, "max_turns")
    assert told(bench, "strike", "sudden_death") == []
    assert len(told(bench, "cycle")) == 5


# -- a person's decisions


@pytest.mark.spec("3.6-human-decisions-never-strike")
@pytest.mark.parametrize("decision", ["reject", "cancel"])
async def test_what_a_person_refuses_is_no_strike(tmp_path: Path, decision: Decision) -> None:
    script = [*(f"<<EXEC:command {number}:EXEC" for number in range(4)), DONE]
    async with engine_with(tmp_path / "p.db", script, limits=LIMITS, commands=FakeCommands()) as bench:
        loop_id = await begin(bench)
        for number in range(4):
            await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
            (pending,) = bench.engine.proposals.pending(bench.session.id)
            words = "not now" if number % 2 else None
            await bench.engine.proposals.resolve(bench.session.id, pending.told.log_entry_id, decision, outcome=words)
        assert await end(bench, loop_id) == (200, None)
    assert len(told(bench, "action_failure")) == 4
    assert strikes(bench) == []


@pytest.mark.spec("3.6-human-decisions-never-strike")
async def test_what_nobody_answers_is_no_strike(tmp_path: Path) -> None:
    script = [*(f"<<EXEC:command {number}:EXEC" for number in range(4)), DONE]
    limits = Limits(settle_s=0, proposal_timeout_s=0.001)
    async with engine_with(tmp_path / "p.db", script, limits=limits, commands=FakeCommands()) as bench:
        assert await end(bench, await begin(bench)) == (200, None)
    assert {event["status"] for event in told(bench, "action_failure")} == {499}
    assert strikes(bench) == []


# -- cycles


@pytest.mark.spec("3.6-cycle-detect")
@pytest.mark.parametrize(("pattern", "period"), [([1], 1), ([1, 2], 2), ([1, 2, 3, 4], 4)])
async def test_turns_that_repeat_themselves_are_told_and_ended(tmp_path: Path, pattern: list[int], period: int) -> None:
    script = [good(0), *(good(number) for number in pattern * 5)]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == (499, "strike_threshold")
    assert len(bench.model.requests) == 1 + 3 * period + 2
    assert [(event["period"], event["cycles"]) for event in told(bench, "cycle")] == [(period, 3)] * 3
    assert [streak for streak, _reason in strikes(bench)] == [1, 2, 3]


@pytest.mark.spec("3.6-cycle-detect")
async def test_a_loop_that_does_something_else_goes_on(tmp_path: Path) -> None:
    script = [*[good(1)] * 4, good(2), *[good(1)] * 4, DONE]
    status, why, bench = await outcome(tmp_path / "p.db", script)
    assert (status, why) == (200, None)
    assert [streak for streak, _reason in strikes(bench)] == [1, 2, 1, 2]


@pytest.mark.spec("3.6-cycle-detect")
async def test_waiting_for_one_stream_after_the_other_is_no_cycle(tmp_path: Path) -> None:
    names = [*"abcdefg"]
    script = [start(*names), *[PARK] * (len(names) - 1), DONE]
    async with brooks(tmp_path / "p.db", script, limits=LIMITS) as (bench, brook):
        loop_id = await begin(bench)
        for number, name in enumerate(names[:-1], 2):
            await turns_ended(bench, number)
            brook.end(name)
        assert await end(bench, loop_id) == (200, None)
    assert told(bench, "strike", "cycle") == []


@pytest.mark.spec("3.6-cycle-detect")
async def test_waiting_without_patience_again_and_again_is_a_cycle(tmp_path: Path) -> None:
    limits = Limits(settle_s=0, park_s=0)
    async with brooks(tmp_path / "p.db", (start("a"), *[PARK] * 9), limits=limits) as (bench, _brook):
        assert await end(bench, await begin(bench)) == (499, "strike_threshold")


@pytest.mark.spec("3.6-cycle-detect")
async def test_waiting_for_nothing_again_and_again_is_a_cycle(tmp_path: Path) -> None:
    status, why, bench = await outcome(tmp_path / "p.db", [PARK] * 5)
    assert (status, why) == (499, "strike_threshold")
    assert len(told(bench, "nothing_to_wait_for")) == 5


# -- sudden death


@pytest.mark.spec("3.6-sudden-death-soft")
async def test_the_last_turns_are_told_how_many_they_are(tmp_path: Path) -> None:
    script = [good(number) for number in range(6)]
    status, why, bench = await outcome(tmp_path / "p.db", script, Limits(settle_s=0, max_turns=6))
    assert (status, why) == (499, "max_turns")
    shown = [request.messages[1].content for request in bench.model.requests]
    for number, text in enumerate(shown, 1):
        left = 6 - number + 1  # this turn and those after it
        assert (f'"remaining":{left}' in text) == ("sudden_death" in text) == (number > 3)
    assert [event["remaining"] for event in told(bench, "sudden_death")] == [3, 2, 1]
    assert strikes(bench) == []


@pytest.mark.spec("3.6-sudden-death-soft")
async def test_a_loop_that_ends_is_warned_of_nothing(tmp_path: Path) -> None:
    limits = Limits(settle_s=0, max_turns=4)
    _status, _why, bench = await outcome(tmp_path / "p.db", [good(1), DONE], limits)
    assert [event["remaining"] for event in told(bench, "sudden_death")] == [3]
    _status, why, bench = await outcome(tmp_path / "q.db", [refused(n) for n in range(4)], limits)
    assert why == "strike_threshold"
    assert [event["remaining"] for event in told(bench, "sudden_death")] == [3, 2]


# -- what outlives the daemon


@pytest.mark.spec("3.6-strike-streak", "7.2-resume")
@pytest.mark.parametrize(("then", "ending"), [(refused(4), (499, "strike_threshold")), (good(4), (200, None))])
async def test_the_streak_outlives_the_daemon(tmp_path: Path, then: str, ending: tuple[int, str | None]) -> None:
    """The third bad turn is the next daemon's; the one in between, which was cut off, counts as none."""
    path = tmp_path / "p.db"
    script = [refused(1), refused(2), "<<EXEC:make:EXEC"]
    async with engine_with(path, script, limits=LIMITS, commands=FakeCommands()) as bench:
        loop_id = await begin(bench)
        with trio.fail_after(30):
            await until(lambda: bool(bench.engine.proposals.pending(bench.session.id)))
            (pending,) = bench.engine.proposals.pending(bench.session.id)
            bench.engine.refuse_prompts()
            await bench.engine.drain()
    async with engine_with(path, [then, DONE], limits=LIMITS, commands=FakeCommands()) as bench:
        await bench.engine.resume(resume=True)
        await bench.engine.proposals.resolve(pending.told.session_id, pending.told.log_entry_id, "reject")
        assert await end(bench, loop_id) == ending


# -- a client's loop


@pytest.mark.spec("3.1-inject-never-client-loop")
async def test_a_prompt_never_goes_to_the_loop_of_a_client(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", [DONE], limits=LIMITS) as bench:
        client = ClientLoop(bench.engine, bench.run.id)
        await client.run([])
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        assert submitted.action == "enqueued_new_loop"
        assert submitted.loop_id != client.loop_id
        assert await end(bench, submitted.loop_id) == (200, None)
        await client.close()
        assert len(bench.model.requests) == 1
