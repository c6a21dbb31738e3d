"""Files over the wire: a client is an editor that proposes and answers on one connection (SPEC 5, 6.3, 6.4)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.daemons import PlainClient, Refusal, plain_client, running, settings_in
from tests.support.projects import write_tree

NO_ROOT = "session has no project_root; set one with session.set_root"
PROPOSED = {"logEntryId", "runId", "loopId", "turnId", "op", "target", "body", "attrs", "flags"}
"""What loop/proposal and proposal.list have in common (SPEC 6.3, 6.4)."""


@asynccontextmanager
async def editor(home: Path, tree: dict[str, str | bytes]) -> AsyncIterator[PlainClient]:
    """A client in a session whose project, ``home``/work, has these files."""
    (home / "work").mkdir()
    write_tree(home / "work", tree)
    async with running(settings_in(home)) as url, plain_client(url) as client:
        with trio.fail_after(30):
            await client.call("session.create", projectRoot=str(home / "work"))
            yield client


async def begin(client: PlainClient, method: str, **params: Any) -> str:
    """Send a request whose answer comes later; returns its id."""
    request_id = f"later-{method}"
    request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    await client.socket.send_message(json.dumps(request))
    return request_id


async def resolved(client: PlainClient, later: str, log_entry_id: int, **params: Any) -> tuple[Any, Any]:
    """Resolve what the client itself has asked for; both results, in whichever order they come."""
    ids = {"resolve", later}
    params = {"logEntryId": log_entry_id, **params}
    await client.socket.send_message(
        json.dumps({"jsonrpc": "2.0", "id": "resolve", "method": "loop.resolve", "params": params})
    )
    results: dict[str, Any] = {}
    while ids:
        message = await client.receive()
        if message.get("id") in ids:
            ids.remove(message["id"])
            results[message["id"]] = message["result"]
    return results["resolve"], results[later]


@pytest.mark.spec("6.1-concurrent-requests", "5.2-accept-body-diff-or-text", "5.3-log-updated", "5.3-digest")
async def test_an_editor_answers_its_own_proposal(tmp_path: Path) -> None:
    async with editor(tmp_path, {"src/a": "one\r\ntwo\r\n"}) as client:
        later = await begin(client, "op.edit", target="file:///src/a", content="1", lineRange="1")
        told = await client.hear_until("loop/proposal")
        assert set(told) == PROPOSED | {"sessionId", "eventId"}
        assert (told["op"], told["target"]) == ("EDIT", {"scheme": None, "pathname": "src/a"})
        assert set(told["attrs"]) == {"path", "op", "base", "patched", "patchedSha256", "created", "digest"}
        (listed,) = (await client.call("proposal.list"))["proposals"]
        assert set(listed) == PROPOSED | {"at"}
        assert {name: listed[name] for name in PROPOSED} == {name: told[name] for name in PROPOSED}

        row_id, digest = told["logEntryId"], told["attrs"]["digest"]
        misfit = "@@ -1 +1 @@\n-eins\n+1\n"
        refused = await client.call("loop.resolve", logEntryId=row_id, decision="accept", digest=digest, body=misfit)
        assert (refused["status"], "still open" in refused["error"]) == (400, True)
        fitting = "@@ -1 +1 @@\n-one\n+first\n"
        answer, result = await resolved(client, later, row_id, decision="accept", digest=digest, body=fitting)
        assert answer == {"status": 200, "logEntryId": row_id}
        assert (tmp_path / "work/src/a").read_bytes() == b"first\r\ntwo\r\n"
        assert (result["status"], "+first" in result["diff"]) == (200, True)

        updated = [m["params"]["entry"] for m in client.heard if m["method"] == "log/updated"]
        assert [(row["id"], row["state"], row["status_rx"], row["rx"]) for row in updated] == [
            (row_id, "resolved", 200, result)
        ]
        assert [method for _id, method in client.durable()] == [
            "loop/started",
            "log/entry",
            "loop/proposal",
            "log/updated",
        ]


async def test_another_root_does_not_move_what_is_open(tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_tree(other, {"a": "other\n"})
    async with editor(tmp_path, {"a": "old\n"}) as client:
        later = await begin(client, "op.edit", target="a", content="new\n")
        told = await client.hear_until("loop/proposal")
        await client.call("session.set_root", projectRoot=str(other))
        answer, _result = await resolved(client, later, told["logEntryId"], decision="accept")
        assert answer["status"] == 200
        assert ((tmp_path / "work/a").read_text(), (other / "a").read_text()) == ("new\n", "other\n")


@pytest.mark.spec("6.2-op-failure-is-result")
async def test_going_back_is_refused_in_the_way_of_an_operation(tmp_path: Path) -> None:
    async with editor(tmp_path, {"a": "x"}) as client:

        async def restore(target: str) -> tuple[int, str]:
            result = await client.call("file.restore", target=target, version=7)
            return result["status"], result["error"]

        assert await restore("a") == (404, "a has no version 7")
        assert await restore("../a") == (403, "path escapes the workspace")
        assert await restore("a/b") == (409, "a is a file, so there is nothing in it")
        with pytest.raises(Refusal, match="expected the path of a file"):
            await client.call("file.restore", target="known://a", version=7)
        await client.call("session.set_root", projectRoot=None)
        assert await restore("a") == (400, NO_ROOT)
