"""A provider that fails, from its socket to the clients and the next packet (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.rules import backoff
from tests.support.daemons import DaemonProcess, PlainClient, environment, plain_client, running, settings_in
from tests.support.llm_server import Answer, LLMServer, Request
from tests.support.openai_server import open_openai_server

KEY = "k3y-that-nobody-may-see"
GOES_ON = "<<SEND[102]:more:SEND"
DONE = "<<SEND[200]:done:SEND"
BUSY = Answer(status=503, body='{"error":{"message":"busy"}}')


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.001)


def model(server: LLMServer, **more: str) -> dict[str, str]:
    return {
        "PLURNK_MODEL": "m",
        "PLURNK_MODEL_m": "openai/m",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
        **more,
    }


@dataclass
class Room:
    server: LLMServer
    client: PlainClient

    async def run(self) -> dict[str, Any]:
        with trio.fail_after(20):
            return await self.client.call("loop.run", prompt="go")

    def told(self) -> list[dict[str, Any]]:
        return [m["params"]["event"] for m in self.client.heard if m["method"] == "telemetry/event"]


@asynccontextmanager
async def room(folder: Path, *script: str | Answer, **variables: str) -> AsyncIterator[Room]:
    async with open_openai_server(script) as server:
        settings = settings_in(folder, **model(server, **variables))
        async with running(settings) as url, plain_client(url) as client:
            session = await client.call("session.create")
            await client.call("session.attach", id=session["id"], since=0, deltas=True)
            yield Room(server, client)


def asked(request: Request) -> str:
    """The user's message, where telemetry is."""
    text: str = request.body["messages"][-1]["content"]
    return text


def files_with(text: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


@pytest.mark.spec("3.8-retry-then-500", "3.5-drain-on-read")
async def test_a_retry_is_told_at_once_and_shown_once_by_the_next_turn(tmp_path: Path) -> None:
    slow = Answer(status=429, headers={"retry-after": "0.05"}, body='{"error":{"message":"slow down"}}')
    async with room(tmp_path, slow, GOES_ON, GOES_ON, DONE) as here:
        result = await here.run()
        assert (result["finalStatus"], result["reason"]) == (200, None)
        (retry,) = here.told()
        assert retry["waitMs"] >= 50
        assert (retry["kind"], retry["attempt"], retry["status"]) == ("provider_retry", 2, 429)
        assert retry["message"].startswith("The provider answered 429: slow down; attempt 2 ")
        first, again, second, third = map(asked, here.server.requests)
        assert first == again
        assert [text.count('"kind":"provider_retry"') for text in (first, second, third)] == [0, 1, 0]
        # Told before anything of the good answer, and in the order of the events.
        seqs, methods = zip(*here.client.durable(), strict=True)
        assert list(seqs) == list(range(1, len(seqs) + 1))
        assert methods.index("telemetry/event") < [at for at, method in enumerate(methods) if method == "log/entry"][1]


@pytest.mark.spec("3.8-retry-then-500")
async def test_five_failures_end_the_loop_with_their_cause(tmp_path: Path) -> None:
    async with room(tmp_path, *[BUSY] * 5, DONE) as here:
        result = await here.run()
        assert (result["finalStatus"], result["reason"]) == (500, "provider_error")
        assert len(here.server.requests) == 5
        assert [event["kind"] for event in here.told()] == ["provider_retry"] * 4 + ["provider_error"]
        assert here.told()[-1]["message"] == ("The provider answered 503: busy; tried 5 times.")
        assert (await here.run())["finalStatus"] == 200


@pytest.mark.spec("3.8-retry-then-500")
async def test_a_cut_answer_is_dropped_and_asked_for_again(tmp_path: Path) -> None:
    cut = Answer("<<EDIT(known://half):half of it:EDIT <<EDIT(known://b):", failure="reset", fail_after=7)
    async with room(tmp_path, cut, DONE) as here:
        result = await here.run()
        assert result["finalStatus"] == 200
        (turn_id,) = result["turnIds"]
        stored = (await here.client.call("packet.read", turnId=turn_id))["packet"]
        assert stored["assistant"]["content"] == DONE
        assert [op["op"] for op in stored["assistant"]["ops"]] == ["SEND"]
        rows = (await here.client.call("log.read"))["entries"]
        assert [(row["op"], row["origin"]) for row in rows] == [("EDIT", "system"), ("SEND", "model")]
        shown = ""
        attempts: list[int] = []
        for delta in (m["params"] for m in here.client.heard if m["method"] == "turn/delta"):
            if attempts and delta["attempt"] > attempts[-1]:
                shown = ""
            attempts.append(delta["attempt"])
            shown += delta["text"]
        assert attempts == sorted(attempts)
        assert set(attempts) == {1, 2}
        assert shown == DONE


@pytest.mark.spec("3.1-cancel-is-complete")
async def test_the_wait_before_a_retry_ends_with_its_loop_and_with_the_daemon(tmp_path: Path) -> None:
    slow = Answer(status=429, headers={"retry-after": "500"}, body='{"error":{"message":"slow down"}}')
    with trio.fail_after(20):
        async with room(tmp_path, slow, slow) as here:
            await here.client.call("loop.run", prompt="go", wait=False)
            await here.client.told("telemetry/event")
            assert (await here.client.call("loop.cancel"))["cancelled"] is True
            ended = await here.client.told("loop/terminated")
            assert (ended["finalStatus"], ended["reason"]) == (499, "cancelled")
            again = (await here.client.call("loop.run", prompt="go", wait=False))["loopId"]
            await here.client.told("telemetry/event", loopId=again)
        assert len(here.server.requests) == 2


async def test_where_nothing_listens_it_is_tried_again_and_said(tmp_path: Path) -> None:
    async with open_openai_server([]) as gone:
        url = gone.base_url
    async with room(tmp_path, OPENAI_BASE_URL=url, PLURNK_PROVIDER_RETRIES="1") as here:
        assert (await here.run())["reason"] == "provider_error"
        retry, final = here.told()
        assert (retry["status"], retry["attempt"]) == (None, 2)
        assert "ConnectError" in final["message"]
        assert final["message"].endswith("; tried 2 times.")


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize("status", [401, 500])
async def test_a_key_that_the_provider_quotes_is_nowhere(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    quotes = Answer(status=status, body=f'{{"error":{{"message":"bad key {KEY}"}}}}')
    async with room(tmp_path, quotes, Answer("x", error={"message": f"bad key {KEY}"}), *[quotes] * 3) as here:
        assert (await here.run())["reason"] == "provider_error"
        assert "bad key [key]" in here.told()[-1]["message"]
        assert KEY not in str(here.client.heard)
    assert KEY not in caplog.text
    assert not files_with(KEY, tmp_path)


@pytest.mark.spec("7.2-announced-survives-kill")
async def test_a_retry_that_was_told_is_shown_though_the_daemon_is_killed(tmp_path: Path) -> None:
    slow = Answer(status=429, headers={"retry-after": "500"}, body='{"error":{"message":"slow down"}}')
    async with open_openai_server([slow, DONE]) as server:
        environ = environment(tmp_path, **model(server))
        with await trio.to_thread.run_sync(DaemonProcess, environ) as daemon:
            async with plain_client(daemon.url) as client:
                await client.call("session.create")
                await client.call("loop.run", prompt="go", wait=False)
                with trio.fail_after(20):
                    told = await client.hear_until("telemetry/event")
            assert told["event"]["kind"] == "provider_retry"
            await trio.to_thread.run_sync(daemon.kill)
        with await trio.to_thread.run_sync(DaemonProcess, environ):
            with trio.fail_after(20):
                again = await server.request(1)
    assert asked(again).count('"kind":"provider_retry"') == 1
    assert '"kind":"interrupted"' in asked(again)
