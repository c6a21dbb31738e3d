"""What the model sees of what it did: rows of the log, and the end of an answer that was cut (SPEC 3.3, 3.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.store import channels, entries
from plurnk.store.database import Tx
from plurnk.store.loops import Submission
from tests.support.engines import engine_with

DONE = "<<SEND[200]::SEND"
YOLO = '{"yolo":true,"mode":"act","noWeb":false,"noInteraction":false,"noProposals":false}'


def rows(request: GenerateRequest) -> list[dict[str, Any]]:
    """The meta lines of the log."""
    section = (
        request.messages[0].content.partition("# Plurnk System Log\n")[2].partition("\n\n# Plurnk System Index")[0]
    )
    return [msgspec.json.decode(line[2:]) for line in section.splitlines() if line.startswith("* {")]


async def after(path: Path, said: str) -> GenerateRequest:
    """What a model is sent that has said this in a project with the file ``f.txt``."""
    root = path / "project"
    root.mkdir()
    (root / "f.txt").write_text("hi\n")
    limits = Limits(max_strikes=0)
    async with engine_with(path / "p.db", (said, DONE), limits=limits, project_root=root) as bench:
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go", flags=YOLO))
        with trio.fail_after(30):
            assert (await bench.engine.loop_end(submitted.loop_id)).status == 200
        return bench.model.requests[1]


@pytest.mark.spec("3.4-log-row-shape", "3.4-wire-omits-default-channel")
async def test_where_something_was_carried_is_shown_by_its_canonical_address(tmp_path: Path) -> None:
    said = (
        "<<EDIT(known://a):x:EDIT <<COPY(known:///a):known:///b#body:COPY <<COPY(f.txt):known://c:COPY"
        " <<COPY(known://a):file:///g%20h.txt:COPY <<COPY(known://a):exec://sh-1#stderr:COPY <<MOVE(known://b)::MOVE"
    )
    carried = [row for row in rows(await after(tmp_path, said)) if row["op"] in {"COPY", "MOVE"}]
    assert [(row["target"], row.get("destination"), row["status"]) for row in carried] == [
        ("known://a", "known://b", 201),
        ("f.txt", "known://c", 201),
        ("known://a", "g h.txt", 201),
        ("known://a", "exec://sh-1#stderr", 405),
        ("known://b", None, 200),
    ]


@pytest.mark.spec("3.4-wire-omits-default-channel", "3.4-log-row-shape")
async def test_a_row_says_which_channel_was_read_unless_it_is_the_default_one(tmp_path: Path) -> None:
    """Else what a command says on stderr looks as if it were on stdout."""
    said = (
        "<<READ(exec://sh-1#stderr)::READ <<READ(exec://sh-1#stdout)::READ <<READ(exec://sh-1)::READ"
        " <<READ(known://a#body)::READ"
    )
    async with engine_with(tmp_path / "p.db", ("<<EDIT(known://a):x:EDIT", said, DONE)) as bench:

        def put(tx: Tx) -> None:
            entry = entries.create(tx, bench.session.id, "exec", "sh-1")
            for name, data in (("stdout", b"fine"), ("stderr", b"oh no")):
                channel = channels.create(tx.db, entry.id, name, "text/plain")
                channels.replace(tx.db, channel, data, mimetype="text/plain", tokens=1)

        await bench.engine.store.write(put)
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        with trio.fail_after(30):
            assert (await bench.engine.loop_end(submitted.loop_id)).status == 200
    request = bench.model.requests[2]
    read = [row["target"] for row in rows(request) if row["op"] == "READ"]
    assert read == ["exec://sh-1#stderr", "exec://sh-1", "exec://sh-1", "known://a"]
    assert "<<exec://sh-1#stderr:\n1:\toh no\n:exec://sh-1#stderr\n" in request.messages[0].content
    assert "<<exec://sh-1:\n1:\tfine\n:exec://sh-1\n" in request.messages[0].content


async def test_of_an_answer_that_was_cut_the_whole_statements_are_run(tmp_path: Path) -> None:
    request = await after(tmp_path, "<<EDIT(known://a):x:EDIT <<EDIT(known://b):y:EDI")
    assert [(row["op"], row["target"]) for row in rows(request) if row["origin"] == "model"] == [("EDIT", "known://a")]
    assert "known://b" not in request.messages[0].content
    assert '"kind":"parse_error"' in request.messages[1].content
