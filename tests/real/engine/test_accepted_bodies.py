"""A proposal that is accepted with another body: a diff that is applied, or the whole new text (SPEC 5.2)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from plurnk.engine import proposals
from plurnk.engine.asked import Asked, misfit
from plurnk.errors import PlurnkError
from plurnk.store import log
from plurnk.store.loops import Submission
from plurnk.wire.notifications import LoopProposal
from tests.support.desk import until
from tests.support.engines import do, engine_with
from tests.support.projects import Desk, project, read_tree

NO_NEWLINE = "\\ No newline at end of file\n"

# What the file holds, the hunk that somebody sends for it, what it makes of it; LF here, CRLF by the test.
HUNKS = {
    "in the middle": ("one\ntwo\nthree\n", "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", "one\n2\nthree\n"),
    "the last line": ("one\ntwo\n", "@@ -2 +2 @@\n-two\n+2\n", "one\n2\n"),
    "the last line, which has no end": (
        "one\ntwo",
        f"@@ -2 +2 @@\n-two\n{NO_NEWLINE}+2\n{NO_NEWLINE}",
        "one\n2",
    ),
    "an end for the last line": ("one\ntwo", f"@@ -2 +2 @@\n-two\n{NO_NEWLINE}+two\n", "one\ntwo\n"),
    "no end for the last line": ("one\ntwo\n", f"@@ -2 +2 @@\n-two\n+two\n{NO_NEWLINE}", "one\ntwo"),
    "a line behind the last": ("one\ntwo\n", "@@ -2,0 +3 @@\n+three\n", "one\ntwo\nthree\n"),
    "nothing is left": ("one\n", "@@ -1 +0,0 @@\n-one\n", ""),
}


async def accepted(desk: Desk, base: str, statement: str, body: str) -> bytes:
    """What ``a``, which holds ``base``, holds when the statement's proposal was accepted with that body."""
    (desk.root / "a").write_bytes(base.encode())
    desk.answers.clear()
    result = await desk.one(statement, body=body)
    assert [answer.status for answer in desk.answers] == [result.status] == [200], result.error
    return (desk.root / "a").read_bytes()


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize("sent_as", ["\n", "\r\n"], ids=["sent with lf", "sent with crlf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
async def test_a_diff_without_headers_is_applied_and_keeps_the_files_line_ends(
    tmp_path: Path, end: str, sent_as: str
) -> None:
    async with project(tmp_path, {}) as desk:
        for case, (base, hunk, made) in HUNKS.items():
            sent = hunk.replace("\n", sent_as)
            found = await accepted(desk, base.replace("\n", end), "<<EDIT(a):what the model wanted:EDIT", sent)
            assert found == made.replace("\n", end).encode(), case


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize("base", ["one\ntwo\n", "one\ntwo", "one\r\ntwo\r\n", "one\r\ntwo"])
async def test_a_whole_text_is_written_to_the_letter(tmp_path: Path, base: str) -> None:
    async with project(tmp_path, {}) as desk:
        for text in ("x\ny\n", "x\ny", "x\r\ny\r\n", "x\r\ny", "\n", "", "--- \n", "@ -1\n", " @@ -1\n"):
            found = await accepted(desk, base, "<<EDIT(a)<2>:what the model wanted:EDIT", text)
            assert found == text.encode()


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize("base", ["one\ntwo\n", "one\ntwo", "one\r\ntwo\r\n", "one\r\ntwo", ""])
async def test_what_was_shown_may_be_sent_back_edited_or_as_it_was(tmp_path: Path, base: str) -> None:
    async with project(tmp_path, {"a": base}) as desk:
        edit = "<<EDIT(a):one\nnew\nlast:EDIT"
        await desk.one(edit, "reject")
        shown = desk.shown[0].body
        assert await accepted(desk, base, edit, shown.replace("+new", "+newer")) == b"one\nnewer\nlast"
        assert await accepted(desk, base, edit, shown) == b"one\nnew\nlast"


@pytest.mark.spec("5.2-accept-body-diff-or-text")
async def test_a_new_file_may_be_edited_too(tmp_path: Path) -> None:
    async with project(tmp_path, {}) as desk:
        as_diff, as_text = await desk.do("<<EDIT(a):x:EDIT", body="@@ -0,0 +1 @@\n+from a diff\n") + await desk.do(
            "<<EDIT(b):x:EDIT", body="whole"
        )
        assert [as_diff.status, as_text.status] == [201, 201]
        assert read_tree(desk.root) == {"a": b"from a diff\n", "b": b"whole"}


@pytest.mark.spec("5.2-accept-body-diff-or-text", "5.3-first-wins")
async def test_a_body_that_does_not_fit_leaves_it_open_until_one_does(tmp_path: Path) -> None:
    async with project(tmp_path, {"a": "one\ntwo\n"}) as desk, trio.open_nursery() as asking:
        asking.start_soon(do, desk.bench, "<<EDIT(a)<2>:2:EDIT")
        waiting, session_id = desk.bench.engine.proposals, desk.bench.session.id
        await until(lambda: bool(waiting.pending(session_id)))
        (pending,) = waiting.pending(session_id)
        row_id = pending.told.log_entry_id
        for body in ("@@ -2 +2 @@\n-zwei\n+2\n", "@@ -9 +9 @@\n-two\n+2\n", "@@ -1\n-one\n", "@@ -2 +2 @@\n*two\n"):
            answer = await waiting.resolve(session_id, row_id, "accept", body=body)
            assert answer.status == 400
            assert answer.error is not None
            assert answer.error.endswith("; it is still open")
            assert waiting.pending(session_id) == (pending,)
            assert read_tree(desk.root) == {"a": b"one\ntwo\n"}
        answer = await waiting.resolve(session_id, row_id, "accept", body="@@ -2 +2 @@\n-two\n+zwei\n")
        assert (answer.status, answer.outcome) == (200, None)
        assert read_tree(desk.root) == {"a": b"one\nzwei\n"}
        ((row, _hidden),) = await desk.bench.engine.store.read(lambda db: log.of_run(db, desk.bench.run.id))
        assert (row.id, row.state, row.status_rx) == (row_id, "resolved", 200)


@pytest.mark.spec("5.2-accept-body-diff-or-text", "5.3-durable")
async def test_it_stays_open_also_where_the_daemon_has_just_been_started(tmp_path: Path) -> None:
    """Its loop has not gone on yet, and until then nobody can tell whether a body fits."""
    file = tmp_path / "a"
    file.write_text("one\n")
    async with engine_with(tmp_path / "p.db", ["<<EDIT(a):x:EDIT"], project_root=tmp_path) as bench:
        session_id = bench.session.id
        await bench.engine.submit(bench.run.id, Submission(prompt="go"))
        await until(lambda: bool(bench.engine.proposals.pending(session_id)))
        bench.engine.refuse_prompts()
        await bench.engine.drain()
    async with engine_with(tmp_path / "p.db", ["<<SEND[200]::SEND"]) as bench:
        await bench.engine.resume(resume=True)
        (pending,) = bench.engine.proposals.pending(session_id)
        row_id, resolve = pending.told.log_entry_id, bench.engine.proposals.resolve
        refused = await resolve(session_id, row_id, "accept", body="@@ -1 +1 @@\n-zwei\n+2\n")
        assert (refused.status, refused.outcome) == (400, None)
        assert bench.engine.proposals.pending(session_id) == (pending,)
        assert (await resolve(session_id, row_id, "accept", body="@@ -1 +1 @@\n-one\n+2\n")).status == 200
        assert file.read_text() == "2\n"


@pytest.mark.spec("5.3-first-wins")
async def test_nobody_is_told_that_it_is_open_when_somebody_has_decided_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with project(tmp_path, {"a": "one\n"}) as desk, trio.open_nursery() as asking:
        asking.start_soon(do, desk.bench, "<<EDIT(a):2:EDIT")
        resolve, session_id = desk.bench.engine.proposals.resolve, desk.bench.session.id
        await until(lambda: bool(desk.bench.engine.proposals.pending(session_id)))
        row_id = desk.bench.engine.proposals.pending(session_id)[0].told.log_entry_id

        async def rejected_meanwhile(asked: Asked | None, told: LoopProposal, body: str) -> PlurnkError | None:
            assert (await resolve(session_id, row_id, "reject")).status == 400
            return await misfit(asked, told, body)

        monkeypatch.setattr(proposals, "misfit", rejected_meanwhile)
        answer = await resolve(session_id, row_id, "accept", body="@@ -1 +1 @@\n-zwei\n+2\n")
        assert (answer.status, answer.outcome) == (409, "rejected")
