"""Operations on entries: one table a kind of outcome, in the language, on a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from plurnk.engine.clients import ClientLoop
from plurnk.engine.dispatch import _check_flags, _writes
from plurnk.engine.limits import Limits
from plurnk.errors import Denied
from plurnk.language.ast import Edit, Exec, Hide, LocalTarget, Read, StatementItem, UrlTarget
from plurnk.language.parser import parse
from plurnk.plugins.api import Call, ChannelSpec, Manifest, Scheme
from plurnk.schemes.entries import EntryScheme
from plurnk.store import channels, entries, log, sessions
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopStarted
from plurnk.wire.params import LoopFlags
from plurnk.wire.results import OpResult
from tests.support.engines import SCHEMES, do, engine_with, indexed, put_bytes
from tests.support.stores import new_session


def brief(result: OpResult) -> tuple[Any, ...]:
    return (result.status, result.content)


SETUP = (
    "<<EDIT[x,y](known://a):one\ntwo\nthree:EDIT <<EDIT(known://dir/b):bee\n:EDIT "
    '<<EDIT(known://j.json):[1,{"a":2},"x"]:EDIT <<EDIT(known://empty)::EDIT'
)


@pytest.mark.spec("2.4-edit-201-200-304", "2.5-edit-lines", "2.5-lines", "2.5-416", "2.5-json-items")
@pytest.mark.parametrize(
    ("statement", "status", "after"),
    [
        ("<<EDIT(known://new):body:EDIT", 201, "body"),
        ("<<EDIT(known://new)::EDIT", 201, ""),
        ("<<EDIT(known://new)<7>:a marker on a missing entry:EDIT", 201, "a marker on a missing entry"),
        ("<<EDIT(known://a):other:EDIT", 200, "other"),
        ("<<EDIT(known://a):one\ntwo\nthree:EDIT", 304, "one\ntwo\nthree"),
        ("<<EDIT[x](known://a):one\ntwo\nthree:EDIT", 304, "one\ntwo\nthree"),
        ("<<EDIT[z](known://a):one\ntwo\nthree:EDIT", 200, "one\ntwo\nthree"),
        ("<<EDIT(known://a)::EDIT", 200, ""),
        ("<<EDIT(known://a)<2>:TWO:EDIT", 200, "one\nTWO\nthree"),
        ("<<EDIT(known://a)<2>:two:EDIT", 304, "one\ntwo\nthree"),
        ("<<EDIT(known://a)<1-2>::EDIT", 200, "three"),
        ("<<EDIT(known://a)<0>:zero:EDIT", 200, "zero\none\ntwo\nthree"),
        ("<<EDIT(known://a)<-1>:four:EDIT", 200, "one\ntwo\nthree\nfour"),
        ("<<EDIT(known://a)<2,-1>:rest:EDIT", 200, "one\nrest"),
        ("<<EDIT(known://a)<4>:x:EDIT", 416, "one\ntwo\nthree"),
        ("<<EDIT(known://a)<3-2>:x:EDIT", 416, "one\ntwo\nthree"),
        ("<<EDIT(known://empty)<1,-1>:now:EDIT", 200, "now"),
        ('<<EDIT(known://j.json)<2>:"two":EDIT', 200, None),
        ("<<EDIT(known://j.json)<9>:1:EDIT", 416, None),
        ("<<EDIT(known://j.json)<1>:{broken:EDIT", 400, None),
    ],
)
async def test_edit(tmp_path: Path, statement: str, status: int, after: str | None) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        (edited,) = await do(bench, statement)
        assert edited.status == status
        target = statement[statement.index("(") + 1 : statement.index(")")]
        (read,) = await do(bench, f"<<READ({target})::READ")
        if after is not None:
            assert read.content == after
            assert read.status == (200 if after else 204)
        if status == 416:
            assert edited.error is not None
            assert "out of range" in edited.error
        assert (edited.diff is not None) == (status == 200 and "[z]" not in statement)


@pytest.mark.spec("2.4-read-composition", "2.4-read-206", "2.6-glob-lines", "2.5-lines")
@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("<<READ(known://a)::READ", (200, "one\ntwo\nthree")),
        ("<<READ[x](known://a)::READ", (200, "one\ntwo\nthree")),
        ("<<READ[x,q](known://a)::READ", (404, None)),
        ("<<READ(known://a)<2>::READ", (200, "two")),
        ("<<READ(known://a)<2,-1>::READ", (200, "two\nthree")),
        ("<<READ(known://a)<0-2>::READ", (200, "one\ntwo")),
        ("<<READ(known://a)<0>::READ", (204, "")),
        ("<<READ(known://a)<-1>::READ", (204, "")),
        ("<<READ(known://a)<4>::READ", (416, None)),
        ("<<READ(known://dir/b)::READ", (200, "bee\n")),
        ("<<READ(known://dir/b)<1>::READ", (200, "bee")),
        ("<<READ(known://empty)::READ", (204, "")),
        ("<<READ(known://empty)<1,-1>::READ", (204, "")),
        ("<<READ(known://j.json)<2>::READ", (200, '[\n  {\n    "a": 2\n  }\n]')),
        ("<<READ(known://a)<2-3>:t*:READ", (200, '[{"line":2,"matched":"two"},{"line":3,"matched":"three"}]')),
        ("<<READ(known://a):four:READ", (204, "")),
        ("<<READ(known://nothing)::READ", (404, None)),
        ("<<READ(known://%61)::READ", (200, "one\ntwo\nthree")),
        ("<<READ(known:///a)::READ", (200, "one\ntwo\nthree")),
    ],
)
async def test_read(tmp_path: Path, statement: str, outcome: tuple[int, str | None]) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        (read,) = await do(bench, statement)
        assert brief(read) == outcome


@pytest.mark.spec("2.4-read-206")
async def test_a_long_read_is_cut_at_a_line_and_can_be_gone_on_with(tmp_path: Path) -> None:
    text = "\n".join(f"line {n}" for n in range(1, 101))
    async with engine_with(tmp_path / "p.db", (), limits=Limits(read_max_chars=200)) as bench:
        await do(bench, f"<<EDIT(known://long):{text}:EDIT")
        got: list[str] = []
        marker = ""
        while True:
            (read,) = await do(bench, f"<<READ(known://long){marker}::READ")
            assert read.content is not None
            assert len(read.content) <= 200
            got += read.content.rstrip("\n").split("\n")
            if read.next_line is None:
                assert read.status == 200
                break
            assert read.status == 206
            marker = f"<{read.next_line},-1>"
        assert "\n".join(got) == text


@pytest.mark.spec("2.4-find-order-and-page", "2.4-find-scope-isolated")
@pytest.mark.parametrize(
    ("statement", "found", "matches"),
    [
        ("<<FIND(known://)::FIND", ["a", "dir/b", "empty", "j.json"], 4),
        ("<<FIND(known://dir)::FIND", ["dir/b"], 1),
        ("<<FIND(known://*)::FIND", ["a", "empty", "j.json"], 3),
        ("<<FIND(known://**)::FIND", ["a", "dir/b", "empty", "j.json"], 4),
        ("<<FIND(known://%3F)::FIND", ["a"], 1),
        ("<<FIND(known://):**/b:FIND", ["dir/b"], 1),
        ("<<FIND(known://):b:FIND", ["dir/b"], 1),
        ("<<FIND(known://):[ab]:FIND", ["a", "dir/b"], 2),
        ("<<FIND(known://):dir/*:FIND", ["dir/b"], 1),
        ("<<FIND[y](known://)::FIND", ["a"], 1),
        ("<<FIND[x,y](known://)::FIND", ["a"], 1),
        ("<<FIND[x,nope](known://)::FIND", [], 0),
        ("<<FIND(known://)<2-3>::FIND", ["dir/b", "empty"], 4),
        ("<<FIND(unknown://)::FIND", [], 0),
        ("<<FIND(known://zzz)::FIND", [], 0),
    ],
)
async def test_find(tmp_path: Path, statement: str, found: list[str], matches: int) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        (result,) = await do(bench, statement)
        uris = [f"known://{path}" for path in found]
        assert (result.status, result.results, result.matches) == (200, "\n".join(uris), matches)
        assert (result.content, result.mimetype) == (result.results, "text/plain")


@pytest.mark.spec("2.4-find-scope-isolated")
async def test_entries_of_another_session_are_neither_found_nor_read(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        _other, run = await new_session(bench.engine.store)
        client = ClientLoop(bench.engine, run.id)
        parsed = parse("<<FIND(known://)::FIND <<READ(known://a)::READ")
        results, _ = await client.run([i.statement for i in parsed.items if isinstance(i, StatementItem)])
        assert [r.status for r in results] == [200, 404]
        assert results[0].results == ""


@pytest.mark.spec("2.4-show-hide-304", "2.4-edit-indexes", "2.7-index-is-visibility")
async def test_show_and_hide_move_entries_between_index_and_archive(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        everything = ["a", "dir/b", "empty", "j.json"]
        assert await indexed(bench) == everything
        for statement, status, left in (
            ("<<SHOW(known://a)::SHOW", 304, everything),
            ("<<HIDE(known://a)::HIDE", 200, everything[1:]),
            ("<<HIDE(known://a)::HIDE", 304, everything[1:]),
            ("<<HIDE(known://nothing)::HIDE", 404, everything[1:]),
            ("<<SHOW(known://nothing)::SHOW", 404, everything[1:]),
            ("<<HIDE(known://**)::HIDE", 200, []),
            ("<<HIDE(known://**)::HIDE", 304, []),
            ("<<HIDE[nope](known://)::HIDE", 304, []),
            ("<<SHOW[x](known://)::SHOW", 200, ["a"]),
            ("<<SHOW(known://):*.json:SHOW", 200, ["a", "j.json"]),
            ("<<SHOW(known://**)<2>::SHOW", 200, ["a", "dir/b", "j.json"]),
            ("<<SHOW(known://zzz*)::SHOW", 304, ["a", "dir/b", "j.json"]),
            ("<<HIDE(known://a#body)::HIDE", 200, ["dir/b", "j.json"]),
            ("<<HIDE(known://a#nope)::HIDE", 400, ["dir/b", "j.json"]),
            # What is written is seen, even if it was hidden and nothing changed.
            ("<<EDIT(known://a):one\ntwo\nthree:EDIT", 304, ["a", "dir/b", "j.json"]),
        ):
            (result,) = await do(bench, statement)
            assert (result.status, await indexed(bench)) == (status, left), statement


@pytest.mark.spec("2.4-copy-statuses")
@pytest.mark.parametrize(
    ("statement", "status", "paths", "check"),
    [
        ("<<COPY(known://a):known://c:COPY", 201, ["a", "c"], ("known://c", "one\ntwo\nthree")),
        ("<<COPY(known://a):unknown://c:COPY", 201, ["a"], ("unknown://c", "one\ntwo\nthree")),
        ("<<COPY(known://a)<2>:known://c:COPY", 201, ["a", "c"], ("known://c", "two")),
        ("<<COPY(known://j.json)<2>:known://c.json:COPY", 201, ["a", "c.json"], None),
        ("<<COPY(known://nothing):known://c:COPY", 404, ["a"], None),
        ("<<COPY(known://a):known://dir/b:COPY", 409, ["a"], ("known://dir/b", "bee\n")),
        ("<<COPY(known://a):known://a:COPY", 304, ["a"], None),
        ("<<COPY(known://a)<9>:known://c:COPY", 416, ["a"], None),
        ("<<COPY(known://a)::COPY", 400, ["a"], None),
        ("<<COPY(known://a#nope):known://c:COPY", 400, ["a"], None),
        ("<<COPY(known://a):nosuch://c:COPY", 501, ["a"], None),
        ("<<COPY(known://a):log://1/1/1:COPY", 501, ["a"], None),
        ("<<MOVE(known://a):known://c:MOVE", 201, ["c"], ("known://c", "one\ntwo\nthree")),
        ("<<MOVE(known://a)<2>:known://c:MOVE", 201, ["a", "c"], ("known://a", "one\nthree")),
        ("<<MOVE(known://a):known://dir/b:MOVE", 409, ["a"], ("known://a", "one\ntwo\nthree")),
        ("<<MOVE(known://a)::MOVE", 200, [], None),
        ("<<MOVE(known://a)<1-2>::MOVE", 200, ["a"], ("known://a", "three")),
        ("<<MOVE(known://nothing)::MOVE", 404, ["a"], None),
        ("<<MOVE(known://nothing):known://c:MOVE", 404, ["a"], None),
    ],
)
async def test_copy_and_move(
    tmp_path: Path, statement: str, status: int, paths: list[str], check: tuple[str, str] | None
) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        (result,) = await do(bench, statement)
        assert result.status == status
        (found,) = await do(bench, "<<FIND(known://)::FIND")
        assert found.results is not None
        rest = {"known://dir/b", "known://empty", "known://j.json"}
        assert {*found.results.split("\n")} - rest == {f"known://{path}" for path in paths}
        if check is not None:
            (read,) = await do(bench, f"<<READ({check[0]})::READ")
            assert read.content == check[1]


@pytest.mark.spec("2.4-copy-statuses")
async def test_a_channel_that_the_destination_does_not_have_is_415(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "pair": _scheme_of_two("left")}
        results = await do(
            bench,
            "<<EDIT(pair://x):l:EDIT <<EDIT(pair://x#right):r:EDIT <<COPY(pair://x):known://c:COPY"
            " <<COPY(pair://x#right):known://c:COPY <<READ(known://c)::READ <<COPY(pair://x):pair://y:COPY"
            " <<READ(pair://y#right)::READ",
        )
        # Left and right do not fit into a body; one of them alone does.
        assert [r.status for r in results] == [201, 200, 415, 201, 200, 201, 200]
        assert [results[4].content, results[6].content] == ["r", "r"]


@pytest.mark.spec("2.4-copy-statuses")
async def test_a_type_that_the_destinations_channel_does_not_accept_is_415(tmp_path: Path) -> None:
    plain = EntryScheme(
        Manifest(
            name="plain",
            channels={"body": ChannelSpec(mimetype="text/plain", accepts=("text/*",))},
            default_channel="body",
            writable_by=frozenset({"client"}),
        )
    )
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "plain": plain}
        await do(bench, SETUP)
        refused, taken = await do(bench, "<<COPY(known://j.json):plain://j:COPY <<MOVE(known://a):plain://a:MOVE")
        assert (refused.status, refused.error) == (415, "plain://#body takes text/*, not application/json")
        assert taken.status == 201


@pytest.mark.spec("2.2-cap-413")
async def test_an_edit_over_the_cap_is_413_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        monkeypatch.setattr(channels, "CHANNEL_CAP_BYTES", 20)
        over, longer, new, fits, unchanged = await do(
            bench,
            "<<EDIT(known://a):123456789 123456789 1:EDIT <<EDIT(known://a)<-1>:1234567:EDIT"
            " <<EDIT(known://new):123456789 123456789 1:EDIT <<EDIT(known://a)<-1>:123456:EDIT <<READ(known://new)::READ",
        )
        assert [r.status for r in (over, longer, new, fits, unchanged)] == [413, 413, 413, 200, 404]
        (read,) = await do(bench, "<<READ(known://a)::READ")
        assert read.content == "one\ntwo\nthree\n123456"


@pytest.mark.spec("2.4-move-atomic")
async def test_a_move_that_fails_half_way_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        seen: list[bool] = []

        def fail(tx: Tx, entry_id: int) -> None:
            # The destination is written by now, in this transaction.
            seen.append(entries.find(tx.db, bench.session.id, "unknown", "c") is not None)
            raise OSError(f"entry {entry_id} cannot be removed")

        with monkeypatch.context() as broken:
            broken.setattr(entries, "delete", fail)
            (failed,) = await do(bench, "<<MOVE(known://a):unknown://c:MOVE")
        assert (failed.status, seen) == (500, [True])
        source, destination = await do(bench, "<<READ(known://a)::READ <<READ(unknown://c)::READ")
        assert (source.content, destination.status) == ("one\ntwo\nthree", 404)
        moved, gone, there = await do(
            bench, "<<MOVE(known://a):unknown://c:MOVE <<READ(known://a)::READ <<READ(unknown://c)::READ"
        )
        assert (moved.status, gone.status, there.content) == (201, 404, "one\ntwo\nthree")


@pytest.mark.spec("2.2-scope")
async def test_an_agents_entries_are_seen_by_every_session_a_sessions_by_its_own_runs(tmp_path: Path) -> None:
    shared = EntryScheme(
        Manifest(
            name="shared",
            channels={"body": ChannelSpec()},
            default_channel="body",
            writable_by=frozenset({"client"}),
            scope="agent",
        )
    )
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "shared": shared}
        await do(bench, "<<EDIT(shared://a):for all:EDIT <<EDIT(known://a):for us:EDIT")
        second_run = await bench.engine.store.write(lambda tx: sessions.create_run(tx, bench.session.id, "second"))
        _other, elsewhere = await new_session(bench.engine.store)
        wanted = {second_run.id: [(200, "for all"), (200, "for us")], elsewhere.id: [(200, "for all"), (404, None)]}
        parsed = parse("<<READ(shared://a)::READ <<READ(known://a)::READ")
        for run_id, outcome in wanted.items():
            client = ClientLoop(bench.engine, run_id)
            results, _ = await client.run([i.statement for i in parsed.items if isinstance(i, StatementItem)])
            assert [brief(r) for r in results] == outcome


@pytest.mark.spec("3.7-ask-is-read-only")
async def test_a_loop_in_ask_mode_writes_notes_and_nothing_outside(tmp_path: Path) -> None:
    outside = EntryScheme(
        Manifest(
            name="outside",
            channels={"body": ChannelSpec()},
            default_channel="body",
            writable_by=frozenset({"model", "client"}),
            effects="external",
        )
    )
    statements = (
        "<<EDIT(outside://a):x:EDIT <<COPY(known://n):outside://b:COPY <<SEND[410](outside://kept)::SEND"
        " <<MOVE(outside://kept):known://m:MOVE <<READ(outside://kept)::READ <<EDIT(known://n):note:EDIT"
        " <<SEND[200]::SEND"
    )
    async with engine_with(tmp_path / "p.db", [statements]) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "outside": outside}
        await do(bench, "<<EDIT(outside://kept):was there:EDIT")
        flags = msgspec.json.encode(LoopFlags(mode="ask")).decode()
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="look", flags=flags))
        await bench.engine.loop_end(submitted.loop_id)
        rows = [r for r, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        assert [r.status_rx for r in rows if r.origin == "model"] == [403, 403, 403, 403, 200, 201, 200]
        (kept,) = await do(bench, "<<READ(outside://kept)::READ")
        assert kept.content == "was there"


@pytest.mark.spec("2.4-copy-tags")
async def test_a_signal_replaces_tags_and_none_carries_them(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        for statement, tags in (
            ("<<COPY(known://a):known://c1:COPY", ("x", "y")),
            ("<<COPY[z](known://a):known://c2:COPY", ("z",)),
            ("<<MOVE[](known://a):known://c3:MOVE", ()),
        ):
            (result,) = await do(bench, statement)
            entry_id = result.entry_id
            assert entry_id is not None
            assert await bench.engine.store.read(lambda db, e=entry_id: entries.tags(db, e)) == tags  # type: ignore[misc]


@pytest.mark.spec("2.4-send-410", "2.4-send-499", "2.4-send-other-501", "2.4-unknown-scheme-501")
@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("<<SEND[410](known://a)::SEND", 200),
        ("<<SEND[410](known://nothing)::SEND", 404),
        ("<<SEND[410](known://a#body)::SEND", 200),
        ("<<SEND[410](known://a#nope)::SEND", 400),
        ("<<SEND[499](known://a)::SEND", 409),
        ("<<SEND[499](known://nothing)::SEND", 404),
        ("<<SEND[200](known://a):x:SEND", 501),
        ("<<SEND(known://a):x:SEND", 501),
        ("<<SEND[200]:hello:SEND", 200),
        ("<<SEND[102]::SEND", 200),
        ("<<SEND:no code:SEND", 400),
        ("<<EXEC:true:EXEC", 501),
        ("<<EDIT(nosuch://a):x:EDIT", 501),
        ("<<READ(https://example.org/)::READ", 501),
        ("<<READ::READ", 400),
        ("<<EDIT:x:EDIT", 400),
        ("<<EDIT(known://):x:EDIT", 400),
        ("<<EDIT(known://a/../b):x:EDIT", 400),
        ("<<READ(known://./a)::READ", 400),
        ("<<READ(known://a%00b)::READ", 400),
        ("<<EDIT(log://1/1/1):x:EDIT", 403),
        ("<<SEND[410](log://1/1/1)::SEND", 403),
        ("<<HIDE[500](known://a)::HIDE", 400),
    ],
)
async def test_send_and_refusals(tmp_path: Path, statement: str, status: int) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, SETUP)
        (result,) = await do(bench, statement)
        assert result.status == status
        assert (result.error is not None) == (status >= 400)
        last = (await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id)))[-1][0]
        assert (last.status_rx, last.rx) == (status, msgspec.to_builtins(result))


@pytest.mark.spec("2.4-unknown-scheme-501")
async def test_a_501_names_scheme_and_op(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        (one, two) = await do(bench, "<<READ(nosuch://a)::READ <<FIND(nosuch://)::FIND")
        for result, op in ((one, "READ"), (two, "FIND")):
            assert result.error is not None
            assert "nosuch" in result.error
            assert op in result.error


@pytest.mark.spec("2.3-fragment-default", "2.3-fragment-unknown-400", "2.3-fragment-missing-entry-404")
async def test_fragments_pick_channels(tmp_path: Path) -> None:
    scheme = _scheme_of_two()
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "pair": scheme}  # a scheme that only this test has
        results = await do(
            bench,
            "<<EDIT(pair://x#right):r:EDIT <<EDIT(pair://x):l:EDIT <<EDIT(pair://x#right):r:EDIT"
            " <<READ(pair://x#right)::READ <<READ(pair://x#left)::READ <<READ(pair://x)::READ <<READ(pair://x#up)::READ"
            " <<SEND[410](pair://x#right)::SEND <<READ(pair://x#right)::READ <<READ(pair://x)::READ",
        )
        assert [r.status for r in results] == [404, 201, 200, 200, 200, 200, 400, 200, 404, 200]
        assert [r.content for r in results[3:6]] == ["r", "l", "l"]
        assert [r.channel for r in results[3:6]] == ["right", "left", "left"]


def _scheme_of_two(default: str | None = "left") -> Scheme:
    return EntryScheme(
        Manifest(
            name="pair",
            channels={"left": ChannelSpec(), "right": ChannelSpec()},
            default_channel=default,
            writable_by=frozenset({"client"}),
        )
    )


@pytest.mark.spec("2.3-fragment-default")
async def test_a_scheme_without_a_default_channel_refuses_a_bare_path(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "pair": _scheme_of_two(default=None)}
        results = await do(bench, "<<EDIT(pair://x):l:EDIT <<READ(pair://x)::READ")
        assert [r.status for r in results] == [400, 400]


@pytest.mark.spec("2.3-mimetype-by-path", "2.3-binary-415", "2.2-state-is-metadata")
async def test_mimetypes_go_by_path_and_binary_has_no_lines(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        results = await do(
            bench,
            "<<EDIT(known://u.json):{}:EDIT <<READ(known://u.json)::READ <<EDIT(known://u.txt):x:EDIT"
            " <<READ(known://u.txt)::READ <<EDIT(known://u):x:EDIT <<READ(known://u)::READ"
            " <<EDIT(known://p.png):x:EDIT",
        )
        assert [r.mimetype for r in results if r.mimetype] == ["application/json", "text/markdown", "text/markdown"]
        entry_id = await put_bytes(bench, "p.png", b"\x89PNG\0", "image/png")

        def keep_writing(tx: Tx) -> None:
            (channel,) = channels.of_entry(tx.db, entry_id)
            channels.set_state(tx.db, channel.id, "active")

        await bench.engine.store.write(keep_writing)
        refused = await do(
            bench,
            "<<READ(known://p.png)<1>::READ <<READ(known://p.png):*x*:READ <<EDIT(known://p.png)<1>:x:EDIT"
            " <<COPY(known://p.png)<1>:known://c:COPY",
        )
        assert [r.status for r in refused] == [415, 415, 415, 415]
        (whole,) = await do(bench, "<<READ(known://p.png)::READ")
        assert whole.status == 200


@pytest.mark.spec("2.4-writable-by-403")
async def test_who_may_not_write_is_told_so(tmp_path: Path) -> None:
    script = (
        "<<EDIT(plurnk://note):mine:EDIT <<EDIT(plurnk://prompt/1):changed:EDIT <<EDIT(log://1/1/1):x:EDIT"
        " <<MOVE(plurnk://prompt/1)::MOVE <<SEND[410](plurnk://prompt/1)::SEND <<COPY(known://x):plurnk://prompt/9:COPY"
        " <<EDIT(known://x):x:EDIT <<COPY(known://x):plurnk://prompt/9:COPY <<SEND[200]::SEND"
    )
    async with engine_with(tmp_path / "p.db", [script]) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await bench.engine.loop_end(submitted.loop_id)
        rows = [r for r, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        statuses = [r.status_rx for r in rows if r.origin == "model"]
        assert statuses == [201, 403, 403, 403, 403, 404, 201, 403, 200]
        assert rows[3].rx["error"] == "writer 'model' may not write log://"
        (read,) = await do(bench, "<<READ(plurnk://prompt/1)::READ")
        assert read.content == "go"


@pytest.mark.spec("2.4-handler-crash-500", "2.4-every-op-one-row")
async def test_a_handler_that_raises_is_a_500_with_a_row_and_the_next_op_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        manifest = Manifest(name="broken", channels={}, default_channel=None, writable_by=frozenset({"client"}))

        def __init__(self) -> None:
            self.handlers = {"READ": self.read, "EDIT": self.edit}

        async def read(self, _call: Call) -> OpResult:
            raise ZeroDivisionError("by nought")

        async def edit(self, call: Call) -> Any:
            def unit(tx: Tx) -> OpResult:
                entries.create(tx, call.turn.session_id, "broken", "half")
                raise ZeroDivisionError("half-way")

            return unit

    async with engine_with(tmp_path / "p.db", ()) as bench:
        broken: Any = Broken()
        bench.engine.dispatcher._schemes = {**SCHEMES, "broken": broken}
        results = await do(bench, "<<READ(broken://a)::READ <<EDIT(broken://a):x:EDIT <<EDIT(known://a):x:EDIT")
        assert [r.status for r in results] == [500, 500, 201]
        assert [r.error for r in results[:2]] == [
            "READ failed inside plurnk: by nought",
            "EDIT failed inside plurnk: half-way",
        ]
        rows = await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))
        assert [(r.op, r.status_rx, r.sequence) for r, _ in rows] == [
            ("READ", 500, 1),
            ("EDIT", 500, 2),
            ("EDIT", 201, 3),
        ]
        half = await bench.engine.store.read(lambda db: entries.find(db, bench.session.id, "broken", "half"))
        assert half is None
    assert caplog.text.count("ZeroDivisionError") >= 2


@pytest.mark.spec("2.4-log-read-unwraps", "2.4-log-rows-hide")
async def test_log_rows_are_read_found_hidden_and_shown(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a):one\ntwo:EDIT <<READ(known://a)::READ")
        results = await do(
            bench,
            "<<READ(log://1/1/2)::READ <<READ(log://1/1/2/READ)<2>::READ <<READ(log://1/1/1)::READ"
            " <<READ(log://1/1/2/EDIT)::READ <<READ(log://9/1/1)::READ <<READ(log://x)::READ <<READ(log://1/1)::READ"
            " <<FIND(log://1/1/)::FIND <<FIND(log://**/READ)::FIND"
            " <<HIDE(log://1/1/2)::HIDE <<HIDE(log://1/1/2/READ)::HIDE <<HIDE(log://9/9/9)::HIDE <<SHOW(log://1/**)::SHOW",
        )
        assert [r.status for r in results] == [200, 200, 200, 404, 404, 400, 400, 200, 200, 200, 304, 404, 200]
        assert [r.content for r in results[:2]] == ["one\ntwo", "two"]
        assert msgspec.json.decode(results[2].content or "")["status"] == 201
        assert results[7].results == "log://1/1/1/EDIT\nlog://1/1/2/READ"
        assert (results[8].results or "").startswith("log://1/1/2/READ\nlog://2/1/1/READ")


async def test_flags_refuse_what_they_say(tmp_path: Path) -> None:
    def manifest(**kind: Any) -> Manifest:
        return Manifest(name="s", channels={}, default_channel=None, writable_by=frozenset(), **kind)

    edit, read, run = Edit(target=LocalTarget(raw="f")), Read(target=LocalTarget(raw="f")), Exec(body="true")
    hide, end = Hide(target=LocalTarget(raw="f")), Hide(target=LocalTarget(raw="f"), signal=499)
    for flags, kind, statement, refused in (
        (LoopFlags(mode="ask"), {"effects": "external"}, edit, True),
        (LoopFlags(mode="ask"), {"effects": "external"}, run, True),
        (LoopFlags(mode="ask"), {"effects": "external"}, end, True),
        (LoopFlags(mode="ask"), {"effects": "external"}, hide, False),
        (LoopFlags(mode="ask"), {"effects": "external"}, read, False),
        (LoopFlags(mode="ask"), {"effects": "internal"}, edit, False),
        (LoopFlags(), {"effects": "external"}, edit, False),
        (LoopFlags(no_web=True), {"requires_web": True}, read, True),
        (LoopFlags(no_interaction=True), {"requires_interaction": True}, read, True),
        (LoopFlags(no_proposals=True), {"proposes": True}, edit, True),
        (LoopFlags(no_proposals=True), {"proposes": True}, read, False),
    ):
        if refused:
            with pytest.raises(Denied, match="inactive under this loop's flags"):
                _check_flags(manifest(**kind), flags, writes=_writes(statement))
        else:
            _check_flags(manifest(**kind), flags, writes=_writes(statement))


@pytest.mark.spec("6.3-client-loop-lazy", "6.3-op-equals-model-op")
async def test_a_clients_operations_are_turns_of_one_loop_that_opens_with_the_first(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ("<<EDIT(known://m):x:EDIT <<SEND[200]::SEND",)) as bench:
        client = ClientLoop(bench.engine, bench.run.id)
        assert not [n for n in bench.ear.heard if isinstance(n, LoopStarted)]
        edit = Edit(target=UrlTarget(raw="known://c", scheme="known", pathname="c"), body="x")
        for _ in range(2):
            await client.run([edit])
        await client.run([])
        await client.close()
        await client.close()
        statuses = await bench.engine.store.read(
            lambda db: db.execute(
                "SELECT l.origin, l.status, t.seq, t.status FROM turns t JOIN loops l ON l.id = t.loop_id ORDER BY t.id"
            ).fetchall()
        )
        assert statuses == [("client", 200, 1, 102), ("client", 200, 2, 102), ("client", 200, 3, 422)]
        rows = [r for r, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        assert [(r.loop_seq, r.turn_seq, r.origin, r.status_rx) for r in rows] == [
            (1, 1, "client", 201),
            (1, 2, "client", 304),
        ]
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await bench.engine.loop_end(submitted.loop_id)
        rows = [r for r, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        by_client, by_model = rows[0], next(r for r in rows if r.pathname == "m")
        differ = {f for f in by_client.__struct_fields__ if getattr(by_client, f) != getattr(by_model, f)}
        assert differ <= {
            "id",
            "loop_id",
            "turn_id",
            "loop_seq",
            "turn_seq",
            "sequence",
            "at",
            "origin",
            "pathname",
            "rx",
            "suffix",
        }
