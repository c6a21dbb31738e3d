"""A file may be written ``file://…``; whoever reads about it later sees the bare path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from plurnk.engine.clients import ClientLoop
from plurnk.language.ast import OPS, OpName, StatementItem
from plurnk.language.parser import parse
from plurnk.language.targets import canonical
from plurnk.plugins.api import Call, ChannelSpec, Handler, Manifest, Scheme, Unit
from plurnk.store import log, turns
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from plurnk.wire.notifications import TurnDelta
from plurnk.wire.results import OpResult
from tests.support.engines import SCHEMES, Bench, engine_with
from tests.support.projects import project

ONE_OF_EACH = (
    "<<FIND(file:///src)::FIND <<READ(file:///src/a%20b.md)::READ <<EDIT(file:///src/e.md):x:EDIT"
    " <<COPY(file:///src/c1):file:///src/c2:COPY <<COPY(known://a):file:///src/c3:COPY"
    " <<MOVE(file:///src/m1):file:///src/m2:MOVE <<MOVE(file:///src/m3)::MOVE <<SHOW(file:///src/s#body)::SHOW"
    " <<HIDE(file:///src/h)::HIDE <<SEND[410](file:///src/gone)::SEND <<EXEC(file:///src/dir):true:EXEC"
)
BROKEN = " <<READ(file:///src/r1#nope)::READ <<READ(file:///src/r2%FF)::READ <<COPY(known://a):file:///src/r3#nope:COPY"
PATHS = ["src", "src/a b.md", "src/e.md", "src/c1", "a", "src/m1", "src/m3", "src/s", "src/h", "src/gone", "src/dir"]
BODIES = ["src/c2", "src/c3", "src/m2", "src/r3"]


class Echo:
    """A scheme of files that answers with the target as it got it; it stores no entries for COPY and MOVE."""

    manifest = Manifest(
        name="file",
        channels={"body": ChannelSpec()},
        default_channel="body",
        writable_by=frozenset({"model"}),
        effects="external",
    )

    def __init__(self) -> None:
        self.handlers: Mapping[OpName, Handler] = dict.fromkeys(OPS, self.echo)

    async def echo(self, call: Call) -> OpResult | Unit:
        target = call.statement.target
        assert target is not None
        said = OpResult(status=200, content=f"{type(target).__name__} {canonical(target)}", mimetype="text/plain")

        def unit(_tx: Tx) -> OpResult:
            return said

        return unit


WITHOUT_FILES = {name: scheme for name, scheme in SCHEMES.items() if name != "file"}


async def told_of(bench: Bench) -> list[str]:
    """All that stays in the log and goes to clients, but for the model's own words."""
    rows = await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))
    events = [heard for heard in bench.ear.heard if not isinstance(heard, TurnDelta)]
    return [msgspec.json.encode(told).decode() for told in [*(row for row, _hidden in rows), *events]]


@pytest.mark.spec("2.3-file-scheme-never-shown")
@pytest.mark.parametrize(
    "schemes", [{**SCHEMES, "file": Echo()}, SCHEMES, WITHOUT_FILES], ids=["echo", "files", "none"]
)
async def test_no_text_for_a_model_or_client_has_the_scheme_of_files(
    tmp_path: Path, schemes: Mapping[str, Scheme]
) -> None:
    async with engine_with(tmp_path / "p.db", [ONE_OF_EACH + BROKEN, "<<SEND[200]::SEND"], schemes=schemes) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="look"))
        await bench.engine.loop_end(submitted.loop_id)
        rows = [row for row, _ in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        done = [row for row in rows if row.origin == "model" and row.turn_seq == 1]
        assert [row.pathname for row in done] == [*PATHS, "src/r1", "src/r2%FF", "a"]
        assert [row.scheme for row in done] == ["known" if row.pathname == "a" else None for row in done]
        assert [row.tx["body"] for row in done if row.op in {"COPY", "MOVE"} and row.tx["body"]] == [
            {"kind": "local", "raw": path} for path in BODIES
        ]
        assert [row.status_rx for row in done[-3:]] == [400, 400, 400]
        assert [row.rx.get("error") for row in done[-3:-1]] == [
            "src/r1 has one channel, body; it has no 'nope'",
            "expected UTF-8 in the escapes of src/r2%FF",
        ]
        if isinstance(schemes.get("file"), Echo):
            assert done[1].rx["content"] == "LocalTarget src/a b.md"
        told = await told_of(bench)
        assert len(told) > 2 * len(done)

        # What the second request shows, and what is kept of the first answer beside the model's own words.
        request = "\n".join(message.content for message in bench.model.requests[1].messages)
        assert all(path in request for path in PATHS)
        stored = await bench.engine.store.read(lambda db: turns.packet(db, bench.session.id, done[0].turn_id))
        packet = msgspec.json.decode(stored)
        assert "file://" in packet["assistant"].pop("content")
        del packet["assistantRaw"]
        for text in (*told, request, msgspec.json.encode(packet).decode()):
            assert "file:" not in text


@pytest.mark.spec("2.3-file-scheme-never-shown")
async def test_no_result_for_a_client_has_it_either(tmp_path: Path) -> None:
    statements = [item.statement for item in parse(ONE_OF_EACH + BROKEN).items if isinstance(item, StatementItem)]
    async with engine_with(tmp_path / "p.db", ()) as bench:
        bench.engine.dispatcher._schemes = {**SCHEMES, "file": Echo()}
        client = ClientLoop(bench.engine, bench.run.id)
        results, _turn_id = await client.run(statements)
        await client.close()
        assert [r.status for r in results] == [200, 200, 403, 501, 501, 501, 501, 200, 200, 403, 501, 400, 400, 400]
        assert {r.error for r in results[:-4] if r.error} == {
            "writer 'client' may not write files",
            "there is no COPY of files",
            "there is no MOVE of files",
        }
        for text in [msgspec.json.encode(results).decode(), *await told_of(bench)]:
            assert "file:" not in text


@pytest.mark.spec("2.3-file-scheme-never-shown", "5.2-undo")
async def test_a_version_is_asked_for_with_the_scheme_and_the_row_has_the_bare_path(tmp_path: Path) -> None:
    async with project(tmp_path, {"a b": "x"}) as desk:
        result = await desk.one("<<EDIT(file:///a%20b?version=7)::EDIT")
        assert (result.status, result.error) == (404, "a b has no version 7")
        (row,) = [row for row, _ in await desk.bench.engine.store.read(lambda db: log.of_run(db, desk.bench.run.id))]
        assert (row.scheme, row.pathname, row.params) == (None, "a b", {"version": "7"})
        assert not [told for told in await told_of(desk.bench) if "file:" in told]
