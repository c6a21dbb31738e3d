"""run.fork and packet.read over the wire: what a client asks for, and what it is told when that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.daemons import PlainClient, Refusal, plain_client, running, settings_in

QUIET = {"noProposals": True}
"""For the demo, whose command nobody here would accept."""


async def work(client: PlainClient) -> dict[str, Any]:
    """A loop of the demo."""
    with trio.fail_after(20):
        return await client.call("loop.run", prompt="hello", flags=QUIET)


async def refused(client: PlainClient, method: str, **params: Any) -> tuple[int, int, str]:
    with pytest.raises(Refusal) as refusal:
        await client.call(method, **params)
    return refusal.value.code, refusal.value.data["status"], str(refusal.value)


async def rows(client: PlainClient, **params: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await client.call("log.read", **params))["entries"]
    return entries


async def test_a_fork_is_attached_to_read_and_worked_in_and_outlives_the_daemon(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as url, plain_client(url) as client:
        session = (await client.call("session.create", name="s"))["id"]
        done = await work(client)
        original = await rows(client)
        count = len(client.durable())
        copy = await client.call("run.fork", atTurn=done["turnIds"][1], name="other way")
        assert copy == {"runId": original[0]["run_id"] + 1, "runName": "other way"}
        assert len(client.durable()) == count, "nothing is told: nothing was done"

        attached = await client.call("session.attach", id=session, runName="other way")
        assert attached["runId"] == copy["runId"]
        copied = await rows(client, runId=copy["runId"])
        same = ("loop_seq", "turn_seq", "sequence", "at", "origin", "op", "pathname", "tx", "rx", "status_rx", "tokens")
        wanted = [row for row in original if row["turn_seq"] <= 2]
        assert [[row[name] for name in same] for row in copied] == [[row[name] for name in same] for row in wanted]
        assert len(await rows(client)) == len(original) + len(copied), "of all runs"
        read = await client.call("op.read", target="log://1/1/2")
        assert read["status"] == 200, "log:// are the rows of the run that is attached to"
        runs = (await client.call("session.runs"))["runs"]
        assert [(run["name"], run["parent_run_id"]) for run in runs] == [("main", None), ("other way", runs[0]["id"])]

    async with running(settings) as url, plain_client(url) as client:
        assert (await client.call("daemon.status"))["counts"]["loops"] == {"200": 2, "499": 1}
        await client.call("session.attach", id=session, runId=copy["runId"])
        assert await rows(client, runId=copy["runId"], limit=len(copied)) == copied
        again = await work(client)
        assert (again["finalStatus"], len(again["turnIds"])) == (200, 3)
        assert (await client.call("session.delete", id=session))["deleted"] is True


async def test_what_cannot_be_forked_is_an_error_that_says_why(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client, plain_client(url) as stranger:
        await client.call("session.create", name="s")
        turn = (await work(client))["turnIds"][0]
        run = (await rows(client))[0]["run_id"]
        other = (await client.call("run.fork"))["runId"]
        not_found, no_turn, invalid = -32001, -32002, -32602
        assert await refused(client, "run.fork", runId=99) == (not_found, 404, "no run 99 in this session")
        assert await refused(stranger, "run.fork", runId=run) == (not_found, 404, f"no run {run} in this session")
        assert await refused(client, "run.fork", atTurn=99) == (no_turn, 404, "no turn 99 in the run main")
        of_another = await refused(client, "run.fork", runId=other, atTurn=turn)
        assert of_another == (no_turn, 404, f"no turn {turn} in the run fork-1")
        taken = await refused(client, "run.fork", name="fork-1")
        assert taken == (invalid, 409, "a run named 'fork-1' exists already in this session")
        assert (await refused(client, "run.fork", name=""))[:2] == (invalid, 400)
        assert (await client.call("run.fork"))["runName"] == "fork-2"


async def test_a_packet_is_found_by_its_turns_id_by_its_coordinates_or_as_the_last(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        await client.call("session.create", name="s")
        none_yet = "no turn of this run has a packet: no model has answered in it yet"
        assert await refused(client, "packet.read") == (-32002, 404, none_yet)
        await client.call("op.edit", target="known://a", content="x")
        turns = (await work(client))["turnIds"]
        second = await client.call("packet.read", turnId=turns[1])
        assert (second["turnId"], second["loop"], second["turn"]) == (turns[1], 2, 2)
        assert await client.call("packet.read", loop=2, turn=2) == second
        assert await client.call("packet.read", loop=2) == await client.call("packet.read")
        assert (await client.call("packet.read"))["turnId"] == turns[2]

        for asked, why in (
            ({"loop": 2, "turn": 9}, "no turn 2/9; the loop has 3 turns"),
            ({"loop": 7, "turn": 1}, "no loop 7; the last is 2"),
            ({"loop": 7}, "no loop 7; the last is 2"),
            ({"loop": 1}, "no turn of loop 1 has a packet"),
            ({"loop": 1, "turn": 1}, "turn 1/1 has no packet: it is a client's, no model was asked"),
            ({"turnId": 99}, "no turn 99 in this session"),
        ):
            assert await refused(client, "packet.read", **asked) == (-32002, 404, why)
        assert (await refused(client, "packet.read", runId=99))[0] == -32001
        assert (await refused(client, "packet.read", turn=1))[0] == -32602
        assert (await refused(client, "packet.read", turnId=turns[0], loop=2))[0] == -32602

        copy = (await client.call("run.fork"))["runId"]
        copied = "turn 2/1 has no packet: it was copied by run.fork, and the run that it comes from has it"
        assert await refused(client, "packet.read", runId=copy, loop=2, turn=1) == (-32002, 404, copied)
