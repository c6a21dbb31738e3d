"""Between two turns: a loop settles for the streams it started, and parks until something happens."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.language.ast import Send, SendBody, UrlTarget
from plurnk.plugins.api import Conclusion, GenerateRequest
from plurnk.store import subscriptions
from plurnk.store.loops import Submission
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import TelemetryEvent
from tests.support.brooks import brooks, ends, heard, live, start, told, turns_ended, waits
from tests.support.engines import Bench, do

DONE = "<<SEND[200]::SEND"
PARK = "<<SEND[202]::SEND"
PATIENT = Limits(settle_s=3600, park_s=3600)
PARKS_AT_ONCE = Limits(settle_s=0, park_s=3600)


def shown(request: GenerateRequest) -> str:
    return "\n\n".join(message.content for message in request.messages)


async def begin(bench: Bench, prompt: str = "go") -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt=prompt))).loop_id


async def end(bench: Bench, loop_id: int) -> tuple[int, str | None]:
    with trio.fail_after(30):
        loop = await bench.engine.loop_end(loop_id)
    return loop.status, loop.reason


def never(_db: Snapshot, _run_id: int) -> bool:
    return False


def telemetry(bench: Bench) -> list[str]:
    return [n.event["kind"] for n in bench.ear.heard if isinstance(n, TelemetryEvent)]


@pytest.mark.spec("3.2-settle")
async def test_the_next_packet_is_built_when_all_that_the_turn_started_has_ended(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a", "b"), DONE), limits=PATIENT) as (bench, brook):
        await do(bench, start("other"))  # of no concern to the turn
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        assert await waits(bench)
        brook.end("a")
        await heard(bench, "stream/concluded")
        assert await waits(bench)
        brook.end("b", Conclusion(status=500, exit_code=3))
        assert await end(bench, loop_id) == (200, None)
        second = shown(bench.model.requests[1])
        assert told(bench) == [
            ("2/2/1", "a", 200, None),
            ("2/2/2", "b", 500, "ended with exit code 3"),
        ]
        assert "<<brook://a:\n1:\tone\n2:\ttwo\n3:\tthree\n:brook://a" in second
        assert await live(bench) == ["brook://other"]


@pytest.mark.spec("3.2-settle")
async def test_a_quick_stream_is_in_the_very_next_packet(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a"), DONE), limits=PATIENT) as (bench, brook):
        loop_id = await begin(bench)
        with trio.fail_after(30):
            await brook.started.wait()
        brook.end("a")
        assert await end(bench, loop_id) == (200, None)
        assert '"state":"closed"' in shown(bench.model.requests[1])


@pytest.mark.spec("3.2-settle")
async def test_settling_ends_when_its_time_has_passed(tmp_path: Path) -> None:
    limits = Limits(settle_s=0.05)
    async with brooks(tmp_path / "p.db", (start("a"), "<<SEND[102]::SEND", DONE), limits=limits) as (bench, _brook):
        began_at = trio.current_time()
        loop_id = await begin(bench)
        assert await end(bench, loop_id) == (200, None)
        assert trio.current_time() - began_at >= 0.05
        assert '"state":"active"' in shown(bench.model.requests[1])
        assert ends(bench) == []
        assert told(bench) == []


@pytest.mark.spec("3.2-settle", "3.1-inject-next-turn")
async def test_a_prompt_ends_the_settling(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a"), DONE), limits=PATIENT) as (bench, _brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        assert await waits(bench)
        assert await begin(bench, "Hurry.") == loop_id
        assert await end(bench, loop_id) == (200, None)
        assert "go\n\nHurry." in shown(bench.model.requests[1])


@pytest.mark.spec("3.2-park")
async def test_a_parked_loop_spends_no_turn_until_a_stream_of_the_run_ends(tmp_path: Path) -> None:
    script = (start("a", "b"), PARK, PARK, DONE)
    async with brooks(tmp_path / "p.db", script, limits=PARKS_AT_ONCE) as (bench, brook):
        await do(bench, start("client"))
        loop_id = await begin(bench)
        for number, name in ((2, "b"), (3, "client")):
            await turns_ended(bench, number)
            assert await waits(bench)
            assert len(bench.model.requests) == number
            brook.end(name)
        assert await end(bench, loop_id) == (200, None)
        assert told(bench) == [("2/3/1", "b", 200, None), ("2/4/1", "client", 200, None)]
        assert telemetry(bench) == []
        assert await live(bench) == ["brook://a"]


@pytest.mark.spec("3.2-park", "3.2-settle")
async def test_what_a_turn_starts_and_parks_for_is_settled_for_first(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (f"{start('a', 'b')} {PARK}", DONE), limits=PATIENT) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        brook.end("a")
        await heard(bench, "stream/concluded")
        assert await waits(bench)
        brook.end("b")
        assert await end(bench, loop_id) == (200, None)
        assert [row[1] for row in told(bench)] == ["a", "b"]
        assert telemetry(bench) == []


@pytest.mark.spec("3.2-park")
@pytest.mark.parametrize("names", [("a",), ("a", "b")])
async def test_a_stream_that_ended_while_the_model_thought_is_waited_for_no_more(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    async with brooks(tmp_path / "p.db", (), limits=PARKS_AT_ONCE) as (bench, brook):

        async def say(number: int, _request: GenerateRequest) -> str:
            if number == 1:
                return start(*names)
            if number == 2:
                brook.end("a")
                await heard(bench, "stream/concluded")
                return PARK
            return DONE

        bench.model._say = say
        assert await end(bench, await begin(bench)) == (200, None)
        assert told(bench) == [("1/3/1", "a", 200, None)]
        assert telemetry(bench) == []
        assert await live(bench) == [f"brook://{name}" for name in names[1:]]


@pytest.mark.spec("3.2-park", "3.1-inject-none-lost", "3.1-inject-next-turn")
async def test_a_prompt_ends_the_parking(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a"), PARK, DONE), limits=PARKS_AT_ONCE) as (bench, _brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 2)
        assert await waits(bench)
        assert await begin(bench, "Never mind.") == loop_id
        assert await end(bench, loop_id) == (200, None)
        assert "go\n\nNever mind." in shown(bench.model.requests[2])


@pytest.mark.spec("3.2-park")
async def test_a_prompt_for_another_loop_ends_no_parking(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a"), PARK, DONE, DONE), limits=PARKS_AT_ONCE) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 2)
        queued = await bench.engine.submit(bench.run.id, Submission(prompt="later", queue=True))
        assert await waits(bench)
        brook.end("a")
        assert await end(bench, loop_id) == (200, None)
        assert await end(bench, queued.loop_id) == (200, None)


@pytest.mark.spec("3.2-park")
async def test_parking_ends_when_its_time_has_passed(tmp_path: Path) -> None:
    limits = Limits(settle_s=0, park_s=0.05)
    async with brooks(tmp_path / "p.db", (f"{start('a')} {PARK}", DONE), limits=limits) as (bench, _brook):
        began_at = trio.current_time()
        assert await end(bench, await begin(bench)) == (200, None)
        assert trio.current_time() - began_at >= 0.05
        assert telemetry(bench) == []
        assert await live(bench) == ["brook://a"]


@pytest.mark.spec("3.2-park")
async def test_with_nothing_to_wait_for_a_loop_goes_on_and_is_told(tmp_path: Path) -> None:
    limits = Limits(settle_s=3600, park_s=3600)
    async with brooks(tmp_path / "p.db", (start("a"), PARK, PARK, DONE), limits=limits) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        brook.end("a")
        assert await end(bench, loop_id) == (200, None)
        assert telemetry(bench) == ["nothing_to_wait_for", "nothing_to_wait_for"]
        third = shown(bench.model.requests[2])
        assert '"kind":"nothing_to_wait_for"' in third


@pytest.mark.spec("3.2-park")
async def test_parking_ends_when_what_it_waits_for_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its row goes with its entry, which may be before the loop looks.
    monkeypatch.setattr(subscriptions, "has_untold", never)
    async with brooks(tmp_path / "p.db", (start("a", "b"), PARK, DONE), limits=PARKS_AT_ONCE) as (bench, _brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 2)
        assert await waits(bench)
        (deleted,) = await do(bench, "<<SEND[410](brook://a)::SEND")
        assert deleted.status == 200
        assert await end(bench, loop_id) == (200, None)
        assert await live(bench) == ["brook://b"]


@pytest.mark.spec("3.2-park")
async def test_nothing_is_parked_for_when_it_was_deleted_before(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (f"{start('a')} {PARK}", DONE), limits=PATIENT) as (bench, _brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        await do(bench, "<<SEND[410](brook://a)::SEND")  # while it settles
        assert await end(bench, loop_id) == (200, None)


@pytest.mark.spec("3.2-park", "3.1-terminal-always-written")
async def test_a_loop_that_waits_is_cancelled_and_runs_out_of_time_like_any_other(tmp_path: Path) -> None:
    for name, script in (("settles", (start("a"),)), ("parks", (f"{start('a')} {PARK}",))):
        settle_s = 3600 if name == "settles" else 0
        limits = Limits(settle_s=settle_s, park_s=3600)
        async with brooks(tmp_path / f"{name}.db", script, limits=limits) as (bench, _brook):
            loop_id = await begin(bench)
            await turns_ended(bench, 1)
            assert await waits(bench)
            with trio.fail_after(10):
                assert (await bench.engine.cancel(bench.run.id, "enough")).loop_id == loop_id
            assert await end(bench, loop_id) == (499, "cancelled")
            assert ends(bench) == [("brook://a", 499)]
        limits = Limits(settle_s=settle_s, park_s=3600, loop_timeout_s=0.3)
        async with brooks(tmp_path / f"{name}-timeout.db", script, limits=limits) as (bench, _brook):
            assert await end(bench, await begin(bench)) == (504, "timeout")
            assert len(bench.model.requests) == 1
            assert ends(bench) == [("brook://a", 499)]


@pytest.mark.spec("7.2-drain")
@pytest.mark.parametrize("limits", [PATIENT, PARKS_AT_ONCE])
async def test_a_loop_that_waits_ends_at_once_when_the_daemon_drains(tmp_path: Path, limits: Limits) -> None:
    async with brooks(tmp_path / "p.db", (f"{start('a')} {PARK}",), limits=limits) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        assert await waits(bench)
        bench.engine.refuse_prompts()
        with trio.fail_after(10):
            await bench.engine.drain()
        assert await end(bench, loop_id) == (499, "cancelled")
        assert brook.flows["a"].cancelled
        assert ends(bench) == [("brook://a", 499)]
        assert await live(bench) == []


@pytest.mark.spec("4.3-lifecycle-rows-only", "3.3-system-rows-first", "3.4-log-row-shape")
async def test_the_end_of_a_stream_is_one_row_of_the_next_turn_and_says_why(tmp_path: Path) -> None:
    script = (
        start("good", "bad", "slow", "mine"),
        "<<SEND[499](brook://mine)::SEND <<SEND[202]::SEND",
        "<<SEND[202]::SEND",
        DONE,
    )
    async with brooks(tmp_path / "p.db", script, limits=PATIENT) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 1)
        brook.end("good", Conclusion(status=200, exit_code=0))
        brook.end("bad", Conclusion(status=500, exit_code=1))
        await heard(bench, "stream/concluded", "stream/concluded")
        assert await waits(bench)
        await begin(bench, "Go on.")  # out of the settling
        await turns_ended(bench, 3)
        brook.end("slow", Conclusion(status=504))
        assert await end(bench, loop_id) == (200, None)
        assert told(bench) == [
            ("1/2/2", "good", 200, None),
            ("1/2/3", "bad", 500, "ended with exit code 1"),
            ("1/3/1", "mine", 499, "was cancelled: SEND[499]"),
            ("1/4/1", "slow", 504, "ran over its time limit"),
        ]
        last = shown(bench.model.requests[-1])
    assert (
        '* {"error":"was cancelled: SEND[499]","op":"EXEC","origin":"system","path":"log://1/3/1/EXEC","status":499,'
        '"target":"brook://mine"}'
    ) in last
    assert '"path":"log://1/4/1/EXEC","status":504,"target":"brook://slow"}' in last
    # Not failures of a turn's own: nothing was tried that failed.
    assert telemetry(bench) == []


@pytest.mark.spec("4.3-lifecycle-rows-only")
async def test_a_clients_own_turns_do_not_tell_of_the_end_of_a_stream(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (f"{start('a')} {DONE}", DONE)) as (bench, brook):
        await end(bench, await begin(bench))
        client = ClientLoop(bench.engine, bench.run.id)
        target = UrlTarget(raw="brook://a", scheme="brook", pathname="a")
        await client.run([Send(signal=499, target=target, body=SendBody(raw=""))])
        assert brook.flows["a"].cancelled
        await client.run([Send(signal=102, body=SendBody(raw="hello"))])
        await client.close()
        assert told(bench) == []
        await end(bench, await begin(bench))
        assert told(bench) == [("3/1/2", "a", 499, "was cancelled: SEND[499]")]
