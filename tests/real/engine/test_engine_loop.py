"""Loops from prompt to terminal row, on a real store."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import cast

import apsw
import msgspec
import pytest
import trio

from plurnk.engine.clients import ClientLoop
from plurnk.engine.limits import Limits
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import Edit, UrlTarget
from plurnk.plugins.api import GenerateRequest, ProviderSettings
from plurnk.plugins.registry import ProviderPlugins
from plurnk.store import log, loops, sessions, turns
from plurnk.store.loops import Loop, Submission
from plurnk.wire.notifications import LogEntry, LogEntryAdded, LoopTerminated, TelemetryEvent, TurnDelta
from plurnk.wire.params import LoopFlags
from tests.support.engines import Bench, FakeModel, Plugins, engine_with

DONE = "<<SEND[200]::SEND"


async def finish(bench: Bench, prompt: str = "do it", **settings: object) -> Loop:
    """Run a prompt to its end."""
    submitted = await bench.engine.submit(bench.run.id, Submission(prompt=prompt, **settings))  # type: ignore[arg-type]
    with trio.fail_after(10):
        return await bench.engine.loop_end(submitted.loop_id)


async def rows(bench: Bench) -> list[LogEntry]:
    return [row for row, _hidden in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]


def shown(request: GenerateRequest) -> str:
    return "\n\n".join(message.content for message in request.messages)


@pytest.mark.spec("3.3-ops-in-order", "3.3-system-rows-first", "2.4-every-op-one-row")
async def test_three_turns_write_notes_read_them_back_and_answer(tmp_path: Path) -> None:
    script = (
        "I note it. <<EDIT[fact](known://a):alpha\nbeta:EDIT <<EDIT(unknown://q):why?:EDIT",
        "<<READ(known://a)::READ <<FIND(known://)::FIND <<READ(known://missing)::READ",
        "<<SEND[200]:It is alpha.:SEND",
    )
    async with engine_with(tmp_path / "p.db", script) as bench:
        loop = await finish(bench)
        assert (loop.status, loop.reason) == (200, None)
        done = [(r.turn_seq, r.sequence, r.origin, r.op, r.pathname, r.status_rx) for r in await rows(bench)]
        assert done == [
            (1, 1, "system", "EDIT", f"prompt/{loop.id}", 201),
            (1, 2, "model", "EDIT", "a", 201),
            (1, 3, "model", "EDIT", "q", 201),
            (2, 1, "model", "READ", "a", 200),
            (2, 2, "model", "FIND", "", 200),
            (2, 3, "model", "READ", "missing", 404),
            (3, 1, "model", "SEND", None, 200),
        ]
        read = (await rows(bench))[3].rx
        assert (read["content"], read["startLine"]) == ("alpha\nbeta", 1)
        assert (await rows(bench))[4].rx["results"] == "known://a"
        statuses = await bench.engine.store.read(
            lambda db: [s for (s,) in db.execute("SELECT status FROM turns ORDER BY id").fetchall()]
        )
        assert statuses == [102, 102, 200]


@pytest.mark.spec("3.4-headings", "3.4-numbered-lines", "2.7-prompt-foist", "2.7-index-is-visibility")
async def test_the_packet_shows_card_persona_index_log_prompt_and_requirements(tmp_path: Path) -> None:
    script = ("<<EDIT[b,a](known://n):one\ntwo:EDIT", "<<READ(known://n)<2>::READ", "<<HIDE(known://n)::HIDE", DONE)
    async with engine_with(tmp_path / "p.db", script, context_size=8000) as bench:
        loop = await finish(bench, "What is two?")
        first, second, third, fourth = (shown(request) for request in bench.model.requests)
    assert first.startswith("the card\n\n# Plurnk System Instructions\nthe persona\n\n# Plurnk System Log\n")
    assert "# Plurnk System User Prompt\nWhat is two?" in first
    assert "# Plurnk System Index" not in first
    assert "# Plurnk System Requirements" not in first
    assert (
        '# Plurnk System Index\n* {"channels":{"body":{"mimetype":"text/markdown","tokens":2}},"path":"known://n",'
        '"tags":["a","b"]}\n<<known://n:\n1:\tone\n2:\ttwo\n:known://n\n'
    ) in second
    assert second.endswith(f"# Plurnk System Requirements\nTurn 2/{Limits().max_turns}")
    assert (
        '* {"op":"READ","origin":"model","path":"log://1/2/1/READ","status":200,"target":"known://n"}\n'
        "<<known://n:\n2:\ttwo\n:known://n"
    ) in third
    assert "# Plurnk System Index" not in fourth
    assert f"plurnk://prompt/{loop.id}" in fourth


@pytest.mark.spec("3.4-log-prefix-stable")
async def test_each_turns_log_begins_with_the_one_before(tmp_path: Path) -> None:
    script = [f"<<EDIT(known://n{n}):text {n}:EDIT <<READ(known://n{n})::READ" for n in range(6)] + [DONE]
    async with engine_with(tmp_path / "p.db", script) as bench:
        await finish(bench)
        logs = [
            request.messages[0].content.partition("# Plurnk System Log\n")[2].partition("\n\n# Plurnk System Index")[0]
            for request in bench.model.requests
        ]
    assert len(logs) == 7
    for before, after in itertools.pairwise(logs):
        assert after.startswith(before)
        assert len(after) > len(before)


@pytest.mark.spec("2.4-log-rows-hide", "3.4-log-prefix-stable")
async def test_hidden_rows_leave_the_packet_and_rows_of_an_older_loop_come_last(tmp_path: Path) -> None:
    script = (
        "<<EDIT(known://a):x:EDIT",
        "<<HIDE(log://2/1/2)::HIDE",
        "<<SHOW(log://2/1/2)::SHOW",
        "<<SEND[102]::SEND",
        DONE,
    )
    async with engine_with(tmp_path / "p.db", script) as bench:
        client = ClientLoop(bench.engine, bench.run.id)
        await client.run([Edit(target=UrlTarget(raw="known://c", scheme="known", pathname="c"), body="first")])

        async def say(number: int, _request: GenerateRequest) -> str:
            if number == 4:
                # The client's loop is older than the model's; its new row is still the newest.
                await client.run([Edit(target=UrlTarget(raw="known://c", scheme="known", pathname="c"), body="late")])
            return script[number - 1]

        bench.model._say = say
        await finish(bench)
        await client.close()
        logs = [
            request.messages[0].content.partition("# Plurnk System Log\n")[2].partition("\n\n# Plurnk System Index")[0]
            for request in bench.model.requests
        ]
    assert ["known://a" in section for section in logs] == [False, True, False, True, True]
    assert logs[3].startswith(logs[1].rstrip())
    assert logs[4].startswith(logs[3])
    assert logs[4].rindex("log://1/2/1/EDIT") > logs[4].rindex("log://2/3/1/SHOW")


@pytest.mark.spec("3.5-drain-on-read", "3.5-action-failure-mirrored", "3.3-prose-is-reasoning", "3.5-no-error-scheme")
async def test_what_went_wrong_is_told_once_on_the_next_turn(tmp_path: Path) -> None:
    script = (
        "Thinking <<READ(nosuch://x)::READ aloud <<EDIT(known://a)<1-0>x:EDIT <<EDIT(known://a):x:EDIT",
        "No statement here.",
        "<<SEND[202]::SEND",
        DONE,
    )
    async with engine_with(tmp_path / "p.db", script, limits=Limits(max_strikes=0)) as bench:
        await finish(bench)
        second, third, fourth = (shown(request) for request in bench.model.requests[1:])
        packets = await bench.engine.store.read(
            lambda db: [msgspec.json.decode(str(p)) for (p,) in db.execute("SELECT packet FROM turns").fetchall()]
        )
    assert '"kind":"action_failure"' in second
    assert '"kind":"parse_error"' in second
    assert "nosuch" in second
    assert "error://" not in second
    assert '"kind":"no_ops"' in third
    assert "action_failure" not in third
    assert '"kind":"nothing_to_wait_for"' in fourth
    assert "no_ops" not in fourth
    assert packets[0]["assistant"]["reasoning"].startswith("Thinking")
    assert "aloud" in packets[0]["assistant"]["reasoning"]
    kinds = [n.event["kind"] for n in bench.ear.heard if isinstance(n, TelemetryEvent)]
    assert kinds == ["action_failure", "parse_error", "no_ops", "nothing_to_wait_for"]


@pytest.mark.spec("3.3-op-cap")
async def test_no_more_than_so_many_statements_of_a_turn_are_run(tmp_path: Path) -> None:
    many = " ".join(f"<<EDIT(known://n{n}):x:EDIT" for n in range(5))
    async with engine_with(tmp_path / "p.db", (many, DONE), limits=Limits(max_commands=3)) as bench:
        await finish(bench)
        assert [r.pathname for r in await rows(bench) if r.origin == "model"] == ["n0", "n1", "n2", None]
        told = [n.event for n in bench.ear.heard if isinstance(n, TelemetryEvent)]
    assert [(e["kind"], e["emitted"], e["dropped"]) for e in told] == [("max_commands", 5, 2)]


@pytest.mark.spec("2.4-send-broadcast-ends-loop")
async def test_send_499_gives_up_and_the_rest_of_the_turn_still_runs(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ("<<SEND[499]:no:SEND <<EDIT(known://late):x:EDIT",)) as bench:
        loop = await finish(bench)
        assert (loop.status, loop.reason) == (499, "external")
        assert [r.pathname for r in await rows(bench) if r.origin == "model"] == [None, "late"]


@pytest.mark.spec("3.1-terminal-always-written")
async def test_every_way_out_writes_the_terminal_row_and_announces_it_once(tmp_path: Path) -> None:
    async def fails(_number: int, _request: GenerateRequest) -> str:
        raise UpstreamFailed("503")

    async def crashes(_number: int, _request: GenerateRequest) -> str:
        raise ValueError("a bug")

    async def hangs(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async def chatters(_number: int, _request: GenerateRequest) -> str:
        return "<<SEND[102]::SEND"

    for name, say, limits, wanted in (
        ("done", (DONE,), Limits(), (200, None)),
        ("external", ("<<SEND[499]::SEND",), Limits(), (499, "external")),
        ("max_turns", chatters, Limits(max_turns=3, max_strikes=0), (499, "max_turns")),
        ("timeout", chatters, Limits(loop_timeout_s=0.03, max_strikes=0), (504, "timeout")),
        ("provider", fails, Limits(), (500, "provider_error")),
        ("stalled", hangs, Limits(fetch_timeout_s=0.03), (500, "provider_error")),
        ("bug", crashes, Limits(), (500, "internal_error")),
    ):
        async with engine_with(tmp_path / f"{name}.db", say, limits=limits) as bench:
            loop = await finish(bench)
            assert (loop.status, loop.reason) == wanted, name
            ends = [n for n in bench.ear.heard if isinstance(n, LoopTerminated)]
            assert [(e.loop_id, e.final_status, e.reason) for e in ends] == [(loop.id, *wanted)]
            assert ends[0].hit_max_turns == (name == "max_turns")
            open_turns = await bench.engine.store.read(
                lambda db: db.execute("SELECT count(*) FROM turns WHERE ended_at IS NULL").fetchall()
            )
            assert open_turns == [(0,)], name

    for name in ("cancel", "shutdown"):
        path = tmp_path / f"{name}.db"
        async with engine_with(path, hangs) as bench:
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="x"))
            await bench.model.asked.wait()
            if name == "cancel":
                ended = await bench.engine.cancel(bench.run.id, "enough")
                assert ended.loop_id == submitted.loop_id
        ends = [n for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert [(e.final_status, e.reason) for e in ends] == [(499, "cancelled")], name


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_cancel_reaches_a_loop_in_every_phase_and_twice_is_answered(tmp_path: Path) -> None:
    async def hangs(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with engine_with(tmp_path / "p.db", hangs) as bench:
        assert (await bench.engine.cancel(bench.run.id, "nothing")).loop_id is None
        for _ in range(20):
            # At once: the driver may not even have claimed the loop.
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="x"))
            with trio.fail_after(5):
                async with trio.open_nursery() as both:
                    both.start_soon(bench.engine.cancel, bench.run.id, "one")
                    both.start_soon(bench.engine.cancel, bench.run.id, "two")
                loop = await bench.engine.loop_end(submitted.loop_id)
            assert (loop.status, loop.reason) == (499, "cancelled")
        ends = [n.loop_id for n in bench.ear.heard if isinstance(n, LoopTerminated)]
        assert len(ends) == len(set(ends)) == 20
        queued = [await bench.engine.submit(bench.run.id, Submission(prompt="q", queue=True)) for _ in range(3)]
        ended = await bench.engine.cancel(bench.run.id, "all", queued_too=True)
        assert {ended.loop_id, *ended.dropped} >= {q.loop_id for q in queued}


@pytest.mark.spec("3.1-inject-next-turn", "3.1-inject-none-lost")
async def test_injected_prompts_are_shown_in_order_and_none_is_lost(tmp_path: Path) -> None:
    gate = trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 1:
            await gate.wait()
            return "<<SEND[102]::SEND"
        return DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        first = await bench.engine.submit(bench.run.id, Submission(prompt="zero"))
        await bench.model.asked.wait()
        one = await bench.engine.submit(bench.run.id, Submission(prompt="one"))
        two = await bench.engine.submit(bench.run.id, Submission(prompt="two"))
        assert (one.action, one.loop_id, one.turn_seq) == ("injected_next_turn", first.loop_id, 2)
        assert two.action == "injected_next_turn"
        gate.set()
        await bench.engine.loop_end(first.loop_id)
        assert "# Plurnk System User Prompt\nzero\n\none\n\ntwo" in shown(bench.model.requests[1])
        entries = [r.pathname for r in await rows(bench) if r.origin == "system"]
        base = f"prompt/{first.loop_id}"
        assert entries == [base, f"{base}/2", f"{base}/2-2"]


@pytest.mark.spec("3.1-inject-none-lost")
async def test_a_prompt_that_came_in_the_last_turn_becomes_a_new_loop(tmp_path: Path) -> None:
    gate = trio.Event()

    async def say(number: int, _request: GenerateRequest) -> str:
        if number == 1:
            await gate.wait()
        return DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        settings = {
            "alias": "other",
            "persona": "Be brief.",
            "flags": msgspec.json.encode(LoopFlags(no_proposals=True)).decode(),
            "max_turns": 7,
        }
        first = await bench.engine.submit(bench.run.id, Submission(prompt="zero", **settings))  # type: ignore[arg-type]
        await bench.model.asked.wait()
        for prompt in ("late", "later"):
            assert (await bench.engine.submit(bench.run.id, Submission(prompt=prompt))).action == "injected_next_turn"
        gate.set()
        await bench.engine.loop_end(first.loop_id)
        with trio.fail_after(5):
            second = await bench.engine.loop_end(first.loop_id + 1)
        assert (second.prompt, second.status) == ("late", 200)
        assert {name: getattr(second, name) for name in settings} == settings
        assert "late\n\nlater" in shown(bench.model.requests[1])


@pytest.mark.spec("3.1-other-settings-queue", "3.1-one-driver-per-run")
async def test_a_prompt_with_other_settings_waits_for_its_own_loop(tmp_path: Path) -> None:
    gate = trio.Event()

    async def say(_number: int, _request: GenerateRequest) -> str:
        await gate.wait()
        return DONE

    async with engine_with(tmp_path / "p.db", say) as bench:
        first = await bench.engine.submit(bench.run.id, Submission(prompt="zero"))
        others = [
            Submission(prompt="a", queue=True),
            Submission(prompt="b", max_turns=3),
            Submission(prompt="c", alias="other"),
            Submission(prompt="d", persona="Be brief."),
            Submission(prompt="e", flags=msgspec.json.encode(LoopFlags(mode="ask")).decode()),
        ]
        queued = [await bench.engine.submit(bench.run.id, other) for other in others]
        assert {q.action for q in queued} == {"enqueued_new_loop"}
        assert len({first.loop_id, *(q.loop_id for q in queued)}) == 6
        gate.set()
        with trio.fail_after(10):
            await bench.engine.loop_end(queued[-1].loop_id)
        ended = await bench.engine.store.read(lambda db: [loops.get(db, q.loop_id) for q in queued])
        assert {loop.status for loop in ended} == {200}
        assert [loop.prompt for loop in ended] == ["a", "b", "c", "d", "e"]
        running = [n.loop_id for n in bench.ear.heard if n.method in {"loop/started", "loop/terminated"}]  # type: ignore[attr-defined]
        assert running == [i for loop_id in [first.loop_id, *(q.loop_id for q in queued)] for i in (loop_id, loop_id)]
        assert "Be brief." in shown(bench.model.requests[4])


@pytest.mark.spec("3.1-other-settings-queue", "3.1-inject-next-turn")
async def test_a_prompt_that_names_what_the_live_loop_has_anyway_is_injected(tmp_path: Path) -> None:
    async def say(_number: int, _request: GenerateRequest) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with engine_with(tmp_path / "p.db", say) as bench:
        first = await bench.engine.submit(bench.run.id, Submission(prompt="zero"))
        flags = msgspec.json.encode(LoopFlags()).decode()
        named = Submission(prompt="one", alias="fake", max_turns=Limits().max_turns, flags=flags)
        same = await bench.engine.submit(bench.run.id, named)
        assert (same.action, same.loop_id) == ("injected_next_turn", first.loop_id)


@pytest.mark.spec("3.4-persona-cascade")
async def test_persona_comes_from_loop_run_session_or_file(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", [DONE] * 4) as bench:
        store = bench.engine.store
        await finish(bench)
        await store.write(lambda tx: sessions.set_persona(tx, bench.session.id, "of the session"))
        await finish(bench)
        await store.write(lambda tx: sessions.set_run_persona(tx, bench.run.id, "of the run"))
        await finish(bench)
        await finish(bench, persona="of the loop")
        personas = [
            next(p for p in ("the persona", "of the session", "of the run", "of the loop") if p in shown(request))
            for request in bench.model.requests
        ]
    assert personas == ["the persona", "of the session", "of the run", "of the loop"]


async def test_deltas_are_told_as_they_come_and_are_not_kept(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", (DONE,)) as bench:
        await finish(bench)
        assert "".join(n.text for n in bench.ear.heard if isinstance(n, TurnDelta)) == DONE
        assert bench.ear.seqs == list(range(2, len(bench.ear.seqs) + 2))


async def test_costs_and_usage_add_up(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ("<<SEND[102]::SEND", DONE)) as bench:
        loop = await finish(bench)
        usage = await bench.engine.store.read(lambda db: loops.usage(db, loop.id))
        assert (usage.prompt, usage.completion, usage.cost_pico) == (200, 20, 400)
        assert (await bench.engine.store.read(lambda db: sessions.get(db, bench.session.id))).cost_pico == 400


@pytest.mark.spec("3.3-announced-is-durable")
async def test_a_row_is_in_the_database_when_it_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    script = ("<<EDIT(known://a):x:EDIT <<READ(known://a)::READ", DONE)
    async with engine_with(path, script) as bench:
        outside = apsw.Connection(str(path))
        seen: list[bool] = []
        ended: list[bool] = []

        class Watcher:
            def hear(self, event: object) -> None:
                notification = event.notification  # type: ignore[attr-defined]
                if isinstance(notification, LogEntryAdded):
                    found = outside.execute("SELECT 1 FROM log_entries WHERE id = ?", (notification.entry.id,))
                    seen.append(bool(found.fetchall()))
                    turn = outside.execute("SELECT ended_at FROM turns WHERE id = ?", (notification.entry.turn_id,))
                    ended.append(turn.fetchall() != [(None,)])

        bench.engine.bus.join(Watcher(), bench.session.id)
        await finish(bench)
        outside.close()
    assert seen == [True] * 4
    assert ended == [False, False, True, True], "a turn ends with its last statement's row"


@pytest.mark.spec("7.2-resume")
async def test_a_loop_that_was_cut_off_goes_on_with_its_next_turn(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    async with engine_with(path, (DONE,)) as bench:
        store, run = bench.engine.store, bench.run
        loop_id = await store.write(
            lambda tx: loops.submit(tx, run.id, Submission(prompt="cut off"), loops.Defaults(flags="{}", max_turns=9))
        )
        loop = await store.write(lambda tx: loops.claim(tx, run.id))
        assert loop is not None
        await store.write(lambda tx: turns.begin(tx, loop))
        del loop_id
    async with engine_with(path, (DONE,)) as bench:
        await bench.engine.resume(resume=True)
        with trio.fail_after(5):
            ended = await bench.engine.loop_end(loop.id)
        assert (ended.status, ended.reason) == (200, None)
        assert '"kind":"interrupted"' in shown(bench.model.requests[0])
        cut = await bench.engine.store.read(
            lambda db: db.execute("SELECT seq, status, reason FROM turns ORDER BY id").fetchall()
        )
        assert cut == [(1, 500, "interrupted"), (2, 200, None)]
    async with engine_with(tmp_path / "q.db", (DONE,)) as bench:
        store, run = bench.engine.store, bench.run
        await store.write(
            lambda tx: loops.submit(tx, run.id, Submission(prompt="x"), loops.Defaults(flags="{}", max_turns=9))
        )
        await store.write(lambda tx: loops.claim(tx, run.id))
        await bench.engine.resume(resume=False)
        ended = await store.read(lambda db: loops.get(db, 1))
        assert (ended.status, ended.reason) == (499, "interrupted")


async def test_a_provider_is_made_once_and_not_on_the_event_loop(tmp_path: Path) -> None:
    makers: list[int] = []

    class Watched(FakeModel):
        def __call__(self, settings: ProviderSettings) -> FakeModel:
            makers.append(threading.get_ident())
            return super().__call__(settings)

    async with engine_with(tmp_path / "p.db", (DONE, DONE)) as bench:
        bench.engine.models._plugins = cast("ProviderPlugins", Plugins(Watched((DONE, DONE))))
        async with trio.open_nursery() as both:
            both.start_soon(finish, bench)
            both.start_soon(finish, bench)
    assert len(makers) == 1
    assert makers[0] != threading.get_ident()
