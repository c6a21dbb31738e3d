"""Commands over the daemon's own wire: proposed, accepted, heard of live, listed, ended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.daemons import PlainClient, Refusal, plain_client, running, settings_in

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")

LIMIT_S = 30.0


async def execute(asking: PlainClient, deciding: PlainClient, command: str, **params: Any) -> dict[str, Any]:
    """Have ``asking`` run a command that ``deciding``, another client of the session, accepts."""
    results: list[dict[str, Any]] = []

    async def ask() -> None:
        results.append(await asking.call("op.exec", command=command, **params))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(ask)
        proposal = await deciding.hear_until("loop/proposal")
        assert proposal["body"] == command
        pending = (await deciding.call("proposal.list"))["proposals"]
        assert [p["logEntryId"] for p in pending] == [proposal["logEntryId"]]
        assert pending[0]["attrs"] == proposal["attrs"]
        resolved = await deciding.call("loop.resolve", logEntryId=proposal["logEntryId"], decision="accept")
        assert resolved == {"status": 102, "logEntryId": proposal["logEntryId"]}
    return results[0]


async def text_of(client: PlainClient, target: str, channel: str = "stdout") -> str:
    read = await client.call("entry.read", target=target, channel=channel)
    return str(read["entry"]["channels"][channel]["content"])


async def hear_event(client: PlainClient, channel: str, length: int) -> dict[str, Any]:
    """Listen until so many bytes of the channel are told."""
    while True:
        event = await client.hear_until("stream/event")
        if event["channel"] == channel and event["contentLength"] >= length:
            return event


@pytest.mark.spec("4.3-first-bytes-live", "4.2-exec-address-in-result", "6.4-session-scoped")
async def test_every_client_of_the_session_sees_the_first_bytes_live_and_a_stranger_nothing(tmp_path: Path) -> None:
    async with (
        running(settings_in(tmp_path)) as url,
        plain_client(url) as one,
        plain_client(url) as two,
        plain_client(url) as stranger,
    ):
        with trio.fail_after(LIMIT_S):
            session = (await one.call("session.create"))["id"]
            await two.call("session.attach", id=session)
            await stranger.call("session.create")
            stranger.heard.clear()
            # It goes on only when it is answered, so whatever is heard before that is live.
            started = await execute(one, two, "echo first; read answer; echo $answer >&2")
            assert (started["status"], started["entry"]) == (102, "exec://sh-1")
            for client in (one, two):
                event = await hear_event(client, "stdout", 6)
                assert (event["target"], event["state"]) == ("exec://sh-1", "active")
                assert await text_of(client, "exec://sh-1") == "first\n"
            sent = await two.call("op.send", status=200, recipient="exec://sh-1", body="done")
            assert sent["status"] == 200
            for client in (one, two):
                ended = await client.hear_until("stream/concluded")
                assert (ended["subscriptionId"], ended["closeStatus"]) == (started["subscriptionId"], 200)
                assert (ended["exitCode"], ended["stdoutBytes"], ended["stderrBytes"]) == (0, 6, 5)
            assert await text_of(one, "exec://sh-1", "stderr") == "done\n"
            await stranger.call("ping")
            assert stranger.heard == []


async def test_streams_are_listed_and_ended_by_number_and_by_address(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as one, plain_client(url) as two:
        with trio.fail_after(LIMIT_S):
            session = (await one.call("session.create", projectRoot=str(tmp_path)))["id"]
            await two.call("session.attach", id=session)
            (tmp_path / "src").mkdir()
            first = await execute(one, two, "pwd; exec sleep 600", cwd="src", runtime="bash")
            second = await execute(one, two, "sleep 600")
            await hear_event(two, "stdout", 1)
            live = (await two.call("subscription.list"))["subscriptions"]
            assert [(s["id"], s["target"], s["handle"], s["closedAt"]) for s in live] == [
                (first["subscriptionId"], "exec://bash-1", "pwd; exec sleep 600", None),
                (second["subscriptionId"], "exec://sh-2", "sleep 600", None),
            ]
            assert live[0]["stdoutBytes"] == len(f"{tmp_path}/src\n")
            assert (await two.call("daemon.status"))["counts"]["streams"] == 2

            ended = await two.call("subscription.cancel", id=first["subscriptionId"])
            assert ended == {"status": 200, "target": "exec://bash-1", "closeStatus": 499}
            ended = await two.call("subscription.cancel", target="exec://sh-2#stderr")
            assert ended == {"status": 200, "target": "exec://sh-2", "closeStatus": 499}
            assert (await two.call("subscription.list"))["subscriptions"] == []
            every = (await two.call("subscription.list", all=True))["subscriptions"]
            assert [(s["target"], s["closeStatus"], s["closeDetail"]) for s in every] == [
                ("exec://bash-1", 499, "cancelled by a client"),
                ("exec://sh-2", 499, "cancelled by a client"),
            ]
            # What has ended is answered, too, and as it ended.
            again = await one.call("subscription.cancel", target="exec://sh-2")
            assert again == {"status": 200, "target": "exec://sh-2", "closeStatus": 499}
            assert (await two.call("daemon.status"))["counts"]["streams"] == 0


@pytest.mark.spec("6.2-invalid-params-named")
async def test_what_names_no_stream_of_the_session_is_told(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as one, plain_client(url) as two:
        with trio.fail_after(LIMIT_S):
            session = (await one.call("session.create"))["id"]
            await two.call("session.attach", id=session)
            started = await execute(one, two, "sleep 600")
            unclear: dict[str, dict[str, Any]] = {"neither": {}, "both": {"id": 1, "target": "exec://sh-1"}}
            for got, params in unclear.items():
                with pytest.raises(Refusal, match=f"id, target: expected exactly one of them; got {got}") as refused:
                    await two.call("subscription.cancel", **params)
                assert refused.value.code == -32602
            for target in ("exec://sh-9", "known://a", "a.txt"):
                assert (await two.call("subscription.cancel", target=target))["status"] == 404
            assert (await two.call("subscription.cancel", id=99))["status"] == 404
            await two.call("session.create")
            for own in ({"id": started["subscriptionId"]}, {"target": "exec://sh-1"}):
                assert (await two.call("subscription.cancel", **own))["status"] == 404, "of another session"
            assert (await two.call("subscription.list", all=True))["subscriptions"] == []
            assert len((await one.call("subscription.list"))["subscriptions"]) == 1


async def test_a_rejected_command_does_not_run_and_who_asked_is_told_why(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as one, plain_client(url) as two:
        with trio.fail_after(LIMIT_S):
            session = (await one.call("session.create", projectRoot=str(tmp_path)))["id"]
            await two.call("session.attach", id=session)
            results: list[dict[str, Any]] = []

            async def ask() -> None:
                results.append(await one.call("op.exec", command="touch here"))

            async with trio.open_nursery() as tasks:
                tasks.start_soon(ask)
                proposal = await two.hear_until("loop/proposal")
                row = proposal["logEntryId"]
                resolved = await two.call("loop.resolve", logEntryId=row, decision="reject", outcome="not now")
            assert (resolved["status"], resolved["outcome"]) == (400, "not now")
            assert results[0]["status"] == 400
            assert not (tmp_path / "here").exists()
            late = await two.call("loop.resolve", logEntryId=row, decision="accept")
            assert (late["status"], late["outcome"]) == (409, "not now")
            assert (await two.call("proposal.list"))["proposals"] == []


async def test_a_client_is_told_what_commands_there_can_be(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        with trio.fail_after(LIMIT_S):
            capabilities = (await client.call("discover"))["capabilities"]
            assert {"python", "sh"} <= set(capabilities["executors"])
            assert capabilities["sandbox"] == "bubblewrap"
            assert (await client.call("daemon.status"))["sandbox"] == "bubblewrap"
            unknown = await client.call("op.exec", command="x", runtime="cobol")
            assert unknown["status"] == 501
            assert "cobol" in unknown["error"]


async def test_a_deleted_session_leaves_neither_commands_nor_directories(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as url, plain_client(url) as one, plain_client(url) as two:
        with trio.fail_after(LIMIT_S):
            session = (await one.call("session.create"))["id"]
            await two.call("session.attach", id=session)
            await execute(one, two, "touch made; echo made; sleep 600")
            await hear_event(two, "stdout", 5)
            own = settings.state_dir / "sessions" / str(session)
            assert own.is_dir()
            await two.call("session.delete", id=session)
            assert not own.exists()
            assert (await two.call("daemon.status"))["counts"]["streams"] == 0
