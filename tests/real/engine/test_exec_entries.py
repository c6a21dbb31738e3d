"""exec://: entries that are read, hidden, copied from, sent to, and never edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from plurnk.store import channels, entries
from plurnk.store.database import Tx
from tests.support.engines import Bench, do, engine_with


async def a_command_was_run(bench: Bench) -> None:
    def unit(tx: Tx) -> None:
        entry = entries.create(tx, bench.session.id, "exec", "sh-1")
        for name, data in (("stdout", b"one\ntwo\n"), ("stderr", b"oh\n"), ("stdin", b"")):
            channels.append(tx.db, channels.create(tx.db, entry.id, name, "text/plain", "closed"), data, tokens=0)

    await bench.engine.store.write(unit)


@pytest.mark.spec("2.3-exec-edit-405")
@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("<<EDIT(exec://sh-1):x:EDIT", 405),
        ("<<EDIT(exec://sh-1#stdout):x:EDIT", 405),
        ("<<EDIT(exec://sh-1#stderr)<1>:x:EDIT", 405),
        ("<<EDIT(exec://sh-1#stdin):x:EDIT", 405),
        ("<<EDIT(exec://new):x:EDIT", 405),
        ("<<COPY(known://a):exec://new:COPY", 405),
        ("<<COPY(known://a):exec://sh-1:COPY", 405),
        ("<<MOVE(known://a):exec://sh-1#stdin:MOVE", 405),
        ("<<MOVE(exec://sh-1)<1>:known://b:MOVE", 405),
        ("<<MOVE(exec://sh-1)<1>::MOVE", 405),
    ],
)
async def test_nothing_edits_what_a_command_wrote(tmp_path: Path, statement: str, status: int) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await a_command_was_run(bench)
        await do(bench, "<<EDIT(known://a):a:EDIT")
        (refused,) = await do(bench, statement)
        assert (refused.status, refused.error) == (status, "exec:// cannot be edited")
        out, error, known, found = await do(
            bench,
            "<<READ(exec://sh-1)::READ <<READ(exec://sh-1#stderr)::READ <<READ(known://a)::READ <<FIND(exec://)::FIND",
        )
        assert [out.content, error.content, known.content] == ["one\ntwo\n", "oh\n", "a"]
        assert found.results == "exec://sh-1"


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("<<READ(exec://sh-1)<-2>::READ", 416),
        ("<<READ(exec://sh-1)<2>::READ", 200),
        ("<<READ(exec://sh-1#nope)::READ", 400),
        ("<<SHOW(exec://sh-1)::SHOW", 200),
        ("<<HIDE(exec://sh-1)::HIDE", 304),
        ("<<COPY(exec://sh-1):known://b:COPY", 415),
        ("<<COPY(exec://sh-1#stdout):known://b:COPY", 201),
        ("<<COPY(exec://sh-1)<2>:known://b:COPY", 201),
        ("<<MOVE(exec://sh-1#stdout):known://b:MOVE", 201),
        ("<<MOVE(exec://sh-1)::MOVE", 200),
        ("<<SEND[410](exec://sh-1)::SEND", 200),
        ("<<SEND[499](exec://sh-1)::SEND", 409),
        ("<<SEND[200](exec://sh-1):y:SEND", 409),
        ("<<SEND[200](exec://sh-1#stdout):y:SEND", 400),
        ("<<SEND[200](exec://sh-2):y:SEND", 404),
        ("<<SEND[204](exec://sh-1)::SEND", 409),
        ("<<SEND[204](exec://sh-1):y:SEND", 400),
        ("<<SEND[302](exec://sh-1):y:SEND", 501),
        ("<<EXEC::EXEC", 400),
        ("<<EXEC: \n:EXEC", 400),
        ("<<EXEC[python](src)::EXEC", 400),
        ("<<EXEC[perl]:1:EXEC", 501),
        ("<<EXEC(known://script)::EXEC", 404),
        ("<<EXEC(exec://sh-1)::EXEC", 400),
        ("<<EXEC(exec://sh-1):true:EXEC", 400),
    ],
)
async def test_operations_on_what_a_command_wrote(tmp_path: Path, statement: str, status: int) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await a_command_was_run(bench)
        (result,) = await do(bench, statement)
        assert result.status == status
