"""``plurnk run`` as a process, against a daemon that does what the test says."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.fake_daemon import Json, Peer, Refusal
from tests.support.fake_loops import LOOP, LoopDaemon, served
from tests.support.home import END_S, Home


async def run(home: Home, daemon: LoopDaemon, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    async with served(home, daemon):
        with trio.fail_after(END_S):
            return await trio.run_process(
                home.command("run", *arguments),
                env=home.env,
                cwd=home.work,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )


def a_good_loop(daemon: LoopDaemon) -> None:
    daemon.row(op="EDIT", scheme="known", pathname="a", status_rx=201)
    daemon.says(102, "thinking")
    daemon.row(op="READ", scheme="nope", pathname="x", status_rx=501, rx={"error": "no scheme nope"})
    daemon.publish("telemetry/event", {"loopId": LOOP, "event": {"kind": "strike", "message": "strike 1 of 3"}})
    daemon.publish("telemetry/event", {"loopId": LOOP, "event": {"kind": "action_failure", "message": "as a row said"}})
    daemon.says(200, "not the last word")
    daemon.says(200, "forty-two\n")
    daemon.ends(200)


async def test_the_answer_alone_is_on_stdout_and_the_rest_on_stderr(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), LoopDaemon(a_good_loop)
    done = await run(home, daemon, "--root", str(home.work), "--max-turns", "9", "--alias", "big", "--ask", "what?")
    assert (done.returncode, done.stdout) == (0, b"forty-two\n")
    header, model, *rows, end = done.stderr.decode().splitlines()
    assert header == f"session session-1, on {home.work}; 1 earlier: older"
    assert model == "model big: gpt-x by openai"
    assert rows == [
        "✓ 1/2/3 EDIT known://a 201",
        "✓ 1/2/3 SEND[102] 200: thinking",
        "✗ 1/2/3 READ nope://x 501 no scheme nope",
        "! strike 1 of 3",
        "✓ 1/2/3 SEND[200] 200",
        "✓ 1/2/3 SEND[200] 200",
    ]
    assert end.startswith("done after ")
    assert end.endswith(" s, 10 tokens in, 5 out, $0.02")
    asked = dict(daemon.requests)["loop.run"]
    assert (asked["prompt"], asked["maxTurns"], asked["alias"], asked["flags"]["mode"]) == ("what?", 9, "big", "ask")


async def test_an_existing_session_keeps_its_root(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), LoopDaemon(a_good_loop)
    done = await run(home, daemon, "--session", "older", "x")
    assert done.stderr.decode().startswith("session session-1, without a project directory; ")
    assert "session.set_root" not in dict(daemon.requests)
    assert dict(daemon.requests)["loop.run"]["flags"] is None


async def test_a_fault_of_plurnks_own_is_said_with_where_to_read_of_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    done = await run(home, LoopDaemon(lambda daemon: daemon.ends(500, "internal_error")), "x")
    assert done.returncode == 3
    fault, end = done.stderr.decode().splitlines()[-2:]
    assert fault == f"! this is a fault of plurnk's; {home.state / 'daemon.log'} says more"
    assert end.startswith("ended with 500, internal_error after ")


async def test_json_is_one_event_a_line(tmp_path: Path) -> None:
    done = await run(Home(tmp_path), LoopDaemon(a_good_loop), "--json", "x")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["method"] for event in events][-2:] == ["log/entry", "loop/terminated"]
    assert events[-1]["params"]["finalStatus"] == 200
    assert len(done.stderr.splitlines()) == 3, "no rows beside the events"


@pytest.mark.spec("6.7-run-exit-codes")
@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ((200, None, False), 0, "done after"),
        ((499, "max_turns", True), 2, "ended with 499, max_turns after"),
        ((499, "cancelled", False), 3, "ended with 499, cancelled after"),
        ((500, "provider_error", False), 3, "ended with 500, provider_error after"),
    ],
)
async def test_the_exit_code_tells_how_it_ended(
    tmp_path: Path, end: tuple[int, str | None, bool], code: int, words: str
) -> None:
    status, reason, hit_max_turns = end
    daemon = LoopDaemon(partial(LoopDaemon.ends, status=status, reason=reason, hit_max_turns=hit_max_turns))
    done = await run(Home(tmp_path), daemon, "x")
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.spec("6.7-run-exit-codes")
async def test_a_refused_prompt_is_said_and_exits_3(tmp_path: Path) -> None:
    daemon = LoopDaemon(a_good_loop)

    def refuse(_peer: Peer, _params: Json) -> Json:
        raise Refusal(-32602, "alias: there is no 'nope'")

    daemon.handlers["loop.run"] = refuse
    done = await run(Home(tmp_path), daemon, "--alias", "nope", "x")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-2:] == ["model nope", "plurnk: alias: there is no 'nope'"]


def tells_something(told: trio.Event) -> Callable[[LoopDaemon], None]:
    def script(daemon: LoopDaemon) -> None:
        daemon.says(102, "so far")
        told.set()

    return script


async def test_a_link_that_breaks_is_mended(tmp_path: Path) -> None:
    told = trio.Event()
    daemon = LoopDaemon(tells_something(told))

    async def crash(daemon: LoopDaemon) -> None:
        await told.wait()
        await trio.testing.wait_all_tasks_blocked()  # the answer is on its way
        await daemon.hang_up()
        daemon.says(200, "after all")
        daemon.ends(200)

    async with trio.open_nursery() as tasks:
        tasks.start_soon(crash, daemon)
        done = await run(Home(tmp_path), daemon, "x")
    assert (done.returncode, done.stdout) == (0, b"after all\n")
    assert dict(daemon.requests)["session.attach"]["since"] == 1


async def test_a_daemon_that_is_lost_is_said_and_exits_3(tmp_path: Path) -> None:
    told = trio.Event()
    daemon = LoopDaemon(tells_something(told))

    async def turn_away(daemon: LoopDaemon) -> None:
        await told.wait()
        await trio.testing.wait_all_tasks_blocked()  # the answer is on its way
        daemon.refuse_with = 403
        await daemon.hang_up()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(turn_away, daemon)
        home = Home(tmp_path)
        done = await run(home, daemon, "x")
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[-1] == f"plurnk: {home.socket} refuses this client with HTTP 403: not you"


async def never(_peer: Peer, _params: Json) -> Json:
    await trio.sleep_forever()
    raise AssertionError("for ever is over")


@pytest.mark.spec("6.7-ctrl-c")
@pytest.mark.parametrize("deaf", [False, True])
async def test_ctrl_c_cancels_and_a_second_one_leaves(tmp_path: Path, *, deaf: bool) -> None:
    """A daemon that is deaf never answers the cancel."""
    home, daemon = Home(tmp_path), LoopDaemon(lambda daemon: daemon.says(102, "working"))
    if deaf:
        daemon.handlers["loop.cancel"] = never
    async with served(home, daemon), trio.open_nursery() as tasks:
        start = partial(
            trio.run_process,
            home.command("run", "x"),
            env=home.env,
            cwd=home.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process: trio.Process = await tasks.start(start)
        assert process.stderr is not None
        shown = b""
        with trio.fail_after(END_S):
            async for piece in process.stderr:
                shown += piece
                if shown.endswith(b"working\n") or (deaf and shown.endswith(b"without waiting\n")):
                    process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
        tasks.cancel_scope.cancel()
    assert b"cancelling the loop; Ctrl-C again leaves without waiting\n" in shown
    assert (b"ended with 499, cancelled" in shown) is not deaf
    assert dict(daemon.requests)["loop.cancel"] == {"reason": "Ctrl-C", "loopId": LOOP}
