"""READ and FIND: nothing lost, nothing twice, whatever the cut (SPEC 2.4)."""

from __future__ import annotations

import json
import re
from typing import Any

import apsw
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from plurnk import resources
from plurnk.content.globs import path_glob
from plurnk.errors import PlurnkError
from plurnk.language.ast import GlobMatcher, LineMarker
from plurnk.schemes import reading, selection
from plurnk.schemes.reading import ChannelSource, MemorySource, Source
from plurnk.schemes.together import read_together
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
    in_scope = {p for p in paths if p == scope or (path_glob(scope)(p) if "*" in scope else p.startswith(scope))}
    named = in_scope if names is None else {p for p in in_scope if path_glob(names)(p)}
    if names is not None and "/" not in names:
        named |= {p for p in in_scope if path_glob(names)(p.split("/")[-1])}
    assert found == sorted(named, key=str.encode)
    paged: list[str] = []
    for first in range(1, len(found) + 1, size):
        marker = LineMarker(first=first, last=min(first + size - 1, len(found)))
        page = selection.listing(found, str, marker, 1000)
        assert page.matches == len(found)
        paged += (page.results or "").split("\n")
    assert paged == found
    gone_on: list[str] = []
    go_on: int | None = 1
    while go_on is not None:
        part = selection.listing(found, str, LineMarker(first=go_on, last=-1), size * 4)
        shown = (part.results or "").split("\n") if found else []
        assert len(part.results or "") <= size * 4 or len(shown) == 1
        assert part.status == (200 if part.next_line is None else 206)
        gone_on += shown
        go_on = part.next_line
    assert gone_on == found


ADDRESSES = ["known://a", "known://b.json", "known://c.xml", "known://d.json", "known://e.xml", "known://" + "f" * 40]
TYPES = ["text/plain", "application/json", "application/xml"]
LINES = st.lists(
    st.text("ab \0é", max_size=30) | st.sampled_from([":known://c.xml~", ":known://c.xml" + "~" * 300, "<x/>", ""]),
    max_size=12,
).map("\n".join)
JSONS = st.lists(st.text("abé\n", max_size=40) | st.integers(), max_size=12).map(
    lambda items: json.dumps(items, indent=1)
)
SOURCES = st.lists(st.tuples(LINES | JSONS | st.text("ab", max_size=900), st.sampled_from(TYPES)), max_size=6)
GO_ON = re.compile(r"^… more: go on with <(\d+),-1>\n:(known://\w+\.?\w*)~*$", re.MULTILINE)


@pytest.mark.spec("2.4-read-glob", "2.4-read-206")
@given(texts=SOURCES, max_chars=st.integers(150, 1200))
def test_blocks_fit_and_where_one_was_cut_is_where_to_read_on(texts: list[tuple[str, str]], max_chars: int) -> None:
    sources = {
        address: MemorySource(text.encode(), mimetype)
        for address, (text, mimetype) in zip(ADDRESSES, texts, strict=False)
    }

    async def read_one(address: str, chars: int) -> OpResult:
        return reading.read(sources[address], None, max_chars=chars)

    async def read_all() -> OpResult:
        return await read_together(list(sources), str, read_one, max_chars)

    together = trio.run(read_all)
    content = together.content or ""
    assert len(content) <= max_chars
    cut = GO_ON.findall(content)
    assert (together.status == 206) == bool(cut or together.left_out or "… more, cut" in content)
    for line, address in cut:
        rest = outcome(sources[address], LineMarker(first=int(line), last=-1), 10**6)
        assert isinstance(rest, OpResult)
        assert rest.status == 200
        last_shown = content[: content.index(f"… more: go on with <{line},-1>\n:{address}")].split("\n")[-2]
        if sources[address].mimetype == "text/plain" and not last_shown.startswith("<<"):
            assert int(last_shown.partition(":")[0]) in {int(line), int(line) - 1}


@pytest.mark.spec("2.4-read-206")
@given(
    text=st.lists(st.sampled_from(['{"a": 1}\n', "é\n", "[", "\n", "x" * 30]), max_size=12).map("".join),
    max_chars=st.integers(20, 60),
)
def test_reading_on_in_broken_json_gives_every_line_once(text: str, max_chars: int) -> None:
    source = MemorySource(f"{{{text}".encode(), "application/json")
    lines: list[str] = []
    read = reading.read(source, None, max_chars=max_chars)
    while True:
        lines += (read.content or "").removesuffix("\n").split("\n")
        if read.next_line is None:
            break
        assert read.status == 206
        read = reading.read(source, LineMarker(first=read.next_line, last=-1), max_chars=max_chars)
    whole = f"{{{text}".removesuffix("\n").split("\n")
    assert len(lines) == len(whole)
    assert all(line == full or full.startswith(line) for line, full in zip(lines, whole, strict=True))
