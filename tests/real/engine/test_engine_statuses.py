"""Every operation with every status that it can have for a client, one table an operation (SPEC 2.4).

Those of COPY and MOVE with files are in ``test_file_transfers.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from plurnk.engine.limits import Limits
from plurnk.language.ast import OpName
from plurnk.store import log
from tests.support.engines import SCHEMES, Bench, do, put_bytes
from tests.support.projects import Tree, project
from tests.support.spring import Spring

SETUP = (
    "<<EDIT[tag](known://a):one\ntwo\nthree:EDIT <<EDIT(known://b):bee:EDIT <<EDIT(known://j.json):[1,2,3]:EDIT"
    " <<EDIT(known://broken.json):{:EDIT <<EDIT(known://empty)::EDIT <<EDIT(known://hidden):x:EDIT"
    " <<HIDE(known://hidden)::HIDE <<EDIT(known://p.png):x:EDIT <<EDIT(known://long):" + "line\n" * 100 + ":EDIT"
    " <<EDIT(spring://live)::EDIT <<EDIT(spring://live#side):s:EDIT <<SEND[200](spring://live)::SEND <<EDIT(spring://still)::EDIT"
)

FILES: Tree = {"f": "one\ntwo\nthree\n", "p.png": b"\x89PNG\0", "src/none": ""}

STATUSES: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "EDIT": {
        200: (
            "<<EDIT(known://a):x:EDIT",
            "<<EDIT(known://a)<-1>:four:EDIT",
            "<<EDIT[new](known://a)<2>:two:EDIT",
            "<<EDIT(f):x:EDIT",
            "<<EDIT[new](f)<2>:two:EDIT",
        ),
        201: (
            "<<EDIT(known://new):x:EDIT",
            "<<EDIT(known://new)<9>:x:EDIT",
            "<<EDIT(new):x:EDIT",
            "<<EDIT(n/e/w)<9>:x:EDIT",
        ),
        304: (
            "<<EDIT(known://b):bee:EDIT",
            "<<EDIT[tag](known://a)<1>:one:EDIT",
            "<<EDIT(known://empty)::EDIT",
            "<<EDIT(f)<1>:one:EDIT",
        ),
        400: ("<<EDIT(known://):x:EDIT", "<<EDIT(known://a#no):x:EDIT", "<<EDIT(known://broken.json)<1>:1:EDIT"),
        403: ("<<EDIT(log://1/1/1):x:EDIT", "<<EDIT(../f):x:EDIT", "<<EDIT(.git/f):x:EDIT"),
        404: ("<<EDIT(spring://none#side):x:EDIT",),
        405: ("<<EDIT(exec://sh-1):x:EDIT",),
        415: (
            "<<EDIT(known://p.png)<1>:x:EDIT",
            "<<EDIT(known://p.png):x:EDIT",
            "<<EDIT(p.png):x:EDIT",
            "<<EDIT(src):x:EDIT",
        ),
        416: (
            "<<EDIT(known://a)<4>:x:EDIT",
            "<<EDIT(known://a)<3-2>:x:EDIT",
            "<<EDIT(known://j.json)<4>:1:EDIT",
            "<<EDIT(f)<4>:x:EDIT",
        ),
        501: ("<<EDIT(nosuch://a):x:EDIT",),
    },
    "READ": {
        200: (
            "<<READ(known://a)::READ",
            "<<READ[tag](known://a)<2>:t*:READ",
            "<<READ(known://[ab])::READ",
            "<<READ(f)::READ",
        ),
        204: (
            "<<READ(src/none)::READ",
            "<<READ(known://empty)::READ",
            "<<READ(known://a)<-1>::READ",
            "<<READ(known://a):/zzz/:READ",
        ),
        206: ("<<READ(known://long)::READ", "<<READ(known://long):/line/g:READ", "<<READ(known://**)::READ"),
        400: ("<<READ::READ", "<<READ(known://a#no)::READ", "<<READ(log://x)::READ", "<<READ(file:///f#no)::READ"),
        403: ("<<READ(../f)::READ", "<<READ(/etc/passwd)::READ"),
        404: (
            "<<READ(no)::READ",
            "<<READ(known://no)::READ",
            "<<READ[no](known://a)::READ",
            "<<READ(log://9/9/9)::READ",
        ),
        415: (
            "<<READ(p.png)<1>::READ",
            "<<READ(known://a):$.a:READ",
            "<<READ(known://a)://a:READ",
            "<<READ(known://p.png)<1>::READ",
        ),
        416: ("<<READ(f)<4>::READ", "<<READ(known://a)<4>::READ", "<<READ(known://j.json)<2-9>::READ"),
        422: ("<<READ(known://broken.json):$.a:READ",),
        501: ("<<READ(nosuch://a)::READ",),
    },
    "FIND": {
        200: (
            "<<FIND(.)::FIND",
            "<<FIND(zzz):/x/:FIND",
            "<<FIND(known://a)::FIND",
            "<<FIND(known://zzz)::FIND",
            "<<FIND(known://):/bee/:FIND",
        ),
        206: ("<<FIND(known://many/)::FIND", "<<FIND(known://many/)<2-20>::FIND"),
        400: ("<<FIND::FIND", "<<FIND(known://#no):/x/:FIND"),
        403: ("<<FIND(..)::FIND",),
        416: (
            "<<FIND(.)<99>::FIND",
            "<<FIND(known://)<99>::FIND",
        ),
        501: ("<<FIND(nosuch://)::FIND",),
    },
    "SHOW": {
        200: ("<<SHOW(f)::SHOW", "<<SHOW(known://hidden)::SHOW", "<<SHOW(known://h*)::SHOW"),
        304: ("<<SHOW(known://a)::SHOW", "<<SHOW(known://zzz*)::SHOW", "<<SHOW[no](known://)::SHOW"),
        400: ("<<SHOW::SHOW", "<<SHOW(known://a#no)::SHOW"),
        403: ("<<SHOW(../f)::SHOW",),
        404: ("<<SHOW(known://no)::SHOW", "<<SHOW(log://9/9/9)::SHOW", "<<SHOW(no)::SHOW"),
        415: ("<<SHOW(src)::SHOW",),
        416: ("<<SHOW(known://)<99>::SHOW",),
        501: ("<<SHOW(nosuch://a)::SHOW",),
    },
    "HIDE": {
        200: ("<<HIDE(known://a)::HIDE", "<<HIDE[499](spring://live)::HIDE", "<<HIDE(log://1/1/1)::HIDE"),
        304: ("<<HIDE(f)::HIDE", "<<HIDE(known://hidden)::HIDE", "<<HIDE(known://):/zzz/:HIDE"),
        400: ("<<HIDE::HIDE", "<<HIDE[500](known://a)::HIDE", "<<HIDE(log://x)::HIDE"),
        403: ("<<HIDE(../f)::HIDE",),
        404: ("<<HIDE(known://no)::HIDE", "<<HIDE(no)::HIDE"),
        416: ("<<HIDE(known://)<99>::HIDE",),
        501: ("<<HIDE(nosuch://a)::HIDE",),
    },
    "COPY": {
        201: ("<<COPY(known://a):known://c:COPY", "<<COPY(known://j.json)<2>:unknown://c:COPY"),
        304: ("<<COPY(known://a):known://a:COPY",),
        400: ("<<COPY(known://a)::COPY", "<<COPY(known://a#no):known://c:COPY", "<<COPY(known://a):known://:COPY"),
        404: ("<<COPY(known://no):known://c:COPY",),
        405: ("<<COPY(known://a):exec://sh-1:COPY",),
        409: ("<<COPY(known://a):known://b:COPY",),
        415: ("<<COPY(known://p.png)<1>:known://c:COPY", "<<COPY(spring://live):known://c:COPY"),
        416: ("<<COPY(known://a)<9>:known://c:COPY",),
        501: ("<<COPY(known://a):nosuch://c:COPY", "<<COPY(known://a):log://1/1/1:COPY"),
    },
    "MOVE": {
        200: ("<<MOVE(known://a)::MOVE", "<<MOVE(known://a)<1>::MOVE", "<<MOVE(spring://live)::MOVE"),
        201: ("<<MOVE(known://a):known://c:MOVE", "<<MOVE(known://a)<1>:known://c:MOVE"),
        304: ("<<MOVE(known://a):known://a:MOVE",),
        400: ("<<MOVE::MOVE", "<<MOVE(known://a#no):known://c:MOVE"),
        404: ("<<MOVE(known://no)::MOVE", "<<MOVE(known://no):known://c:MOVE"),
        405: ("<<MOVE(known://a):exec://sh-1:MOVE",),
        409: ("<<MOVE(known://a):known://b:MOVE",),
        415: ("<<MOVE(known://p.png)<1>:known://c:MOVE",),
        416: ("<<MOVE(known://a)<9>:known://c:MOVE",),
        501: ("<<MOVE(nosuch://a)::MOVE",),
    },
    "SEND": {
        200: (
            "<<SEND[410](f)::SEND",
            "<<SEND[102]::SEND",
            "<<SEND[410](known://a)::SEND",
            "<<SEND[499](spring://live)::SEND",
        ),
        400: ("<<SEND:no code:SEND", "<<SEND[410](known://a#no)::SEND"),
        403: ("<<SEND[410](log://1/1/1)::SEND",),
        404: ("<<SEND[410](known://no)::SEND", "<<SEND[499](known://no)::SEND", "<<SEND[410](no)::SEND"),
        415: ("<<SEND[410](src)::SEND",),
        409: ("<<SEND[499](f)::SEND", "<<SEND[499](known://a)::SEND", "<<SEND[499](spring://still)::SEND"),
        501: ("<<SEND[200](f):x:SEND", "<<SEND[200](known://a):x:SEND", "<<SEND[200](nosuch://a):x:SEND"),
    },
    "EXEC": {
        400: ("<<EXEC: \n:EXEC",),
        501: ("<<EXEC:true:EXEC", "<<EXEC[python]:1:EXEC"),
    },
}


async def set_up(bench: Bench) -> None:
    """The entries of SETUP, one of them binary, one with a live stream."""
    bench.engine.dispatcher._schemes = {**SCHEMES, "spring": Spring()}
    results = await do(bench, SETUP)
    assert {result.status for result in results} == {200, 201}
    for number in range(20):
        await put_bytes(bench, f"many/{number:02}/" + "x" * 20, b"")
    await put_bytes(bench, "p.png", b"\x89PNG\0", "image/png")


@pytest.mark.spec("2.4-edit-201-200-304", "2.4-show-hide-304", "2.4-copy-statuses", "2.4-every-op-one-row")
@pytest.mark.parametrize(
    ("statement", "status"),
    [(statement, status) for table in STATUSES.values() for status, ways in table.items() for statement in ways],
)
async def test_a_statement_has_its_status_and_one_row(tmp_path: Path, statement: str, status: int) -> None:
    async with project(tmp_path, FILES, limits=Limits(read_max_chars=300)) as desk:
        bench = desk.bench
        await set_up(bench)
        before = await bench.engine.store.read(lambda db: len(log.of_run(db, bench.run.id)))
        result = await desk.one(statement)
        assert (result.status, result.error is not None) == (status, status >= 400)
        rows = [row for row, _hidden in await bench.engine.store.read(lambda db: log.of_run(db, bench.run.id))]
        assert len(rows) == before + 1
        assert (rows[-1].status_rx, rows[-1].rx) == (status, msgspec.to_builtins(result))


def test_the_tables_are_of_the_operation_that_they_stand_under() -> None:
    assert sorted(STATUSES) == sorted(get_args(OpName))
    for op, table in STATUSES.items():
        assert all(way.startswith(f"<<{op}") for ways in table.values() for way in ways), op
