"""Channels: appending costs the chunk, reading a line range costs the range."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plurnk import resources
from plurnk.errors import TooLarge
from plurnk.store import channels, entries
from plurnk.store.channels import CHANNEL_CAP_BYTES, Channel
from plurnk.store.database import StoreFailed, Tx
from plurnk.store.migrate import migrate
from tests.support.stores import new_session, opened


def _fresh() -> tuple[apsw.Connection, Channel]:
    """A database in memory with one entry that has one empty channel."""
    db = apsw.Connection(":memory:")
    migrate(db, resources.migrations(), now="2026-01-01T00:00:00.000Z")
    entry = entries.create(Tx(db, "2026-01-01T00:00:00.000Z"), None, "known", "a")
    return db, channels.create(db, entry.id, "body", "text/plain")


def _steps(db: apsw.Connection) -> list[int]:
    """Count the steps of SQLite's machine from here on, in units of ten."""
    count = [0]

    def tick() -> bool:
        count[0] += 1
        return False

    db.set_progress_handler(tick, 10)
    return count


@pytest.mark.spec("2.2-append-is-linear")
def test_appending_costs_the_same_at_the_end_of_a_long_channel() -> None:
    db, channel = _fresh()
    chunk = b"0123456789abcde\n" * 256
    costs: list[int] = []
    for _ in range(3):
        count = _steps(db)
        for _ in range(400):
            channel = channels.append(db, channel, chunk, tokens=0)
        costs.append(count[0])
    assert channel.length_bytes == 3 * 400 * 4096
    assert costs[2] <= costs[0] * 1.1
    written = db.execute("SELECT count(*), sum(length(data)) FROM channel_chunks").fetchall()
    assert written == [(1200, channel.length_bytes)]


@pytest.mark.spec("2.2-slice-is-seek")
def test_reading_lines_loads_no_more_of_a_long_channel_than_of_a_short_one() -> None:
    costs: dict[int, list[int]] = {}
    for chunks in (10, 1000):
        db, channel = _fresh()
        for number in range(chunks):
            text = b"".join(b"line %d\n" % (number * 256 + i) for i in range(256))
            channel = channels.append(db, channel, text, tokens=0)
        costs[chunks] = []
        for first in (channel.lines - 99, channel.lines // 2, 1):
            count = _steps(db)
            data, _last, _complete = channels.read_lines(db, channel, first, first + 99, 1_000_000)
            costs[chunks].append(count[0])
            assert data.splitlines() == [b"line %d" % (first - 1 + i) for i in range(100)]
    assert all(long <= short * 1.5 + 2 for short, long in zip(costs[10], costs[1000], strict=True))


@pytest.mark.spec("2.2-utf8-across-chunks")
def test_a_character_cut_by_two_chunks_survives_and_bad_bytes_are_kept() -> None:
    db, channel = _fresh()
    for piece in ("naïve ".encode()[:3], "naïve ".encode()[3:], b"\xff\xfe tail"):
        channel = channels.append(db, channel, piece, tokens=0)
    assert channels.read_bytes(db, channel) == "naïve ".encode() + b"\xff\xfe tail"
    assert channels.read_bytes(db, channel).decode("utf-8", "replace") == "naïve \ufffd\ufffd tail"


@pytest.mark.spec("2.2-cap-413")
async def test_over_the_cap_is_413_and_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        session, _run = await new_session(store)

        def make(tx: Tx) -> Channel:
            entry = entries.create(tx, session.id, "known", "a")
            return channels.append(tx.db, channels.create(tx.db, entry.id, "body", "text/plain"), b"kept", tokens=1)

        channel = await store.write(make)
        too_much = bytes(CHANNEL_CAP_BYTES)
        with pytest.raises(TooLarge):
            await store.write(lambda tx: channels.append(tx.db, channel, too_much, tokens=0))
        with pytest.raises(TooLarge):
            await store.write(
                lambda tx: channels.replace(tx.db, channel, too_much + b"x", mimetype="text/plain", tokens=0)
            )
        kept = await store.read(lambda db: channels.of_entry(db, channel.entry_id))
        assert kept == [channel]
        assert await store.read(lambda db: channels.read_bytes(db, channel)) == b"kept"


def test_a_reader_keeps_the_generation_it_began_with(tmp_path: Path) -> None:
    path = str(tmp_path / "p.db")
    writer, reader = apsw.Connection(path), apsw.Connection(path)
    writer.pragma("journal_mode", "wal")
    migrate(writer, resources.migrations(), now="2026-01-01T00:00:00.000Z")
    entry = entries.create(Tx(writer, "2026-01-01T00:00:00.000Z"), None, "known", "a")
    channel = channels.append(
        writer, channels.create(writer, entry.id, "body", "text/plain"), b"old\n" * 50_000, tokens=0
    )
    reader.execute("BEGIN")
    seen = channels.find(reader, entry.id, "body")
    assert seen == channel
    channels.replace(writer, channel, b"new", mimetype="text/plain", tokens=0)
    assert channels.read_bytes(reader, channel) == b"old\n" * 50_000
    reader.execute("COMMIT")
    newer = channels.find(reader, entry.id, "body")
    assert newer is not None
    assert channels.read_bytes(reader, newer) == b"new"
    reader.close()
    writer.close()


@pytest.mark.spec("2.2-identity-unique")
async def test_an_identity_is_unique_null_scheme_and_null_session_included(tmp_path: Path) -> None:
    async with opened(tmp_path / "p.db") as store:
        one, _ = await new_session(store)
        two, _ = await new_session(store)
        identities = [
            (session_id, scheme, path)
            for session_id in (one.id, two.id, None)
            for scheme in ("known", "unknown", None)
            for path in ("a", "b")
        ]
        for identity in identities:
            made = await store.write(lambda tx, i=identity: entries.create(tx, *i))  # type: ignore[misc]
            found = await store.read(lambda db, i=identity: entries.find(db, *i))  # type: ignore[misc]
            assert found == made
        for identity in identities:
            with pytest.raises(StoreFailed, match="UNIQUE"):
                await store.write(lambda tx, i=identity: entries.create(tx, *i))  # type: ignore[misc]


@given(
    pieces=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n")), max_size=12),
    cut=st.integers(1, 40),
    data=st.data(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_line_range_and_byte_range_is_that_of_the_whole(pieces: list[bytes], cut: int, data: st.DataObject) -> None:
    db, channel = _fresh()
    for piece in pieces:
        channel = channels.append(db, channel, piece, tokens=0)
    whole = b"".join(pieces)
    lines = whole.split(b"\n")[: -1 if whole.endswith(b"\n") or not whole else None]
    assert (channel.lines, channel.length_bytes) == (len(lines), len(whole))
    start = data.draw(st.integers(0, len(whole)))
    assert channels.read_bytes(db, channel, start, cut) == whole[start : start + cut]
    if lines:
        first = data.draw(st.integers(1, len(lines)))
        last = data.draw(st.integers(first, len(lines)))
        got, read_to, complete = channels.read_lines(db, channel, first, last, 10_000)
        wanted = b"\n".join(lines[first - 1 : last]) + (b"\n" if last < len(lines) or whole.endswith(b"\n") else b"")
        assert (got, read_to, complete) == (wanted, last, True)
        part, read_to, complete = channels.read_lines(db, channel, first, last, cut)
        assert wanted.startswith(part)
        assert len(part) <= cut
        assert complete == (part == wanted)
        if part.endswith(b"\n"):
            assert read_to == first + part.count(b"\n") - 1
    db.close()
