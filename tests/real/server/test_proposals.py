"""Proposals over the wire: who is told, who may answer, who was first, and what outlives the daemon (SPEC 5.3)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.store import approvals
from tests.support.daemons import (
    DaemonProcess,
    PlainClient,
    Refusal,
    environment,
    plain_client,
    running,
    settings_in,
)

ROUNDS = 1000
CLIENTS = 3


@asynccontextmanager
async def asked(client: PlainClient, **params: Any) -> AsyncIterator[dict[str, Any]]:
    """An op.exec under way; on the way out it has been answered. Yields where its result will be."""
    answer: dict[str, Any] = {}

    async def ask() -> None:
        answer.update(await client.call("op.exec", **params))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        yield answer


async def _next(client: PlainClient, method: str, heard: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The params of the next notification of that name among ``heard``, which goes over all that the client keeps."""
    while True:
        for message in heard:
            if message["method"] == method:
                params: dict[str, Any] = message["params"]
                return params
        await client.receive()


class _Heard(Iterator[dict[str, Any]]):
    """What the client has heard, in order; goes on where it stopped when more has come."""

    def __init__(self, client: PlainClient) -> None:
        self._client = client
        self._place = 0

    def __next__(self) -> dict[str, Any]:
        if self._place == len(self._client.heard):
            raise StopIteration
        self._place += 1
        return self._client.heard[self._place - 1]


@pytest.mark.spec("5.3-first-wins", "5.3-log-updated", "5.3-fast-answer")
async def test_of_three_that_answer_at_once_one_wins_and_the_others_are_told(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with running(settings_in(tmp_path)) as url, AsyncExitStack() as there:
        asker, *clients = [await there.enter_async_context(plain_client(url)) for _ in range(CLIENTS + 1)]
        session_id = (await asker.call("session.create", projectRoot=str(tmp_path)))["id"]
        for client in clients:
            await client.call("session.attach", id=session_id)
        answers: list[list[dict[str, Any]]] = [[] for _ in clients]

        async def answer(place: int) -> None:
            client = clients[place]
            heard = _Heard(client)
            for _ in range(ROUNDS):
                told = await _next(client, "loop/proposal", heard)
                decision = chance.choice(["reject", "cancel"])
                outcome = f"{decision} by {place}"
                params = {"logEntryId": told["logEntryId"], "decision": decision, "outcome": outcome}
                answers[place].append(await client.call("loop.resolve", **params))

        with trio.fail_after(120):
            async with trio.open_nursery() as tasks:
                for place in range(CLIENTS):
                    tasks.start_soon(answer, place)
                results = [await asker.call("op.exec", command=f"echo {n}") for n in range(ROUNDS)]
            while sum(m["method"] == "log/updated" for m in asker.heard) < ROUNDS:
                await asker.receive()
        rows = [m["params"]["entry"] for m in asker.heard if m["method"] == "log/updated"]
        updated = {row["id"]: row for row in rows}
        assert len(updated) == ROUNDS
        winners: set[int] = set()
        for number, result in enumerate(results):
            of_round = [given[number] for given in answers]
            won = [place for place, given in enumerate(of_round) if given["status"] in (400, 499)]
            assert len(won) == 1, of_round
            winners.update(won)
            outcome = of_round[won[0]]["outcome"]
            assert outcome.endswith(f"by {won[0]}")
            assert result["status"] == of_round[won[0]]["status"]
            assert updated[of_round[0]["logEntryId"]]["outcome"] == outcome
            for place, given in enumerate(of_round):
                if place not in won:
                    assert (given["status"], given["error"]) == (409, f"somebody was first: {outcome}")
        assert len(winners) > 1  # it was a race


@pytest.mark.spec("5.3-same-session-only")
async def test_a_client_of_another_session_can_neither_see_nor_answer_it(tmp_path: Path) -> None:
    async with (
        running(settings_in(tmp_path)) as url,
        plain_client(url) as mine,
        plain_client(url) as judge,
        plain_client(url) as stranger,
    ):
        session_id = (await mine.call("session.create"))["id"]
        await judge.call("session.attach", id=session_id)
        await stranger.call("session.create")
        with trio.fail_after(30):
            async with asked(mine, command="echo hello") as result:
                told = await judge.told("loop/proposal")
                assert (await stranger.call("proposal.list"))["proposals"] == []
                refused = await stranger.call("loop.resolve", logEntryId=told["logEntryId"], decision="accept")
                assert refused["status"] == 404
                await judge.call("loop.resolve", logEntryId=told["logEntryId"], decision="reject")
        assert result["status"] == 400
        assert "loop/proposal" not in [message["method"] for message in stranger.heard]


async def _proposed_by_a_loop(url: str) -> tuple[int, dict[str, Any]]:
    """A model's loop has proposed something, and its client has gone: the session, and what was told."""
    async with plain_client(url) as client:
        session_id = int((await client.call("session.create"))["id"])
        await client.call("loop.run", prompt="show me", wait=False)
        return session_id, await client.told("loop/proposal")


def _same(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "eventId"}


@pytest.mark.spec("5.3-reannounced", "5.3-durable")
async def test_who_attaches_is_told_what_is_open_and_can_answer_it(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url:
        with trio.fail_after(30):
            session_id, told = await _proposed_by_a_loop(url)
            async with plain_client(url) as other:
                await other.call("session.attach", id=session_id)
                again = await other.told("loop/proposal")
                assert _same(again) == _same(told)
                assert "eventId" not in again  # it happened once
                (listed,) = (await other.call("proposal.list"))["proposals"]
                assert {name: listed[name] for name in ("logEntryId", "body", "attrs")} == {
                    name: told[name] for name in ("logEntryId", "body", "attrs")
                }
                resolved = await other.call(
                    "loop.resolve", logEntryId=told["logEntryId"], decision="reject", digest=told["attrs"]["digest"]
                )
                assert resolved["status"] == 400
                assert (await other.told("loop/terminated"))["finalStatus"] == 200


@pytest.mark.spec("5.3-durable", "5.3-reannounced", "7.2-announced-survives-kill")
@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_daemon_that_is_started_again_still_asks(tmp_path: Path, how: str) -> None:
    environ = environment(tmp_path)
    with DaemonProcess(environ) as daemon, trio.fail_after(30):
        session_id, told = await _proposed_by_a_loop(daemon.url)
        if how == "killed":
            daemon.kill()
        else:
            code, _said = daemon.stop()
            assert code == 0
    with DaemonProcess(environ) as daemon, trio.fail_after(30):
        async with plain_client(daemon.url) as client:
            await client.call("session.attach", id=session_id)
            again = await client.told("loop/proposal")
            assert _same(again) == _same(told)
            resolved = await client.call("loop.resolve", logEntryId=told["logEntryId"], decision="reject")
            assert resolved["status"] == 400
            late = await client.call("loop.resolve", logEntryId=told["logEntryId"], decision="accept")
            assert (late["status"], late["outcome"]) == (409, "rejected")
            # The loop goes on from there to its end, whatever else it proposes.
            heard = _Heard(client)
            while True:
                for message in heard:
                    if message["method"] == "loop/proposal":
                        await client.call("loop.resolve", logEntryId=message["params"]["logEntryId"], decision="reject")
                    if message["method"] == "loop/terminated":
                        assert message["params"]["finalStatus"] == 200
                        return
                await client.receive()


@pytest.mark.spec("5.3-approvals-narrow", "6.2-invalid-params-named")
async def test_standing_approvals_are_listed_and_revocable(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client, plain_client(url) as judge:
        session_id = (await client.call("session.create", projectRoot=str(tmp_path)))["id"]
        await judge.call("session.attach", id=session_id)
        with trio.fail_after(30):
            made = await client.call("approval.add", op="EXEC", scheme="exec", commandPrefix="echo")
            assert (await judge.call("approval.list"))["approvals"] == [made]
            result = await client.call("op.exec", command="echo hello")
            assert result["status"] == 102
            wrong = ({"op": "READ"}, {"op": "EDIT", "commandPrefix": "echo"}, {"op": "EXEC", "commandPrefix": " "})
            for params in wrong:
                with pytest.raises(Refusal):
                    await client.call("approval.add", **params)
            assert (await judge.call("approval.remove", id=made["id"])) == {"id": made["id"], "removed": True}
            assert (await judge.call("approval.list"))["approvals"] == []
            async with asked(client, command="echo hello") as second:
                heard = _Heard(judge)
                told = await _next(judge, "loop/proposal", heard)
                assert told["flags"]["approved"] == made["id"]
                told = await _next(judge, "loop/proposal", heard)
                assert "approved" not in told["flags"]
                await judge.call("loop.resolve", logEntryId=told["logEntryId"], decision="reject")
            assert second["status"] == 400


async def test_what_a_session_keeps_of_approvals_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "MAX_OF_SESSION", 3)
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        for name in ("first", "second"):  # each session has its own
            await client.call("session.create", name=name, projectRoot=str(tmp_path))
            made = [await client.call("approval.add", op="EDIT", pathGlob=f"{n}") for n in range(3)]
            with pytest.raises(Refusal) as refusal:
                await client.call("approval.add", op="EDIT", pathGlob="4")
            assert refusal.value.data["status"] == 409
            assert "3 approvals, which is all it can have; remove one first" in refusal.value.data["detail"]
            await client.call("approval.remove", id=made[0]["id"])
            await client.call("approval.add", op="EDIT", pathGlob="4")


@pytest.mark.spec("6.2-invalid-params-named")
async def test_what_is_kept_and_read_again_is_short(tmp_path: Path) -> None:
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("approval.add", "pathGlob", {"op": "EDIT"}),
        ("approval.add", "commandPrefix", {"op": "EXEC"}),
        ("approval.add", "scheme", {"op": "EDIT"}),
        ("loop.resolve", "outcome", {"logEntryId": 1, "decision": "reject"}),
    ]
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        await client.call("session.create", projectRoot=str(tmp_path))
        for method, field, others in cases:
            with pytest.raises(Refusal) as refusal:
                await client.call(method, **others, **{field: "x" * 4097})
            assert (refusal.value.code, refusal.value.data["status"]) == (-32602, 400)
            assert field in str(refusal.value.data)
            await client.call(method, **others, **{field: "x" * 4096})
