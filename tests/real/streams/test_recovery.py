"""What a daemon that was killed left open is closed at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from plurnk.store import channels, entries, loops, recovery, subscriptions
from plurnk.store.database import Tx
from plurnk.store.wakes import WakeRules
from plurnk.wire.notifications import LoopTerminated, Notification, StreamConcluded
from tests.support.stores import begin_turn, new_session, opened

RULES = WakeRules(lambda _alias: True, 16)


async def test_open_subscriptions_are_closed_500_and_their_bytes_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.db"

    def leave(tx: Tx) -> list[int]:
        """Two streams, one of them done: nobody closes the other."""
        left: list[int] = []
        for name in ("cut off", "done"):
            entry = entries.create(tx, turn.session_id, "stream", name)
            channel = channels.create(tx.db, entry.id, "out", "text/plain")
            begun = subscriptions.begin(tx, turn, entry.id, scheme="stream", handle=name, channel_names=["out"])
            channels.append(tx.db, channel, b"so far\n", tokens=2)
            if name == "done":
                subscriptions.close(tx, begun, ["out"], status=200, detail=None)
            left.append(entry.id)
        return left

    async with opened(path) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        left = await store.write(leave)
    async with opened(path) as store:
        recovered = await store.write(lambda tx: recovery.recover(tx, resume=True, rules=RULES))
        assert recovered.streams == 1
        closes: list[tuple[int | None, str | None, str, bytes]] = []
        for entry_id in left:
            (row,) = await store.read(lambda db, entry_id=entry_id: subscriptions.of_entry(db, entry_id))  # type: ignore[misc]
            (channel,) = await store.read(lambda db, entry_id=entry_id: channels.of_entry(db, entry_id))  # type: ignore[misc]
            data = await store.read(lambda db, channel=channel: channels.read_bytes(db, channel))  # type: ignore[misc]
            closes.append((row.close_status, row.close_detail, channel.state, data))
        assert closes == [(500, "daemon_restart", "errored", b"so far\n"), (200, None, "closed", b"so far\n")]
        assert (await store.write(lambda tx: recovery.recover(tx, resume=True, rules=RULES))).streams == 0


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("was_running", [True, False])
async def test_the_run_of_a_stream_that_was_cut_off_is_told_and_woken_if_it_is_to_go_on(
    tmp_path: Path, resume: bool, was_running: bool
) -> None:
    path = tmp_path / "p.db"
    heard: list[Notification] = []

    def leave(tx: Tx) -> None:
        entry = entries.create(tx, turn.session_id, "exec", "sh-1")
        for name in ("stdout", "stdin"):
            channels.create(tx.db, entry.id, name, "text/plain")
        subscriptions.begin(tx, turn, entry.id, scheme="exec", handle="make", channel_names=["stdout", "stdin"])
        entries.set_attribute(tx, entry.id, "awaitingInput", True)
        if not was_running:
            loops.end(tx, turn.loop_id, loops.DONE, None)

    async with opened(path) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        await store.write(leave)
    async with opened(path, lambda announced: heard.extend(each.notification for each in announced)) as store:
        recovered = await store.write(lambda tx: recovery.recover(tx, resume=resume, rules=RULES))
        (concluded,) = [each for each in heard if isinstance(each, StreamConcluded)]
        assert (concluded.close_status, concluded.target) == (500, "exec://sh-1")
        assert concluded.summary.startswith("exec://sh-1 failed (500): daemon_restart, after ")
        action = "skipped-aborted" if not resume else "no-op-active-loop" if was_running else "opened-loop"
        assert concluded.wake_action == action
        assert recovered.runs == ((run.id,) if resume else ())
        entry = await store.read(lambda db: entries.get(db, concluded.entry_id))
        assert entry.attributes == {}
        told = await store.write(lambda tx: subscriptions.tell(tx, run.id))
        assert [row.close_detail for row in told] == ["daemon_restart"]


@pytest.mark.spec("3.6-wake-limit")
async def test_a_run_that_was_woken_too_often_is_not_woken_by_a_start(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    heard: list[Notification] = []

    def leave(tx: Tx) -> None:
        for name in ("sh-1", "sh-2"):
            entry = entries.create(tx, turn.session_id, "exec", name)
            channels.create(tx.db, entry.id, "stdout", "text/plain")
            subscriptions.begin(tx, turn, entry.id, scheme="exec", handle="make", channel_names=["stdout"])
        loops.end(tx, turn.loop_id, loops.DONE, None)

    async with opened(path) as store:
        _session, run = await new_session(store)
        turn = await store.write(lambda tx: begin_turn(tx, run))
        await store.write(leave)
    async with opened(path, lambda announced: heard.extend(each.notification for each in announced)) as store:
        rules = WakeRules(lambda _alias: True, 0)
        recovered = await store.write(lambda tx: recovery.recover(tx, resume=True, rules=rules))
        assert recovered.runs == ()
        over = [each for each in heard if isinstance(each, LoopTerminated)]
        assert [each.reason for each in over] == ["wake_limit"] * 2
        concluded = [each for each in heard if isinstance(each, StreamConcluded)]
        assert [each.wake_loop_id for each in concluded] == [each.loop_id for each in over]
        assert len(await store.write(lambda tx: subscriptions.tell(tx, run.id))) == 2
