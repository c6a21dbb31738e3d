"""Files that are text but not UTF-8: what happens to their bytes is shown, and none is lost unseen (SPEC 2.5, 5.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.projects import project, read_tree

LATIN = b"caf\xe9\nthe\n"
AS_READ = LATIN.decode("utf-8", "replace")


async def test_who_writes_back_what_was_read_is_seen_to_change_every_such_line(tmp_path: Path) -> None:
    """To a model the bytes are U+FFFD: a text with that in it looks the same, and is not."""
    async with project(tmp_path, {"latin": LATIN}) as desk:
        assert (await desk.one("<<READ(latin)::READ")).content == AS_READ
        same, more = await desk.do(f"<<EDIT(latin):{AS_READ}:EDIT <<EDIT(latin):{AS_READ}end\n:EDIT", "reject")
        assert [same.status, more.status] == [400, 400]
        changed = "-caf\\xe9\n+caf\ufffd\n the\n"
        assert [told.body.partition("@@\n")[2] for told in desk.shown] == [changed, changed + "+end\n"]
        assert read_tree(desk.root) == {"latin": LATIN}
        made = await desk.one(f"<<EDIT(latin):{AS_READ}:EDIT")
        assert (made.diff or "").endswith(changed), "the model is told, too"


async def test_lines_that_are_moved_out_of_it_are_shown_as_text(tmp_path: Path) -> None:
    async with project(tmp_path, {"latin": LATIN}) as desk:
        await desk.do("<<MOVE(latin)<2>:new:MOVE <<MOVE(latin)<1>::MOVE")
        moved, deleted = desk.shown
        assert moved.body.endswith("--- a/latin\n+++ b/latin\n@@ -1,2 +1 @@\n caf\\xe9\n-the\n")
        assert deleted.body == "--- a/latin\n+++ b/latin\n@@ -1 +0,0 @@\n-caf\\xe9\n"
        assert read_tree(desk.root) == {"latin": b"", "new": b"the"}


@pytest.mark.spec("2.5-json-items")
@pytest.mark.parametrize(
    "statement",
    [
        '<<EDIT(l.json)<2>:{"b":3}:EDIT',
        "<<EDIT(l.json)<2>::EDIT",
        "<<MOVE(l.json)<2>::MOVE",
        "<<MOVE(l.json)<2>:new.json:MOVE",
        "<<COPY(l.json)<1>:new.json:COPY",
        "<<COPY(l.json)<1>:known://new.json:COPY",
    ],
)
async def test_of_json_that_is_not_utf8_no_item_is_written(tmp_path: Path, statement: str) -> None:
    """The rest would be written anew, with U+FFFD where its bytes were."""
    async with project(tmp_path, {"l.json": b'{"a": "caf\xe9", "b": 2}'}) as desk:
        result = await desk.one(statement)
        assert (result.status, result.error) == (400, "content is not JSON: it is not UTF-8 (byte 10)")
        assert not desk.shown
        assert read_tree(desk.root) == {"l.json": b'{"a": "caf\xe9", "b": 2}'}
