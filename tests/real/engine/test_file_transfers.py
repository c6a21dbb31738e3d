"""COPY and MOVE with a file at either end: the statuses of SPEC 2.4, and nothing written that nobody accepted."""

from __future__ import annotations

import re
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from plurnk.plugins.api import EntryContent, TurnRef, Tx
from plurnk.schemes.entries import EntryScheme
from plurnk.schemes.notes import known
from plurnk.store import entries
from plurnk.store.query import Snapshot
from tests.support.engines import SCHEMES, do, indexed, put_bytes
from tests.support.projects import Desk, Tree, project, read_tree
from tests.support.spring import Spring

TREE: Tree = {"a.txt": "one\ntwo\nthree\n", "b": "bee", "j.json": "[1, 2, 3]", "p.png": b"\x89PNG\0", "d/x": "x"}

SETUP = (
    "<<EDIT[tag](known://a):one\ntwo\nthree:EDIT <<EDIT(known://b):bee:EDIT <<EDIT(known://j.json):[1,2,3]:EDIT"
    " <<EDIT(spring://live)::EDIT <<EDIT(spring://live#side):s:EDIT <<SEND[200](spring://live)::SEND"
)

STATUSES = {
    "<<COPY(a.txt):known://new:COPY": 201,
    "<<COPY(a.txt)<2>:known://new:COPY": 201,
    "<<COPY(a.txt):c/d/e.txt:COPY": 201,
    "<<COPY(known://a):new:COPY": 201,
    "<<COPY(spring://live#side):new:COPY": 201,
    "<<COPY(known://a):a.txt:COPY": 409,
    "<<COPY(known://b):b:COPY": 304,
    "<<COPY(b):known://b:COPY": 304,
    "<<COPY(b):b:COPY": 304,
    "<<COPY[t](b):b:COPY": 409,
    "<<COPY(a.txt):b:COPY": 409,
    "<<COPY(a.txt):known://a:COPY": 409,
    "<<COPY(no):known://new:COPY": 404,
    "<<COPY(no):new:COPY": 404,
    "<<COPY(known://no):new:COPY": 404,
    "<<COPY(known://a#no):new:COPY": 400,
    "<<COPY(a.txt)::COPY": 400,
    "<<COPY(a.txt):known://:COPY": 400,
    "<<COPY(a.txt):exec://sh-1:COPY": 405,
    "<<COPY(a.txt):d:COPY": 415,
    "<<COPY(d):new:COPY": 415,
    "<<COPY(spring://live):new:COPY": 415,
    "<<COPY(p.png)<1>:new:COPY": 415,
    "<<COPY(a.txt)<9>:new:COPY": 416,
    "<<COPY(a.txt)<0>:new:COPY": 416,
    "<<COPY(a.txt):nosuch://x:COPY": 501,
    "<<COPY(a.txt):log://1/1/1:COPY": 501,
    "<<MOVE(a.txt)::MOVE": 200,
    "<<MOVE(a.txt)<1>::MOVE": 200,
    "<<MOVE(a.txt):known://new:MOVE": 201,
    "<<MOVE(a.txt)<1>:known://new:MOVE": 201,
    "<<MOVE(known://a):new:MOVE": 201,
    "<<MOVE(a.txt):new:MOVE": 201,
    "<<MOVE(b):b:MOVE": 304,
    "<<MOVE(a.txt):b:MOVE": 409,
    "<<MOVE(spring://live#side):new:MOVE": 201,
    "<<MOVE(spring://live#out):new:MOVE": 409,
    "<<MOVE(no)::MOVE": 404,
    "<<MOVE(a.txt)<9>::MOVE": 416,
    "<<MOVE(a.txt):plurnk://prompt/1:MOVE": 201,
}


class Late(EntryScheme):
    """Notes that change between the second and the third look: shown, worked out again, recorded."""

    reads = 0

    def read_entry(self, tx: Tx, turn: TurnRef, pathname: str) -> EntryContent | None:
        self.reads += 1
        found = super().read_entry(tx, turn, pathname)
        if found is None or self.reads < 3:
            return found
        changed = replace(found.channels["body"], data=b"changed")
        return replace(found, channels={"body": changed})


async def set_up(desk: Desk) -> None:
    desk.bench.engine.dispatcher._schemes = {**SCHEMES, "spring": Spring()}
    await do(desk.bench, SETUP)


async def note(desk: Desk, path: str) -> str | None:
    """The content of ``known://path``."""
    result = await desk.one(f"<<READ(known://{path})::READ")
    return None if result.status == 404 else result.content


@pytest.mark.spec("2.4-copy-statuses")
@pytest.mark.parametrize(("statement", "status"), STATUSES.items())
async def test_a_transfer_has_its_status_and_only_what_writes_files_is_shown(
    tmp_path: Path, statement: str, status: int
) -> None:
    async with project(tmp_path, TREE) as desk:
        await set_up(desk)
        before = read_tree(desk.root)
        result = await desk.one(statement)
        assert (result.status, result.error is not None) == (status, status >= 400)
        is_into_store = re.search(r"[)>]:\w+://", statement) is not None
        writes = status in {200, 201} and not (statement.startswith("<<COPY") and is_into_store)
        assert len(desk.shown) == writes
        assert (read_tree(desk.root) != before) is writes


@pytest.mark.spec("2.4-copy-statuses")
@pytest.mark.parametrize("decision", ["reject", "cancel"])
@pytest.mark.parametrize("statement", [statement for statement, status in STATUSES.items() if status in {200, 201}])
async def test_what_is_not_accepted_has_no_effect(tmp_path: Path, statement: str, decision: str) -> None:
    async with project(tmp_path, TREE) as desk:
        await set_up(desk)
        files = read_tree(desk.root)
        notes = await desk.bench.engine.store.read(lambda db: _everything(db, desk))
        await desk.do(statement, decision)  # type: ignore[arg-type]  # it is one of these
        if desk.shown:
            assert read_tree(desk.root) == files
            assert await desk.bench.engine.store.read(lambda db: _everything(db, desk)) == notes


def _everything(db: Snapshot, desk: Desk) -> list[tuple[int, str | None, str]]:
    found = [
        entry
        for scheme in (None, "known", "spring")
        for entry in entries.listing(db, desk.bench.session.id, scheme, "")
    ]
    return [(entry.id, entry.scheme, entry.pathname) for entry in found]


@pytest.mark.spec("2.4-copy-tags")
async def test_between_notes_and_files(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await set_up(desk)
        await desk.do(
            "<<COPY(known://a):one.md:COPY <<COPY[x,y](known://a)<2>:two.md:COPY <<COPY(one.md):known://back:COPY"
            " <<MOVE(known://j.json)<2>:item.json:MOVE <<MOVE(known://b):moved:MOVE"
        )
        files = read_tree(desk.root)
        assert (files["one.md"], files["two.md"]) == (b"one\ntwo\nthree", b"two")
        assert (files["item.json"], files["moved"]) == (b"[\n  2\n]", b"bee")
        assert await desk.tags("one.md") == ("tag",)
        assert await desk.tags("two.md") == ("x", "y")
        assert (await note(desk, "back"), await note(desk, "b")) == ("one\ntwo\nthree", None)
        assert await note(desk, "j.json") == "[\n  1,\n  3\n]"
        assert {"one.md", "two.md", "item.json", "moved"} <= set(await indexed(desk.bench))
        assert [told.attrs["op"] for told in desk.shown] == ["create"] * 4


@pytest.mark.spec("2.4-copy-tags")
async def test_from_files_to_notes(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await desk.do("<<EDIT[t](b)<1>:bee:EDIT")
        await desk.do("<<MOVE(b):known://b:MOVE <<MOVE(a.txt)<2-3>:known://rest:MOVE <<COPY(p.png):known://p.png:COPY")
        assert read_tree(desk.root) == {"a.txt": b"one\n", "d/x": b"x", "j.json": b"[1, 2, 3]", "p.png": TREE["p.png"]}
        assert (await note(desk, "b"), await note(desk, "rest")) == ("bee", "two\nthree")
        assert (await desk.one("<<READ[t](known://b)::READ")).status == 200
        assert await desk.entry("b") is None
        gone, edited = desk.shown
        assert (gone.attrs["op"], gone.attrs["to"], gone.attrs["path"]) == ("delete", "known://b", "b")
        assert (edited.attrs["op"], edited.attrs["patched"]) == ("edit", "one\n")
        assert edited.body == "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1 @@\n one\n-two\n-three\n"


async def test_from_file_to_file(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        (desk.root / "b").chmod(0o750)
        await desk.do("<<COPY(b):new/c:COPY <<MOVE(b):e:MOVE <<MOVE(a.txt)<1>:first:MOVE <<MOVE(p.png):q.png:MOVE")
        files = read_tree(desk.root)
        assert {path: files[path] for path in ("new/c", "e", "first", "a.txt", "q.png")} == {
            "new/c": b"bee",
            "e": b"bee",
            "first": b"one",
            "a.txt": b"two\nthree\n",
            "q.png": TREE["p.png"],
        }
        assert "b" not in files
        assert "p.png" not in files
        modes = {stat.S_IMODE((desk.root / path).stat().st_mode) for path in ("new/c", "e")}
        assert modes == {0o750}
        copy, move, part, binary = desk.shown
        digest = sha256(b"bee").hexdigest()
        assert copy.body == "diff --git a/b b/new/c\ncopy from b\ncopy to new/c\n"
        assert {**copy.attrs, "digest": None} == {
            "path": "new/c",
            "op": "copy",
            "from": "b",
            "fromBase": digest,
            "base": None,
            "patched": "bee",
            "patchedSha256": digest,
            "created": True,
            "digest": None,
        }
        assert (move.attrs["op"], move.body) == ("move", "diff --git a/b b/e\nrename from b\nrename to e\n")
        assert part.body == (
            "--- /dev/null\n+++ b/first\n@@ -0,0 +1 @@\n+one\n\\ No newline at end of file\n"
            "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,2 @@\n-one\n two\n three\n"
        )
        assert (binary.attrs["patched"], binary.attrs["op"]) == (None, "move")


async def test_an_edited_copy_is_what_is_written_and_the_note_goes_all_the_same(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await set_up(desk)
        (result,) = await desk.do("<<MOVE(known://b):bees:MOVE", body="many bees\n")
        assert (result.status, read_tree(desk.root)["bees"], await note(desk, "b")) == (201, b"many bees\n", None)
        assert "+many bees\n" in (result.diff or ""), "who moved it is told what is there instead"
        as_it_was = await desk.one("<<COPY(known://a):as.md:COPY")
        assert (as_it_was.status, as_it_was.diff) == (201, None)


async def test_a_move_is_accepted_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        (result,) = await desk.do("<<MOVE(b):e:MOVE", body="other")
        assert (result.status, [answer.status for answer in desk.answers]) == (400, [400])
        assert "only be accepted as it was proposed" in (desk.answers[0].error or "")
        assert read_tree(desk.root) == {path: c.encode() if isinstance(c, str) else c for path, c in TREE.items()}


@pytest.mark.spec("2.4-move-atomic", "5.2-cas-409")
async def test_a_note_that_changed_while_it_was_moved_is_left_alone(tmp_path: Path) -> None:
    """After it was worked out again, at the last moment before it is recorded."""
    async with project(tmp_path, TREE) as desk:
        await put_bytes(desk.bench, "n", b"shown", "text/markdown")
        store, late = desk.bench.engine.store, Late(known.manifest)
        desk.bench.engine.dispatcher._schemes = {**SCHEMES, "known": late}
        result = await desk.one("<<MOVE(known://n):new:MOVE")
        assert (late.reads, result.status) == (3, 409)
        assert not (desk.root / "new").exists()
        assert await note(desk, "n") == "shown"
        assert await store.read(lambda db: entries.find(db, desk.bench.session.id, None, "new")) is None


@pytest.mark.spec("2.4-delete-cancels-stream")
async def test_what_still_grows_is_not_moved_to_a_file_and_goes_on(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await set_up(desk)
        result = await desk.one("<<MOVE(spring://live#out):new:MOVE")
        assert (result.status, result.error) == (409, "a live stream writes spring://live; cancel it first")
        assert (await desk.one("<<SEND[499](spring://live)::SEND")).status == 200, "it was live all the time"
