"""Commands of a daemon in a process of its own: watched, left, fed, cancelled, and gone with it (SPEC 4)."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from tests.support.commander import Commander, commander
from tests.support.daemons import DaemonProcess, PlainClient, environment, plain_client
from tests.support.desk import until
from tests.support.processes import with_marker

STUBBORN = """\
trap '' TERM HUP
(setsid sh -c 'trap "" TERM; while :; do sleep 1; done; : {0}' &)
echo up
while :; do sleep 1; done
: {0}
"""
OBEDIENT = "sh -c 'sleep 1000; : {0}' & echo up; sleep 1000; : {0}"


@asynccontextmanager
async def at_work(tmp_path: Path, **environ: str) -> AsyncIterator[tuple[DaemonProcess, Commander]]:
    (tmp_path / "project").mkdir(exist_ok=True)
    with DaemonProcess(environment(tmp_path, **environ)) as daemon:
        async with commander(daemon.url, tmp_path / "project") as client:
            with trio.fail_after(60):  # noqa: ASYNC100 – the test's own are in it
                yield daemon, client


def gone(marker: str) -> bool:
    return not with_marker(marker)


async def output(client: PlainClient, target: str, text: str) -> None:
    """Listen until the command has said ``text``."""
    while True:
        read = await client.call("entry.read", target=target, channel="stdout")
        if text in read["entry"]["channels"]["stdout"]["content"]:
            return
        await client.hear_until("stream/event")


@pytest.mark.spec("4.3-first-bytes-live", "4.3-event-after-commit", "4.4-order")
async def test_everybody_hears_the_first_bytes_and_the_end_in_order(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (daemon, client), plain_client(daemon.url) as other:
        await other.call("session.attach", id=client.session_id)
        target = (await client.exec("printf first; read line; echo second; exit 3"))["entry"]
        for watcher in (client.asker, other):
            event = await watcher.hear_until("stream/event")
            assert (event["target"], event["channel"], event["state"]) == (target, "stdout", "active")
            assert event["contentLength"] == len("first")
            read = await watcher.call("entry.read", target=target, channel="stdout")
            assert read["entry"]["channels"]["stdout"]["content"].startswith("first")
        assert (await client.asker.call("op.send", status=200, recipient=target, body="go"))["status"] == 200
        for watcher in (client.asker, other):
            concluded = await watcher.hear_until("stream/concluded")
            assert (concluded["closeStatus"], concluded["exitCode"]) == (500, 3)
            assert concluded["stdoutBytes"] == len("firstsecond\n")
            events = [m for m in watcher.heard if m["method"].startswith("stream/")]
            assert events[-1]["method"] == "stream/concluded"
            last = [m["params"] for m in events[:-1] if m["params"]["channel"] == "stdout"][-1]
            assert (last["state"], last["contentLength"]) == ("errored", len("firstsecond\n"))


@pytest.mark.spec("4.4-partial-output-kept")
async def test_a_client_that_leaves_in_mid_stream_comes_back_to_all_of_it(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (daemon, client):
        target = (await client.exec("for n in $(seq 1 400); do echo line $n; sleep 0.002; done"))["entry"]
        text, at = "", 0
        for _ in range(4):  # each reads on from where the last one was cut off
            async with plain_client(daemon.url) as reader:
                await reader.call("session.attach", id=client.session_id)
                read = await reader.call("entry.read", target=target, channel="stdout", **{"from": at})
                stdout = read["entry"]["channels"]["stdout"]
                text, at = text + stdout["content"], stdout["next"]
                if stdout["state"] == "active":
                    await reader.receive()
        assert (await client.concluded(target))["closeStatus"] == 200
        text += (await client.channels(target, channel="stdout", **{"from": at}))["stdout"]["content"]
        assert text.splitlines() == [f"line {number}" for number in range(1, 401)]


@pytest.mark.spec("4.5-cancel-races", "4.5-tree-is-gone", "4.1-close-idempotent")
async def test_all_who_cancel_are_answered_and_one_close_is_recorded(tmp_path: Path) -> None:
    async with at_work(tmp_path, PLURNK_EXEC_KILL_GRACE_MS="300") as (daemon, client):
        marker = f"marker-{uuid4().hex}"
        target = (await client.exec(STUBBORN.format(marker)))["entry"]
        await output(client.asker, target, "up")
        assert len(with_marker(marker)) >= 2
        answers: list[dict[str, Any]] = []

        async def cancel(method: str, **params: Any) -> None:
            async with plain_client(daemon.url) as canceller:
                await canceller.call("session.attach", id=client.session_id)
                answers.append(await canceller.call(method, **params))
                assert gone(marker), method

        async with trio.open_nursery() as cancels:
            for _ in range(3):
                cancels.start_soon(partial(cancel, "subscription.cancel", target=target))
            cancels.start_soon(partial(cancel, "op.send", status=499, recipient=target))
        assert [answer["status"] for answer in answers] == [200] * 4
        assert [a["closeStatus"] for a in answers if "closeStatus" in a] == [499] * 3
        assert (await client.concluded(target))["wakeAction"] == "skipped-aborted"
        again = await client.asker.call("subscription.cancel", target=target)
        assert (again["status"], again["closeStatus"]) == (200, 499)
        await client.asker.call("ping")
        assert len([m for m in client.asker.heard if m["method"] == "stream/concluded"]) == 1


@pytest.mark.spec("7.2-drain", "4.5-tree-is-gone", "3.1-terminal-always-written")
async def test_a_daemon_that_stops_leaves_nothing_running(tmp_path: Path) -> None:
    environ = environment(tmp_path, PLURNK_EXEC_KILL_GRACE_MS="300")
    marker = f"marker-{uuid4().hex}"
    with DaemonProcess(environ) as daemon:
        async with commander(daemon.url, tmp_path) as client:
            session_id = client.session_id
            targets = [(await client.exec(text.format(marker)))["entry"] for text in (STUBBORN, OBEDIENT)]
            for target in targets:
                await output(client.asker, target, "up")
        code, errors = daemon.stop()
        assert (code, gone(marker)) == (0, True), errors
    with DaemonProcess(environ) as daemon:
        async with commander(daemon.url, None, session_id=session_id) as client:
            listed = await client.asker.call("subscription.list", all=True)
            ends = {s["target"]: (s["closeStatus"], s["closeDetail"]) for s in listed["subscriptions"]}
            assert ends == dict.fromkeys(targets, (499, "shutdown"))


def script(tmp_path: Path, *answers: str) -> dict[str, str]:
    """The environment of a daemon whose model gives these answers."""
    path = tmp_path / "script.json"
    path.write_text(json.dumps([{"content": answer} for answer in answers]), "utf-8")
    return {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "mock/m", "PLURNK_MOCK_SCRIPT": str(path)}


@pytest.mark.spec("3.2-settle", "4.2-exec-address-in-result", "4.3-lifecycle-rows-only")
async def test_a_quick_commands_output_is_in_the_next_packet(tmp_path: Path) -> None:
    environ = script(tmp_path, "<<EXEC:seq 1 3:EXEC", "<<SEND[200]:seen:SEND")
    async with at_work(tmp_path, **environ) as (_daemon, client):
        done = await client.asker.call("loop.run", prompt="count", flags={"yolo": True})
        assert done["finalStatus"] == 200
        packet = await client.asker.call("packet.read", turnId=done["turnIds"][1])
        sent = packet["rendered"]
        assert '"command":"seq 1 3","entry":"exec://sh-1","op":"EXEC"' in sent
        assert '"origin":"system","path":"log://1/2/1/EXEC","status":200,"target":"exec://sh-1"' in sent
        assert "1:\t1\n2:\t2\n3:\t3\n:exec://sh-1" in sent
        rows = (await client.asker.call("log.read"))["entries"]
        assert [(r["op"], r["origin"]) for r in rows if r["op"] == "EXEC"] == [("EXEC", "model"), ("EXEC", "system")]


@pytest.mark.spec("3.1-cancel-is-complete", "3.2-forced-end-kills-streams", "4.5-tree-is-gone")
async def test_cancelling_a_loop_ends_what_it_runs_before_it_is_announced(tmp_path: Path) -> None:
    marker = f"marker-{uuid4().hex}"
    answer = f"<<EXECz:{STUBBORN.format(marker)}:EXECz <<SEND[202]:waiting:SEND"
    environ = script(tmp_path, answer) | {"PLURNK_EXEC_KILL_GRACE_MS": "200", "PLURNK_SETTLE_MS": "0"}
    async with at_work(tmp_path, **environ) as (daemon, client), plain_client(daemon.url) as other:
        await other.call("session.attach", id=client.session_id)
        await client.asker.call("loop.run", prompt="run it", flags={"yolo": True}, wait=False)
        await until(lambda: len(with_marker(marker)) >= 2)
        cancelled = await client.asker.call("loop.cancel")
        assert (cancelled["cancelled"], gone(marker)) == (True, True)
        ended = await other.hear_until("loop/terminated")
        assert ended["finalStatus"] == 499
        kinds = [message["method"] for message in other.heard]
        assert kinds.index("stream/concluded") < kinds.index("loop/terminated")


@pytest.mark.spec("4.2-edited-command-runs")
async def test_what_was_edited_runs_with_what_was_granted(tmp_path: Path) -> None:
    outside = Path("/var/tmp") / f"granted-{uuid4().hex}"
    for name in ("granted", "other"):
        (outside / name).mkdir(parents=True)
    reach = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {})).close()' && echo reached"
    try:
        async with at_work(tmp_path) as (daemon, client), plain_client(daemon.url) as judge:
            port = int(daemon.url.rpartition(":")[2])
            command = f"{reach.format(port)}; for d in granted other; do touch {outside}/$d/made; done"
            client.leave_judging_to_the_test()
            await judge.call("session.attach", id=client.session_id)
            results: list[dict[str, Any]] = []

            async def ask() -> None:
                results.append(await client.exec("echo as proposed"))

            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                proposal = await judge.hear_until("loop/proposal")
                assert proposal["attrs"]["sandbox"]["network"] is False
                await judge.call(
                    "loop.resolve",
                    logEntryId=proposal["logEntryId"],
                    decision="accept",
                    body=command,
                    grant={"network": True, "writable": [str(outside / "granted")]},
                )
            concluded = await client.concluded(results[0]["entry"])
            channels = await client.channels(results[0]["entry"])
            assert channels["stdout"]["content"] == "reached\n", channels["stderr"]["content"]
            assert (concluded["closeStatus"], concluded["exitCode"]) == (500, 1)
        assert [(outside / name / "made").exists() for name in ("granted", "other")] == [True, False]
    finally:
        shutil.rmtree(outside)


@pytest.mark.spec("4.4-wake-four-ways", "3.2-graceful-end-keeps-streams")
async def test_a_command_that_ends_after_its_loop_wakes_the_model(tmp_path: Path) -> None:
    environ = script(tmp_path, "<<EXEC:read line; exit 7:EXEC <<SEND[200]:begun:SEND", "<<SEND[200]:seen:SEND")
    async with at_work(tmp_path, PLURNK_SETTLE_MS="0", **environ) as (_daemon, client):
        first = await client.asker.call("loop.run", prompt="go", flags={"yolo": True})
        assert first["finalStatus"] == 200
        assert (await client.asker.call("op.send", status=200, recipient="exec://sh-1", body="x"))["status"] == 200
        concluded = await client.concluded("exec://sh-1")
        assert (concluded["exitCode"], concluded["wakeAction"]) == (7, "opened-loop")
        started = await client.asker.told("loop/started", loopId=concluded["wakeLoopId"])
        assert started["prompt"] == concluded["summary"]
        ended = await client.asker.told("loop/terminated", loopId=concluded["wakeLoopId"])
        assert ended["finalStatus"] == 200
