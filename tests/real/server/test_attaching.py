"""A client that comes to a session hears what waits to be accepted there, once (SPEC 5.3, 6.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from plurnk.server.attachment import Attachment
from plurnk.server.outbox import Feed
from tests.support.daemons import plain_client, running, settings_in

LIMIT_S = 30.0


@pytest.mark.spec("5.3-durable")
async def test_what_is_proposed_before_and_while_a_client_attaches_is_told_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay, attached, go_on = Attachment.replay, trio.Event(), trio.Event()

    async def held(self: Attachment, feed: Feed) -> None:
        attached.set()
        await go_on.wait()
        await replay(self, feed)

    async with running(settings_in(tmp_path)) as url, plain_client(url) as one, plain_client(url) as two:
        session = (await one.call("session.create", projectRoot=str(tmp_path)))["id"]

        async def edit(path: str, when: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
            async with plain_client(url) as asking:
                await asking.call("session.attach", id=session)
                task_status.started()
                await when.wait()
                await asking.call("op.edit", target=path, content="x")

        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as edits:
                await edits.start(edit, "while.txt", attached)
                now = trio.Event()
                now.set()
                await edits.start(edit, "before.txt", now)
                before = await one.hear_until("loop/proposal")
                monkeypatch.setattr(Attachment, "replay", held)
                await two.call("session.attach", id=session)
                later = await one.hear_until("loop/proposal")
                go_on.set()
                for told in (before, later):
                    await two.told("loop/proposal", logEntryId=told["logEntryId"])
                    await two.call("loop.resolve", logEntryId=told["logEntryId"], decision="reject")
        heard = [m["params"]["logEntryId"] for m in two.heard if m["method"] == "loop/proposal"]
        assert sorted(heard) == [before["logEntryId"], later["logEntryId"]]
