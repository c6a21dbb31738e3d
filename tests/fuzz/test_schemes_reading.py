"""READ and FIND: nothing lost, nothing twice, whatever the cut (SPEC 2.4)."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk import resources
from plurnk.content.globs import path_glob
from plurnk.errors import PlurnkError
from plurnk.language.ast import GlobMatcher, LineMarker
from plurnk.schemes import reading, selection
from plurnk.schemes.reading import ChannelSource, MemorySource, Source
from plurnk.store import channels, entries
from plurnk.store.database import Tx
from plurnk.store.migrate import migrate
from plurnk.wire.results import OpResult

NOW = "2026-01-01T00:00:00.000Z"
CONTENTS = st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\n\n", "é".encode(), b"\xff", b"\r\n"]), max_size=14)
MARKERS = st.none() | st.builds(LineMarker, first=st.integers(-2, 9), last=st.none() | st.integers(-1, 9))
PATHS = st.text(alphabet="ab/*é\U0001f600", min_size=1, max_size=6)


@pytest.fixture(scope="module")
def db() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    migrate(connection, resources.migrations(), now=NOW)
    return connection


def outcome(source: Source, marker: LineMarker | None, max_chars: int) -> OpResult | str:
    try:
        return reading.read(source, marker, max_chars=max_chars)
    except PlurnkError as error:
        return error.detail


@given(pieces=CONTENTS, marker=MARKERS, max_chars=st.integers(1, 20))
def test_a_channel_in_chunks_reads_as_the_same_bytes_at_hand(
    db: apsw.Connection, pieces: list[bytes], marker: LineMarker | None, max_chars: int
) -> None:
    entry = entries.create(Tx(db, NOW), None, "known", "a")
    channel = channels.create(db, entry.id, "body", "text/plain")
    for piece in pieces:
        channel = channels.append(db, channel, piece, tokens=0)
    stored = outcome(ChannelSource(db, channel), marker, max_chars)
    entries.delete(Tx(db, NOW), entry.id)
    assert stored == outcome(MemorySource(b"".join(pieces), "text/plain", "body"), marker, max_chars)


@pytest.mark.spec("2.4-read-206")
@given(lines=st.lists(st.text("abé", max_size=9), max_size=12), max_chars=st.integers(20, 60))
def test_reading_on_from_next_line_gives_every_line_once(lines: list[str], max_chars: int) -> None:
    source = MemorySource("".join(f"{line}\n" for line in lines).encode(), "text/plain")
    got: list[str] = []
    marker = None
    while True:
        read = reading.read(source, marker, max_chars=max_chars)
        content = read.content or ""
        assert len(content) <= max_chars
        got += (content if content.endswith("\n") or not content else content + "\n").split("\n")[:-1]
        if read.status != 206:
            break
        assert read.next_line is not None
        marker = LineMarker(first=read.next_line, last=-1)
    assert got == lines or (got == [] and lines == [])


@pytest.mark.spec("2.4-read-206")
@given(
    items=st.lists(st.integers(-99, 99) | st.text("ab", max_size=5) | st.lists(st.booleans(), max_size=3), max_size=9)
    | st.dictionaries(st.text("ab", max_size=3), st.integers(-99, 99), max_size=9),
    max_chars=st.integers(80, 200),
)
def test_reading_on_from_next_item_gives_every_item_once(items: list[Any] | dict[str, Any], max_chars: int) -> None:
    source = MemorySource(json.dumps(items).encode(), "application/json")
    wanted = [{name: value} for name, value in items.items()] if isinstance(items, dict) else items
    got: list[Any] = []
    marker = LineMarker(first=1, last=-1)
    while True:
        read = reading.read(source, marker, max_chars=max_chars)
        assert len(read.content or "") <= max_chars
        got += json.loads(read.content) if read.content else []
        if read.status != 206:
            break
        assert read.next_line is not None
        marker = LineMarker(first=read.next_line, last=-1)
    assert got == wanted


@pytest.mark.spec("2.4-find-order-and-page")
@given(paths=st.sets(PATHS, max_size=12), scope=PATHS, names=st.none() | PATHS, size=st.integers(1, 5))
def test_pages_of_what_is_found_are_sorted_and_do_not_overlap(
    db: apsw.Connection, paths: set[str], scope: str, names: str | None, size: int
) -> None:
    wanted = selection.wanted(scope, None, None if names is None else GlobMatcher(raw=names))
    made = [entries.create(Tx(db, NOW), None, "known", path) for path in paths]
    found = [entry.pathname for entry in selection.select(db, None, "known", wanted)]
    for entry in made:
        entries.delete(Tx(db, NOW), entry.id)
    in_scope = {path for path in paths if (path_glob(scope)(path) if "*" in scope else path.startswith(scope))}
    assert found == sorted((p for p in in_scope if names is None or path_glob(names)(p)), key=str.encode)
    paged: list[str] = []
    for first in range(1, len(found) + 1, size):
        marker = LineMarker(first=first, last=min(first + size - 1, len(found)))
        page = selection.listing(found, marker)
        assert page.matches == len(found)
        paged += (page.results or "").split("\n")
    assert paged == found
