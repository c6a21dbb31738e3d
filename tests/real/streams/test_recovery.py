"""What a daemon that was killed left open is closed at the next start."""

from __future__ import annotations

from pathlib import Path

from plurnk.store import channels, entries, recovery, subscriptions
from plurnk.store.database import Tx
from tests.support.stores import begin_turn, new_session, opened


async def test_open_subscriptions_are_closed_500_and_their_bytes_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.db"

    def leave(tx: Tx) -> list[int]:
        """Two streams, one of them done: nobody closes the other."""
        left: list[int] = []
        for name in ("cut off", "done"):
            entry = entries.create(tx, turn.session_id, "stream", name)
            channel = channels.create(tx.db, entry.id, "out", "text/plain")
            begun = subscriptions.begin(tx, turn.run_id, entry.id, scheme="stream", handle=name, channel_names=["out"])
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
        recovered = await store.write(lambda tx: recovery.recover(tx, resume=True))
        assert recovered.streams == 1
        closes: list[tuple[int | None, str | None, str, bytes]] = []
        for entry_id in left:
            (row,) = await store.read(lambda db, entry_id=entry_id: subscriptions.of_entry(db, entry_id))  # type: ignore[misc]
            (channel,) = await store.read(lambda db, entry_id=entry_id: channels.of_entry(db, entry_id))  # type: ignore[misc]
            data = await store.read(lambda db, channel=channel: channels.read_bytes(db, channel))  # type: ignore[misc]
            closes.append((row.close_status, row.close_detail, channel.state, data))
        assert closes == [(500, "daemon_restart", "errored", b"so far\n"), (200, None, "closed", b"so far\n")]
        assert (await store.write(lambda tx: recovery.recover(tx, resume=True))).streams == 0
