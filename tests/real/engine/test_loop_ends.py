"""What the end of a loop does to its streams, and what the end of a stream does to its run."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import Send, SendBody, UrlTarget
from plurnk.plugins.api import Conclusion, GenerateRequest
from plurnk.store import channels, entries, loops, subscriptions, turns
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.store.turns import TurnEnd
from plurnk.wire.notifications import LoopStarted, LoopTerminated, StreamConcluded
from tests.support.brooks import brooks, heard, live, order, start, told, turns_ended
from tests.support.engines import Bench, do
from tests.support.stores import begin_turn

DONE = "<<SEND[200]::SEND"
PARK = "<<SEND[202]::SEND"
LIMITS = Limits(settle_s=0, park_s=3600)


async def begin(bench: Bench, prompt: str = "go", **settings: object) -> int:
    return (await bench.engine.submit(bench.run.id, Submission(prompt=prompt, **settings))).loop_id  # type: ignore[arg-type]


async def end(bench: Bench, loop_id: int) -> tuple[int, str | None]:
    with trio.fail_after(30):
        loop = await bench.engine.loop_end(loop_id)
    return loop.status, loop.reason


def wakes(bench: Bench) -> list[str]:
    return [n.wake_action for n in bench.ear.heard if isinstance(n, StreamConcluded)]


@pytest.mark.spec("3.2-graceful-end-keeps-streams")
async def test_streams_live_on_when_their_loop_ends_as_it_should(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (f"{start('a')} {DONE}",), limits=LIMITS) as (bench, brook):
        assert await end(bench, await begin(bench)) == (200, None)
        assert await live(bench) == ["brook://a"]
        assert not brook.flows["a"].cancelled
        # Nor does a cancel that finds no live loop end them.
        assert (await bench.engine.cancel(bench.run.id, "enough", queued_too=True)).loop_id is None
        assert await live(bench) == ["brook://a"]
    assert brook.flows["a"].cancelled


@pytest.mark.spec("3.2-graceful-end-keeps-streams")
async def test_what_a_client_started_lives_on_when_it_leaves(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS) as (bench, brook):
        client = ClientLoop(bench.engine, bench.run.id)
        target = UrlTarget(raw="brook://a", scheme="brook", pathname="a")
        await client.run([Send(signal=200, target=target, body=SendBody(raw=""))])
        await client.close()
        assert await live(bench) == ["brook://a"]
        assert not brook.flows["a"].cancelled


@pytest.mark.spec("3.2-forced-end-kills-streams", "3.1-terminal-always-written")
@pytest.mark.parametrize(
    "name",
    [
        "external",
        "max_turns",
        "timeout",
        "strike_threshold",
        "context_exceeded",
        "provider_error",
        "internal_error",
        "cancelled",
        "shutdown",
    ],
)
async def test_every_end_by_force_ends_the_loops_streams_before_it_is_announced(tmp_path: Path, name: str) -> None:
    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 1:
            if name == "context_exceeded":
                await bench.engine.submit(bench.run.id, Submission(prompt="word " * 10_000))
            return start("a", "b")
        if name == "strike_threshold":
            return "No statement."
        if name == "external":
            return "<<SEND[499]::SEND"
        if name == "provider_error":
            raise UpstreamFailed("503")
        if name == "internal_error":
            raise ValueError("a bug")
        return PARK

    limits = Limits(
        settle_s=0,
        park_s=3600,
        max_turns=1 if name == "max_turns" else 99,
        loop_timeout_s=0.3 if name == "timeout" else 3600,
    )
    async with brooks(tmp_path / "p.db", say, limits=limits) as (bench, brook):
        bench.model.context_size = 8_000
        await do(bench, start("other"))
        loop_id = await begin(bench)
        if name in {"cancelled", "shutdown"}:
            await turns_ended(bench, 2)
        if name == "cancelled":
            await bench.engine.cancel(bench.run.id, "enough")
        if name != "shutdown":
            await end(bench, loop_id)
            # The loop's own streams and no others.
            assert await live(bench) == ["brook://other"]
    (terminated,) = [n for n in bench.ear.heard if isinstance(n, LoopTerminated) and n.loop_id == loop_id]
    assert terminated.reason == ("cancelled" if name == "shutdown" else name)
    of_loop = [n for n in bench.ear.heard if isinstance(n, StreamConcluded) and n.target != "brook://other"]
    assert sorted((n.target, n.close_status, n.wake_action) for n in of_loop) == [
        ("brook://a", 499, "skipped-aborted"),
        ("brook://b", 499, "skipped-aborted"),
    ]
    why = "shutdown" if name == "shutdown" else f"its loop ended ({name})"
    assert all(f": {why}" in n.summary for n in of_loop), [n.summary for n in of_loop]
    for concluded in of_loop:
        assert bench.ear.heard.index(concluded) < bench.ear.heard.index(terminated)
    assert brook.flows["a"].cancelled
    assert brook.flows["b"].cancelled


@pytest.mark.spec("3.1-cancel-is-complete", "3.2-forced-end-kills-streams")
async def test_a_cancel_is_answered_when_nothing_of_the_loops_streams_is_left(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (start("a", "b"), PARK), limits=LIMITS, lingers=True) as (bench, brook):
        await begin(bench)
        await turns_ended(bench, 2)
        answered: list[str] = []

        async def cancel(reason: str) -> None:
            await bench.engine.cancel(bench.run.id, reason)
            answered.append(reason)

        with trio.fail_after(30):
            async with trio.open_nursery() as clients:
                clients.start_soon(cancel, "one")
                clients.start_soon(cancel, "two")
                while not all(flow.cancelled for flow in brook.flows.values()):  # noqa: ASYNC110 - two events at once
                    await trio.sleep(0.001)
                brook.flows["a"].let_go.set()
                await heard(bench, "stream/concluded")
                for _ in range(10):
                    await bench.engine.store.write(lambda _tx: None)
                assert answered == []
                assert order(bench, LoopTerminated) == []
                brook.flows["b"].let_go.set()
        assert sorted(answered) == ["one", "two"]
        assert order(bench, LoopTerminated, StreamConcluded) == [
            "stream/concluded",
            "stream/concluded",
            "loop/terminated",
        ]


@pytest.mark.spec("3.2-forced-end-kills-streams")
async def test_a_stream_that_will_not_end_does_not_keep_the_terminal_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plurnk.engine.driver.STREAMS_END_LIMIT_S", 0.05)
    limits = Limits(settle_s=0, park_s=3600, kill_grace_s=0.05)
    async with brooks(tmp_path / "p.db", (start("a"), PARK), limits=limits, lingers=True) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 2)
        with trio.fail_after(20):
            await bench.engine.cancel(bench.run.id, "enough")
        assert await end(bench, loop_id) == (499, "cancelled")
        assert order(bench, StreamConcluded) == []
        brook.flows["a"].let_go.set()
        await heard(bench, "stream/concluded")


@pytest.mark.spec("3.2-graceful-end-keeps-streams", "3.2-forced-end-kills-streams")
async def test_cancelling_a_loop_leaves_the_streams_of_one_that_ended_before(tmp_path: Path) -> None:
    script = (f"{start('old')} {DONE}", start("new"), PARK)
    async with brooks(tmp_path / "p.db", script, limits=LIMITS) as (bench, _brook):
        await end(bench, await begin(bench))
        loop_id = await begin(bench)
        await turns_ended(bench, 3)
        await bench.engine.cancel(bench.run.id, "enough")
        assert await end(bench, loop_id) == (499, "cancelled")
        assert await live(bench) == ["brook://old"]


async def test_before_a_session_is_deleted_every_loop_and_stream_of_it_is_ended(tmp_path: Path) -> None:
    script = (f"{start('graceful')} {DONE}", start("own"), PARK)
    async with brooks(tmp_path / "p.db", script, limits=LIMITS) as (bench, brook):
        await do(bench, start("client"))
        await end(bench, await begin(bench))
        await begin(bench)
        await turns_ended(bench, 3)
        await begin(bench, "queued", queue=True)
        with trio.fail_after(30):
            await bench.engine.cancel_runs([bench.run.id], "its session is deleted")
        assert await live(bench) == []
        assert all(flow.cancelled for flow in brook.flows.values())
        assert await bench.engine.store.read(lambda db: loops.live(db, bench.run.id)) is None
        assert wakes(bench) == ["skipped-aborted"] * 3


# -- wake


@pytest.mark.spec("4.4-wake-four-ways", "3.7-wake-inherits")
async def test_the_end_of_a_stream_opens_a_loop_with_the_settings_of_the_one_that_started_it(tmp_path: Path) -> None:
    script = (f"{start('a')} {DONE}", DONE, DONE)
    flags = '{"yolo":true,"mode":"ask"}'
    async with brooks(tmp_path / "p.db", script, limits=LIMITS) as (bench, brook):
        first = await begin(bench, flags=flags, alias="other", persona="Be brief.", max_turns=7)
        assert await end(bench, first) == (200, None)
        # One with other settings in between has no say in it.
        await end(bench, await begin(bench))
        brook.end("a", Conclusion(status=500, exit_code=2))
        await heard(bench, *["loop/terminated"] * 3)
        (concluded,) = [n for n in bench.ear.heard if isinstance(n, StreamConcluded)]
        assert concluded.wake_action == "opened-loop"
        assert isinstance(concluded.wake_loop_id, int)
        woken_id = concluded.wake_loop_id
        assert await end(bench, woken_id) == (200, None)
        woken = await bench.engine.store.read(lambda db: loops.get(db, woken_id))
        assert (woken.flags, woken.alias, woken.persona, woken.max_turns) == (flags, "other", "Be brief.", 7)
        assert woken.prompt == concluded.summary
        assert "brook://a ended with exit code 2" in woken.prompt
        assert told(bench) == [("3/1/2", "a", 500, "ended with exit code 2")]


@pytest.mark.spec("4.4-wake-four-ways")
async def test_a_stream_that_ends_in_a_live_loop_opens_none_nor_does_one_that_was_cancelled(tmp_path: Path) -> None:
    script = (start("a"), PARK, DONE, f"{start('b')} {DONE}")
    async with brooks(tmp_path / "p.db", script, limits=LIMITS) as (bench, brook):
        loop_id = await begin(bench)
        await turns_ended(bench, 2)
        brook.end("a")
        assert await end(bench, loop_id) == (200, None)
        await end(bench, await begin(bench))
        await do(bench, "<<SEND[499](brook://b)::SEND")
        assert wakes(bench) == ["no-op-active-loop", "skipped-aborted"]
        assert order(bench, LoopStarted).count("loop/started") == 3  # two prompts, one client


@pytest.mark.spec("4.4-wake-four-ways")
async def test_a_stream_that_ends_in_the_last_turn_of_a_loop_is_not_forgotten(tmp_path: Path) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS) as (bench, brook):

        async def say(number: int, _request: GenerateRequest) -> str:
            if number == 1:
                return start("a", "b")
            if number == 2:
                brook.end("a")
                brook.end("b")
                await heard(bench, "stream/concluded", "stream/concluded")
            return DONE

        bench.model._say = say
        first = await begin(bench)
        assert await end(bench, first) == (200, None)
        assert await end(bench, first + 1) == (200, None)
        assert wakes(bench) == ["no-op-active-loop"] * 2
        # One loop is enough to tell of both.
        assert [row[0] for row in told(bench)] == ["2/1/2", "2/1/3"]
        assert order(bench, LoopStarted) == ["loop/started"] * 2
        assert "brook://a ended" in bench.model.requests[2].messages[1].content


@pytest.mark.spec("4.4-wake-four-ways")
@pytest.mark.parametrize("way", ["prompt", "queued", "by force"])
async def test_no_loop_is_opened_for_it_where_another_tells_or_the_loop_was_ended_by_force(
    tmp_path: Path, way: str
) -> None:
    async with brooks(tmp_path / "p.db", (), limits=LIMITS) as (bench, brook):

        async def say(number: int, _request: GenerateRequest) -> str:
            if number == 1:
                return start("a")
            if number == 2:
                brook.end("a")
                await heard(bench, "stream/concluded")
                if way != "by force":
                    await begin(bench, "more", queue=way == "queued")
            return "<<SEND[499]::SEND" if way == "by force" else DONE

        bench.model._say = say
        first = await begin(bench)
        assert (await end(bench, first))[0] == (499 if way == "by force" else 200)
        if way != "by force":
            assert await end(bench, first + 1) == (200, None)
            assert [row[0] for row in told(bench)] == ["2/1/2"]
        assert order(bench, LoopStarted) == ["loop/started"] * (1 if way == "by force" else 2)


async def test_the_end_of_a_stream_opens_no_loop_in_a_daemon_that_stops(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with brooks(path, (f"{start('a')} {DONE}",), limits=LIMITS) as (bench, brook):
        await end(bench, await begin(bench))
        bench.engine.refuse_prompts()
        brook.end("a")
        await heard(bench, "stream/concluded")
        assert wakes(bench) == ["opened-loop"]
        with trio.fail_after(10):
            await bench.engine.drain()
        assert order(bench, LoopStarted) == ["loop/started"]
    # It is there for the next one.
    async with brooks(path, (DONE,), limits=LIMITS) as (bench, _brook):
        await bench.engine.resume(resume=True)
        assert await end(bench, 2) == (200, None)


@pytest.mark.spec("7.2-resume", "4.3-lifecycle-rows-only")
async def test_a_loop_that_was_cut_off_while_it_waited_is_told_what_became_of_its_streams(tmp_path: Path) -> None:
    path = tmp_path / "p.db"

    async with brooks(path, ()) as (bench, _brook):

        def cut_off(tx: Tx) -> int:
            turn = begin_turn(tx, bench.run)
            turns.end(tx, turn, TurnEnd(status=202))
            entry = entries.create(tx, bench.session.id, "brook", "a")
            channels.create(tx.db, entry.id, "out", "text/plain")
            subscriptions.begin(tx, turn, entry.id, scheme="brook", handle="brook://a", channel_names=["out"])
            return turn.loop_id

        loop_id = await bench.engine.store.write(cut_off)
    async with brooks(path, (DONE,)) as (bench, _brook):
        await bench.engine.resume(resume=True)
        assert await end(bench, loop_id) == (200, None)
        row = '"op":"EXEC","origin":"system","path":"log://1/2/1/EXEC","status":500,"target":"brook://a"'
        assert row in bench.model.requests[0].messages[0].content
        assert await live(bench) == []
