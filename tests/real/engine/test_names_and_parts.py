"""What a target, a fragment and a marker name where it is not plain: odd names, odd bytes, nothing at all (SPEC 2)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from plurnk.engine.clients import ClientLoop
from plurnk.language.ast import Hide, LineMarker, Read, RegexMatcher, Show, UrlTarget
from plurnk.plugins.api import Call, ChannelSpec, Manifest, Unit
from plurnk.schemes.entries import EntryScheme
from plurnk.store import channels, entries, log
from plurnk.store.channels import ChannelState
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.wire.params import LoopFlags
from tests.support.daemons import plain_client, running, settings_in
from tests.support.engines import SCHEMES, Bench, do, engine_with


async def put(
    bench: Bench, path: str, data: bytes, mimetype: str = "text/plain", state: ChannelState = "static"
) -> None:
    """Make known://``path`` hold ``data``, as a command's output may be."""

    def unit(tx: Tx) -> None:
        entry = entries.create(tx, bench.session.id, "known", path)
        channel = channels.create(tx.db, entry.id, "body", mimetype, state)
        channels.append(tx.db, channel, data, tokens=1)

    await bench.engine.store.write(unit)


async def held(bench: Bench, path: str) -> bytes:
    """All bytes of known://``path``."""

    def unit(tx: Tx) -> bytes:
        entry = entries.find(tx.db, bench.session.id, "known", path)
        assert entry is not None
        (channel,) = channels.of_entry(tx.db, entry.id)
        return channels.read_bytes(tx.db, channel)

    return await bench.engine.store.write(unit)


@pytest.mark.spec("2.4-read-glob", "2.4-find-order-and-page")
async def test_a_name_with_glob_characters_is_itself_too(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(
            bench,
            "<<EDIT(known://app/[id].ts):literal:EDIT <<EDIT(known://app/x[1]):odd:EDIT <<EDIT(known://app/x1):plain:EDIT",
        )
        alone, both, found, hidden, listed = await do(
            bench,
            "<<READ(known://app/[id].ts)::READ <<READ(known://app/x[1])::READ <<FIND(known://app/x[1])::FIND"
            " <<HIDE(known://app/[id].ts)::HIDE <<FIND(known://app/[id].ts):/literal/:FIND",
        )
        assert (alone.status, alone.content, alone.mimetype) == (200, "literal", "application/typescript")
        assert (both.status, both.matches) == (200, 2)
        assert found.results == "known://app/x1\nknown://app/x[1]"
        assert (hidden.status, hidden.matches) == (200, 1)
        assert listed.results == "known://app/[id].ts"


@pytest.mark.spec("2.3-fragment-unknown-400")
@pytest.mark.parametrize(
    "statement",
    [
        "<<FIND(known://#no)::FIND",
        "<<FIND(known://*#no):*:FIND",
        "<<FIND(log://#body)::FIND",
        "<<READ(log://1/1/1#body)::READ",
        "<<HIDE(log://1/1/1#body)::HIDE",
        "<<SEND[499](known://a#no)::SEND",
    ],
)
async def test_a_channel_that_is_not_declared_is_400_whatever_the_operation(tmp_path: Path, statement: str) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a):x:EDIT")
        (result,) = await do(bench, statement)
        assert result.status == 400
        assert "channel" in (result.error or "")


@pytest.mark.spec("2.4-find-order-and-page")
async def test_rows_are_found_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ("<<SEND[200]:done:SEND",)) as bench:
        client = ClientLoop(bench.engine, bench.run.id)
        target = UrlTarget(raw="known://a", scheme="known", pathname="a")
        await client.run([Read(target=target)])
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await bench.engine.loop_end(submitted.loop_id)
        await client.run([Show(target=target)])
        await client.close()
        (found,) = await do(bench, "<<FIND(log://)::FIND")
        assert found.results == "log://1/1/1/READ\nlog://2/1/1/EDIT\nlog://2/1/2/SEND\nlog://1/2/1/SHOW"


@pytest.mark.spec("2.4-log-rows-hide", "2.4-log-read-unwraps")
async def test_a_glob_over_rows_need_not_name_the_op(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a):x:EDIT <<READ(known://a)::READ")
        hidden, read, with_op, without, named = await do(
            bench,
            "<<HIDE(log://1/1/*)::HIDE <<READ(log://1/*/2)::READ <<FIND(log://1/1/*/READ)::FIND"
            " <<FIND(log://1/1/[1])::FIND <<FIND(log://):1/1/?:FIND",
        )
        assert (hidden.status, hidden.matches) == (200, 2)
        assert read.content == "<<log://1/1/2/READ:\n1:\tx\n:log://1/1/2/READ"
        assert with_op.results == "log://1/1/2/READ"
        assert without.results == "log://1/1/1/EDIT"
        assert named.results == "log://1/1/1/EDIT\nlog://1/1/2/READ"


@pytest.mark.spec("2.4-find-order-and-page", "2.4-show-hide-304")
async def test_of_nothing_every_page_is_empty(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        found, matched, hidden = await do(
            bench, "<<FIND(known://)<1-50>::FIND <<FIND(known://)<3>:/x/:FIND <<HIDE(known://zzz)<1-5>::HIDE"
        )
        assert [(r.status, r.matches, r.error) for r in (found, matched, hidden)] == [
            (200, 0, None),
            (200, 0, None),
            (304, 0, None),
        ]


@pytest.mark.spec("2.4-copy-statuses")
@pytest.mark.parametrize(
    "statement",
    [
        "<<COPY(known://a)<-1>:known://b:COPY",
        "<<MOVE(known://a)<0>:known://b:MOVE",
        "<<MOVE(known://a)<-1>::MOVE",
        "<<MOVE(known://j.json)<-1>::MOVE",
    ],
)
async def test_between_lines_there_is_nothing_to_move(tmp_path: Path, statement: str) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a):one\ntwo:EDIT <<EDIT(known://j.json):[1]:EDIT")
        result, found = await do(bench, statement + " <<FIND(known://)::FIND")
        assert (result.status, found.results) == (416, "known://a\nknown://j.json")


@pytest.mark.spec("2.5-edit-lines", "2.4-move-atomic")
async def test_lines_that_nobody_names_keep_their_bytes(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await put(bench, "log", b"a\xff\nb\xfe\nc\xc3\r\n")
        edited, moved, same = await do(
            bench,
            "<<EDIT(known://log)<3>:C:EDIT <<MOVE(known://log)<2>:known://line:MOVE"
            " <<EDIT(known://line):b\N{REPLACEMENT CHARACTER}:EDIT",
        )
        assert [r.status for r in (edited, moved, same)] == [200, 201, 200]
        assert "-c\N{REPLACEMENT CHARACTER}\r\n+C\n" in (edited.diff or "")
        assert await held(bench, "log") == b"a\xff\nC\n"
        assert await held(bench, "line") == "b\N{REPLACEMENT CHARACTER}".encode()


@pytest.mark.spec("2.4-show-hide-304")
async def test_an_entry_that_goes_while_it_is_hidden_is_404(tmp_path: Path) -> None:
    class Fleeting(EntryScheme):
        async def hide(self, call: Call) -> Unit:
            unit = await super().hide(call)

            def leave(tx: Tx) -> None:
                for entry in entries.listing(tx.db, call.turn.session_id, "fleeting", ""):
                    entries.delete(tx, entry.id)

            await call.store.write(leave)
            return unit

    async with engine_with(tmp_path / "p.db", ()) as bench:
        kind = Manifest(
            name="fleeting",
            channels={"body": ChannelSpec()},
            default_channel="body",
            writable_by=frozenset({"client"}),
        )
        bench.engine.dispatcher._schemes = {**SCHEMES, "fleeting": Fleeting(kind)}
        one, many = await do(bench, "<<EDIT(fleeting://a):x:EDIT <<HIDE(fleeting://a)::HIDE")
        assert (one.status, many.status) == (201, 404)
        _, of_many = await do(bench, "<<EDIT(fleeting://a):x:EDIT <<HIDE(fleeting://*)::HIDE")
        assert of_many.status == 304


@pytest.mark.spec("2.4-find-content-dialects", "2.6-xpath")
async def test_a_search_passes_over_documents_without_the_prefix(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a.xml):<a/>:EDIT <<EDIT(known://b.xml):<s:b xmlns:s='u'/>:EDIT")
        found, wrong = await do(bench, "<<FIND(known://)://s:b:FIND <<FIND(known://)://*[nonsense()]:FIND")
        assert (found.status, found.results) == (200, "known://b.xml")
        assert wrong.status == 400


async def test_a_copy_from_what_the_flags_forbid_is_refused(tmp_path: Path) -> None:
    web = EntryScheme(
        Manifest(
            name="page",
            channels={"body": ChannelSpec()},
            default_channel="body",
            writable_by=frozenset({"model", "client"}),
            requires_web=True,
        )
    )
    async with engine_with(tmp_path / "p.db", ("<<COPY(page://a):known://b:COPY <<SEND[200]::SEND",)) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "page": web}
        await do(bench, "<<EDIT(page://a):x:EDIT")
        flags = msgspec.json.encode(LoopFlags(no_web=True)).decode()
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go", flags=flags))
        await bench.engine.loop_end(submitted.loop_id)
        rows = [row for row, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        assert [(row.op, row.status_rx) for row in rows if row.origin == "model"] == [("COPY", 403), ("SEND", 200)]


@pytest.mark.spec("6.3-op-equals-model-op", "6.2-op-failure-is-result")
async def test_a_clients_matcher_is_a_models(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        await client.call("op.edit", target="known://a", content="one\ntwo\n")
        empty = await client.call("op.read", target="known://a", matcher="")
        written = await client.call("op.parse", text="<<READ(known://a)::READ")
        assert empty == written["results"][0]
        target = UrlTarget(raw="known://a", scheme="known", pathname="a")
        for statement in (
            Read(target=target, body=RegexMatcher(raw="/(/", pattern="(", flags="")),
            Read(target=target, body=RegexMatcher(raw="/a/", pattern="a{99999999999}", flags="")),
        ):
            broken = await client.call("op.dispatch", statement=msgspec.to_builtins(statement))
            assert broken["status"] == 400
            assert broken["error"].startswith("broken regex: ")
        huge = Hide(target=target, line_marker=LineMarker(first=10**30))
        assert (await client.call("op.dispatch", statement=msgspec.to_builtins(huge)))["status"] == 416
