"""The operations on bare paths: they read the disk, and write it only when somebody has accepted that (SPEC 2.4, 5)."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.store import log
from plurnk.store.loops import Submission
from plurnk.wire.results import OpResult
from tests.support.engines import do, engine_with, indexed
from tests.support.projects import Tree, project, read_tree, write_tree

TREE: Tree = {
    "README.md": "# Title\n\ntext\n",
    "src/main.py": "def main():\n    return 1\n",
    "src/util.py": "def helper():\n    return 2\n",
    "src/deep/x.json": '{"a": [1, 2]}',
    "Makefile": "all:\n\ttrue\n",
    "tool": b"\x7fELF\0\1\2",
    "logo.png": b"\x89PNG\0",
    "latin": b"caf\xe9\nthe\n",
    "empty": "",
    "app/[id].ts": "export {}\n",
}


def paths(result: OpResult) -> list[str]:
    return (result.results or "").split("\n") if result.results else []


# -- without a project


async def test_without_a_root_every_operation_is_refused(tmp_path: Path) -> None:
    said = "session has no project_root; set one with session.set_root"
    async with engine_with(tmp_path / "p.db", ()) as bench:
        results = await do(
            bench,
            "<<FIND(src)::FIND <<READ(a)::READ <<EDIT(a):x:EDIT <<SHOW(a)::SHOW <<HIDE(a)::HIDE <<SEND[410](a)::SEND"
            " <<COPY(a):b:COPY <<MOVE(a)::MOVE <<COPY(a):known://a:COPY",
        )
        assert {(r.status, r.error) for r in results} == {(400, said)}


async def test_a_root_that_is_gone_is_a_404(tmp_path: Path) -> None:
    async with project(tmp_path, {}) as desk:
        desk.root.rmdir()
        results = await desk.do("<<FIND(.)::FIND <<READ(a)::READ <<EDIT(a):x:EDIT <<COPY(a):b:COPY")
        assert [r.status for r in results] == [404] * 4


# -- READ


@pytest.mark.spec("2.3-mimetype-by-path", "2.3-binary-415")
async def test_read_reads_the_disk(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        results = await desk.do(
            "<<READ(src/main.py)::READ <<READ(./src/../src//main.py)<2>::READ <<READ(src/deep/x.json)<1>::READ"
            " <<READ(latin)::READ <<READ(empty)::READ <<READ(src)::READ <<READ(.)::READ"
            f" <<READ(src/main.py):/def (\\w+)/:READ <<READ({desk.root}/Makefile)<1>::READ"
        )
        assert [r.status for r in results] == [200, 200, 200, 200, 204, 200, 200, 200, 200]
        assert [r.content for r in results] == [
            "def main():\n    return 1\n",
            "    return 1",
            '[\n  {\n    "a": [\n      1,\n      2\n    ]\n  }\n]',
            "caf�\nthe\n",
            "",
            "deep/\nmain.py\nutil.py\n",
            "Makefile\nREADME.md\napp/\nempty\nlatin\nlogo.png\nsrc/\ntool\n",
            '[{"line":1,"matched":["main"]}]',
            "all:",
        ]
        assert [r.mimetype for r in results[:4]] == ["text/x-python", "text/x-python", "application/json", "text/plain"]
        (desk.root / "src/main.py").write_text("changed")
        assert (await desk.one("<<READ(src/main.py)::READ")).content == "changed"


@pytest.mark.spec("2.3-binary-415")
@pytest.mark.parametrize("path", ["tool", "logo.png"])
async def test_a_binary_file_is_told_by_type_and_size(tmp_path: Path, path: str) -> None:
    async with project(tmp_path, TREE) as desk:
        whole, lines, matched, edited = await desk.do(
            f"<<READ({path})::READ <<READ({path})<1>::READ <<READ({path}):/E/:READ <<EDIT({path}):x:EDIT"
        )
        kind = "image/png, 5 bytes" if path == "logo.png" else "application/octet-stream, 7 bytes"
        assert (whole.status, whole.content) == (200, kind)
        assert [lines.status, matched.status, edited.status] == [415, 415, 415]
        assert not desk.shown


async def test_read_of_what_is_no_file(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        os.mkfifo(desk.root / "pipe")
        results = await desk.do(
            "<<READ(pipe)::READ <<READ(nope)::READ <<READ(src/main.py/x)::READ <<READ(src/main.py)<9>::READ"
            " <<READ(src/main.py):$.a:READ <<READ[t](README.md)::READ"
        )
        assert [r.status for r in results] == [415, 404, 404, 416, 415, 404]


@pytest.mark.spec("2.4-read-glob")
async def test_a_glob_reads_what_it_matches_and_the_path_spelled_just_so(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        many, exact, none, matched = await desk.do(
            "<<READ(src/**/*.py)::READ <<READ(app/[id].ts)::READ <<READ(*.rb)::READ <<READ(**):/return/:READ"
        )
        assert many.content == (
            "<<src/main.py:\n1:\tdef main():\n2:\t    return 1\n:src/main.py\n"
            "<<src/util.py:\n1:\tdef helper():\n2:\t    return 2\n:src/util.py"
        )
        assert (exact.status, exact.content) == (200, "export {}\n")
        assert none.status == 204
        assert (matched.matches, "src/util.py" in (matched.content or "")) == (2, True)


async def test_what_was_read_is_registered_but_not_indexed(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await desk.do("<<READ(src/../README.md)::READ <<READ(src)::READ <<READ(nope)::READ <<READ(src/*.py)::READ")
        known = [path for path in ("README.md", "src", "nope", "src/main.py", "src/util.py") if await desk.entry(path)]
        assert known == ["README.md", "src/main.py", "src/util.py"]
        assert await indexed(desk.bench) == []


# -- FIND


@pytest.mark.spec("2.4-find-order-and-page")
async def test_find_names_files(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:

        async def found(text: str) -> list[str]:
            return paths(await desk.one(text))

        everything = sorted(TREE)
        for scope in (".", "./", "src/..", str(desk.root)):
            assert await found(f"<<FIND({scope})::FIND") == everything
        assert await found("<<FIND(src/)::FIND") == ["src/deep/x.json", "src/main.py", "src/util.py"]
        assert await found("<<FIND(src/m)::FIND") == ["src/main.py"]
        assert await found("<<FIND(**/*.py)::FIND") == ["src/main.py", "src/util.py"]
        assert await found(f"<<FIND({desk.root}/src/*.py)::FIND") == ["src/main.py", "src/util.py"]
        assert await found("<<FIND(.):*.md:FIND") == ["README.md"]
        assert await found("<<FIND(app/[id].ts)::FIND") == ["app/[id].ts"]
        assert await found("<<FIND(.)<2-3>::FIND") == everything[1:3]
        assert await found("<<FIND(zzz)::FIND") == []
        assert (await desk.one("<<FIND(.)<99>::FIND")).status == 416


@pytest.mark.spec("2.4-find-content-dialects", "5.1-find-honours-gitignore")
async def test_find_looks_into_files_and_says_what_it_passed_over(tmp_path: Path) -> None:
    big = b"return\n" + b"x" * (10 * 1024 * 1024)
    async with project(tmp_path, {**TREE, "big.txt": big}) as desk:
        found = await desk.one("<<FIND(.):/return/:FIND")
        assert paths(found) == ["src/main.py", "src/util.py"]
        assert found.content == "src/main.py\nsrc/util.py\n… 3 files passed over: 2 binary, 1 over 10 MiB"
        assert found.matches == 2
        nothing = await desk.one("<<FIND(logo.png):/x/:FIND")
        assert (nothing.results, nothing.content) == ("", "… 1 file passed over: 1 binary")
        json = await desk.one("<<FIND(.):$.a:FIND")
        assert (paths(json), json.content) == (["src/deep/x.json"], "src/deep/x.json"), (
            "of no other type are they asked"
        )


async def test_find_says_what_cannot_be_named(tmp_path: Path) -> None:
    async with project(tmp_path, {"a": "x"}) as desk:
        (desk.root / os.fsdecode(b"\xff")).write_text("x")
        found = await desk.one("<<FIND(.)::FIND")
        assert (found.results, found.content) == (
            "a",
            "a\n… 1 file passed over: 1 with a name that cannot be written",
        )


@pytest.mark.spec("5.1-find-honours-gitignore")
@pytest.mark.parametrize("is_repository", [True, False])
async def test_find_sees_what_git_would(tmp_path: Path, *, is_repository: bool) -> None:
    tree = {".gitignore": "build/\n*.log\n", "a.py": "x", "b.log": "x", "build/c": "x", "src/d.log": "x", "src/e": "x"}
    async with project(tmp_path, tree) as desk:
        if is_repository:
            await trio.run_process(["git", "init", "-q", str(desk.root)])
        assert paths(await desk.one("<<FIND(.)::FIND")) == [".gitignore", "a.py", "src/e"]
        assert paths(await desk.one("<<FIND(**)::FIND")) == [".gitignore", "a.py", "src/e"]
        assert (await desk.one("<<READ(b.log)::READ")).content == "x", "who names it may read it"


# -- EDIT


@pytest.mark.spec("2.4-edit-201-200-304", "2.4-edit-indexes")
async def test_edit_makes_and_changes_files_when_that_is_accepted(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        made = await desk.one("<<EDIT[new](notes/a.md):one\ntwo:EDIT")
        assert (made.status, made.channel, made.diff) == (201, "body", None)
        assert (desk.root / "notes/a.md").read_text() == "one\ntwo"
        changed = await desk.one("<<EDIT(src/main.py)<2>:    return 3:EDIT")
        assert changed.status == 200
        assert changed.diff == (
            "--- a/src/main.py\n+++ b/src/main.py\n@@ -1,2 +1,2 @@\n def main():\n-    return 1\n+    return 3\n"
        )
        assert (desk.root / "src/main.py").read_text() == "def main():\n    return 3\n"
        assert await indexed(desk.bench) == ["notes/a.md", "src/main.py"]
        assert await desk.tags("notes/a.md") == ("new",)
        shown = [(told.op, told.target.scheme, told.target.pathname) for told in desk.shown]
        assert shown == [("EDIT", None, "notes/a.md"), ("EDIT", None, "src/main.py")]


async def test_what_is_shown_of_an_edit(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await desk.do("<<EDIT(n):new:EDIT <<EDIT(Makefile)<1>:any:EDIT", "reject")
        create, edit = desk.shown
        assert create.body == "--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n"
        assert {key: create.attrs[key] for key in create.attrs if key != "digest"} == {
            "path": "n",
            "op": "create",
            "base": None,
            "patched": "new",
            "patchedSha256": sha256(b"new").hexdigest(),
            "created": True,
        }
        assert edit.body == "--- a/Makefile\n+++ b/Makefile\n@@ -1,2 +1,2 @@\n-all:\n+any:\n \ttrue\n".replace(
            "any:", "any"
        )
        assert (edit.attrs["op"], edit.attrs["created"]) == ("edit", False)
        assert edit.attrs["base"] == sha256(b"all:\n\ttrue\n").hexdigest()
        assert read_tree(desk.root)["Makefile"] == b"all:\n\ttrue\n"
        assert not (desk.root / "n").exists()
        assert await indexed(desk.bench) == []


@pytest.mark.spec("2.4-edit-201-200-304")
async def test_an_edit_that_changes_nothing_asks_nobody(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        same, tagged, again = await desk.do(
            "<<EDIT(empty)::EDIT <<EDIT[t](Makefile)<2>:\ttrue:EDIT <<EDIT[t](Makefile)<2>:\ttrue:EDIT"
        )
        assert [same.status, tagged.status, again.status] == [304, 200, 304]
        assert not desk.shown
        assert await desk.tags("Makefile") == ("t",)
        assert await indexed(desk.bench) == ["Makefile", "empty"]


@pytest.mark.spec("2.5-edit-lines", "2.5-416", "2.5-json-items")
async def test_lines_and_items_of_files(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        results = await desk.do(
            '<<EDIT(latin)<2>:end:EDIT <<EDIT(src/deep/x.json)<-1>:{"b":1}:EDIT <<EDIT(README.md)<9>:x:EDIT'
            " <<EDIT(fresh)<7>:x:EDIT <<EDIT(src):x:EDIT <<EDIT(latin/x/y):x:EDIT"
        )
        assert [r.status for r in results] == [200, 200, 416, 201, 415, 409]
        assert results[-1].error == "latin is a file, so there is nothing in it"
        assert (desk.root / "latin").read_bytes() == b"caf\xe9\nend\n", "the line that nobody named keeps its bytes"
        assert "-the\n+end\n" in desk.shown[0].body
        assert (desk.root / "src/deep/x.json").read_text() == '{\n  "a": [\n    1,\n    2\n  ],\n  "b": 1\n}'
        assert (desk.root / "fresh").read_text() == "x"


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("whole\n", "whole\n"),
        ("@@ -1,2 +1,2 @@\n def main():\n-    return 1\n+    return 9\n", "def main():\n    return 9\n"),
    ],
)
async def test_the_accepted_body_is_what_is_written(tmp_path: Path, body: str, text: str) -> None:
    async with project(tmp_path, TREE) as desk:
        result = await desk.one("<<EDIT(src/main.py)<2>:    return 3:EDIT", body=body)
        assert result.status == 200
        assert (desk.root / "src/main.py").read_text() == text
        assert f"+{text.splitlines()[-1]}" in (result.diff or ""), "who asked for another text is told"


async def test_who_made_a_file_is_told_what_is_in_it_instead(tmp_path: Path) -> None:
    async with project(tmp_path, {}) as desk:
        result = await desk.one("<<EDIT(a):mine:EDIT", body="yours")
        assert (result.status, "+yours" in (result.diff or "")) == (201, True)


async def test_an_accepted_body_that_leaves_all_as_it_was(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        result = await desk.one("<<EDIT(Makefile):x:EDIT", body="all:\n\ttrue\n")
        assert (result.status, result.diff) == (304, None)


async def test_what_cannot_be_edited_is_accepted_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        foreign, gone = await desk.do("<<EDIT(latin)<2>:x:EDIT <<SEND[410](empty)::SEND", body="mine")
        assert [foreign.status, gone.status] == [400, 400]
        assert [answer.status for answer in desk.answers] == [400, 400]
        assert all("only be accepted as it was proposed" in (answer.error or "") for answer in desk.answers)
        assert (desk.root / "latin").read_bytes() == TREE["latin"]
        assert (desk.root / "empty").exists()


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize("statement", ["<<EDIT(a)<1>:x:EDIT", "<<EDIT(new):x:EDIT", "<<SEND[410](a)::SEND"])
async def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path, statement: str) -> None:
    async with project(tmp_path, {"a": "old\n"}) as desk:
        theirs: Tree = {"a": "somebody else's\n", "new": "somebody else's\n"}
        result = await desk.one(statement, meanwhile=lambda: write_tree(desk.root, theirs))
        assert (result.status, result.error) == (409, "changed on disk since the proposal")
        assert set(read_tree(desk.root).values()) == {b"somebody else's\n"}
        rows = await desk.bench.engine.store.read(lambda db: log.of_run(db, desk.bench.run.id))
        assert [(row.state, row.outcome) for row, _ in rows] == [("failed", "write_conflict")]


@pytest.mark.spec("5.2-cas-409")
async def test_a_file_that_has_become_too_large_to_be_shown_has_changed_too(tmp_path: Path) -> None:
    async with project(tmp_path, {"a": "old\n"}) as desk:
        theirs: Tree = {"a": "y\n" * 600_000}
        result = await desk.one("<<EDIT(a):x:EDIT", meanwhile=lambda: write_tree(desk.root, theirs))
        assert (result.status, result.error) == (409, "changed on disk since the proposal")
        assert desk.answers[0].outcome == "write_conflict"


async def test_what_is_too_large_to_be_shown_is_refused(tmp_path: Path) -> None:
    async with project(tmp_path, {"big": "y\n" * 600_000}) as desk:
        result = await desk.one("<<EDIT(long):" + "x\n" * 600_000 + ":EDIT")
        assert (result.status, result.error) == (413, "the change is too large to be shown")
        gone = await desk.one("<<SEND[410](big)::SEND")
        assert gone.status == 200
        assert desk.shown[-1].body.endswith("Binary files a/big and /dev/null differ\n")
        assert read_tree(desk.root) == {}


@pytest.mark.parametrize("path", ["a%0A+++ b/x", "%1B[2Ka", "d%0D/x"])
async def test_no_name_makes_a_diff_look_like_another(tmp_path: Path, path: str) -> None:
    async with project(tmp_path, {"a": "x"}) as desk:
        edit, copy = await desk.do(f"<<EDIT(file:///{path}):x:EDIT <<COPY(a):file:///{path}:COPY")
        assert [edit.status, copy.status] == [400, 400]
        assert not desk.shown


@pytest.mark.spec("5.2-mode-kept")
async def test_an_edit_keeps_the_mode(tmp_path: Path) -> None:
    async with project(tmp_path, {"run.sh": "true\n"}) as desk:
        (desk.root / "run.sh").chmod(0o755)
        await desk.one("<<EDIT(run.sh):false\n:EDIT")
        assert stat.S_IMODE((desk.root / "run.sh").stat().st_mode) == 0o755


# -- versions


@pytest.mark.spec("5.2-undo")
async def test_a_version_comes_back(tmp_path: Path) -> None:
    async with project(tmp_path, {"a": b"one\0binary"}) as desk:
        (desk.root / "a").chmod(0o750)
        await desk.do("<<SEND[410](a)::SEND <<EDIT(b):text:EDIT")
        back, gone, none, broken, body = await desk.do(
            "<<EDIT(file:///a?version=1)::EDIT <<EDIT(file:///b?version=2)::EDIT <<EDIT(file:///a?version=9)::EDIT"
            " <<EDIT(file:///a?version=x)::EDIT <<EDIT(file:///a?version=1):x:EDIT"
        )
        assert [r.status for r in (back, gone, none, broken, body)] == [201, 200, 404, 400, 400]
        assert read_tree(desk.root) == {"a": b"one\0binary"}
        assert stat.S_IMODE((desk.root / "a").stat().st_mode) == 0o750
        assert [told.attrs["op"] for told in desk.shown[2:]] == ["create", "delete"]
        again = await desk.one("<<EDIT(file:///a?version=1)::EDIT")
        assert again.status == 304
        rows = await desk.bench.engine.store.read(lambda db: log.of_run(db, desk.bench.run.id))
        assert {(row.scheme, row.pathname) for row, _ in rows} == {(None, "a"), (None, "b")}


# -- SEND


@pytest.mark.spec("2.4-send-410", "2.4-send-499", "2.4-send-other-501")
async def test_send_deletes(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        await desk.do("<<SHOW(Makefile)::SHOW")
        results = await desk.do(
            "<<SEND[410](Makefile)::SEND <<SEND[410](Makefile)::SEND <<SEND[410](src)::SEND <<SEND[499](empty)::SEND"
            " <<SEND[499](nope)::SEND <<SEND[200](empty):x:SEND"
        )
        assert [r.status for r in results] == [200, 404, 415, 409, 404, 501]
        assert not (desk.root / "Makefile").exists()
        assert await desk.entry("Makefile") is None
        assert await indexed(desk.bench) == []
        (told,) = desk.shown
        assert (told.op, told.attrs["op"], told.attrs["patched"]) == ("SEND", "delete", None)
        assert told.body == "--- a/Makefile\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-all:\n-\ttrue\n"


# -- SHOW and HIDE


@pytest.mark.spec("2.4-show-hide-304")
async def test_show_and_hide(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        results = await desk.do(
            "<<SHOW(README.md)::SHOW <<SHOW(README.md)::SHOW <<SHOW(nope)::SHOW <<SHOW(src)::SHOW"
            " <<SHOW(src/*.py)::SHOW <<SHOW(zz*)::SHOW <<SHOW(.):/helper/:SHOW <<SHOW[t](.)::SHOW <<SHOW(src/)<1>::SHOW"
        )
        assert [r.status for r in results] == [200, 304, 404, 415, 200, 304, 304, 304, 200]
        assert await indexed(desk.bench) == ["README.md", "src/deep/x.json", "src/main.py", "src/util.py"]
        (desk.root / "README.md").unlink()
        results = await desk.do(
            "<<HIDE(README.md)::HIDE <<HIDE(README.md)::HIDE <<HIDE(Makefile)::HIDE <<HIDE(nope)::HIDE"
            " <<HIDE(src/):/helper/:HIDE <<HIDE(src/*.py)::HIDE <<HIDE[500](src/)::HIDE <<HIDE[499](empty)::HIDE"
        )
        assert [r.status for r in results] == [200, 304, 304, 404, 200, 200, 400, 304]
        assert await indexed(desk.bench) == ["src/deep/x.json"]


async def test_a_slash_at_the_end_names_the_same_file(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        results = await desk.do(
            "<<SHOW(README.md/)::SHOW <<SHOW(README.md)::SHOW <<READ(README.md/)<1>::READ <<HIDE(README.md/)::HIDE"
        )
        assert [r.status for r in results] == [200, 304, 200, 200]


async def test_not_all_of_a_large_project_is_shown_at_once(tmp_path: Path) -> None:
    async with project(tmp_path, {f"f{number}": "" for number in range(501)}) as desk:
        some, more = await desk.do("<<SHOW(f*)<1-500>::SHOW <<SHOW(f*)::SHOW")
        assert [some.status, more.status, more.error] == [200, 413, "these are 501 files; SHOW takes 500 at most"]


# -- beneath the root


@pytest.mark.spec("5.1-beneath-root", "5.1-no-existence-oracle")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "path", ["../out", "src/../../out", "{outside}/out", "link/out", "straight", "link/no/such", "src/../link/out"]
)
async def test_nothing_outside_is_touched_or_told_of(tmp_path: Path, path: str, *, there: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    async with project(tmp_path, TREE) as desk:
        for place in (outside, tmp_path):
            if there:
                (place / "out").write_text("secret\n")
        (desk.root / "link").symlink_to(outside)
        (desk.root / "straight").symlink_to(outside / "out")
        path = path.format(outside=outside)
        results = await desk.do(
            f"<<READ({path})::READ <<EDIT({path}):x:EDIT <<EDIT({path})<1>:x:EDIT <<SEND[410]({path})::SEND"
            f" <<SEND[499]({path})::SEND <<SHOW({path})::SHOW <<HIDE({path})::HIDE <<COPY({path}):known://a:COPY"
            f" <<COPY({path}):b:COPY <<MOVE({path})::MOVE <<MOVE({path}):b:MOVE <<COPY(Makefile):{path}:COPY"
            f" <<MOVE(Makefile):{path}:MOVE"
        )
        assert {(r.status, r.error) for r in results} == {(403, "path escapes the workspace")}
        assert not desk.shown
        assert (outside / "out").exists() is there
        assert await desk.entry(path) is None


@pytest.mark.spec("5.1-no-existence-oracle")
async def test_find_and_globs_do_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("needle")
    async with project(tmp_path, {"a": "needle"}) as desk:
        (desk.root / "link").symlink_to(tmp_path / "outside")
        (desk.root / "straight").symlink_to(tmp_path / "outside/secret")
        results = await desk.do("<<FIND(../)::FIND <<FIND(../**)::FIND <<READ(../*)::READ <<FIND(/etc)::FIND")
        assert [r.status for r in results] == [403] * 4
        listed, matched = await desk.do("<<FIND(**)::FIND <<FIND(**):/needle/:FIND")
        assert not [path for path in paths(listed) if "secret" in path]
        assert paths(matched) == ["a"]


async def test_links_that_stay_inside_are_followed_and_what_is_shown_is_where_they_lead(tmp_path: Path) -> None:
    async with project(tmp_path, TREE) as desk:
        (desk.root / "alias").symlink_to("src")
        result = await desk.one("<<EDIT(alias/main.py):x:EDIT")
        assert (result.status, desk.shown[0].attrs["path"]) == (200, "src/main.py")
        assert (desk.root / "src/main.py").read_text() == "x"
        assert (await desk.one("<<READ(alias/main.py)::READ")).content == "x"
        await desk.do("<<COPY(alias/util.py):alias/copied.py:COPY")
        assert (desk.shown[1].attrs["from"], desk.shown[1].attrs["path"]) == ("src/util.py", "src/copied.py")


async def test_the_daemons_own_files_are_refused(tmp_path: Path) -> None:
    hidden = (str(tmp_path / "work/.env"),)
    async with project(tmp_path, {".env": "KEY=secret", "a": "x"}, hidden=hidden) as desk:
        results = await desk.do(
            "<<READ(.env)::READ <<EDIT(.env):x:EDIT <<COPY(.env):b:COPY <<COPY(.env):known://b:COPY"
        )
        assert [r.status for r in results] == [403] * 4
        assert paths(await desk.one("<<FIND(.)::FIND")) == ["a"]
        assert read_tree(desk.root)[".env"] == b"KEY=secret"


async def test_what_is_gits_own_is_not_written(tmp_path: Path) -> None:
    async with project(tmp_path, {".git/config": "[core]\n"}) as desk:
        read, edit, copy = await desk.do(
            "<<READ(.git/config)::READ <<EDIT(.git/config):x:EDIT <<COPY(.git/config):c:COPY"
        )
        assert [read.status, edit.status, copy.status] == [200, 403, 201]


# -- flags


ASK = '{"yolo":false,"mode":"ask","noWeb":false,"noInteraction":false,"noProposals":false}'
NONE = '{"yolo":false,"mode":"act","noWeb":false,"noInteraction":false,"noProposals":true}'
YOLO = '{"yolo":true,"mode":"act","noWeb":false,"noInteraction":false,"noProposals":false}'

EVERYTHING = (
    "<<FIND(.)::FIND <<READ(a)::READ <<SHOW(a)::SHOW <<HIDE(a)::HIDE <<COPY(a):known://a:COPY <<EDIT(a):y:EDIT"
    " <<EDIT(n):y:EDIT <<SEND[410](a)::SEND <<MOVE(a)::MOVE <<MOVE(a):known://b:MOVE <<COPY(a):n:COPY <<COPY(known://a):n:COPY"
)


@pytest.mark.spec("3.7-ask-is-read-only", "3.7-noproposals-reads-ok")
@pytest.mark.parametrize("flags", [ASK, NONE])
async def test_flags_that_forbid_writing_leave_reading(tmp_path: Path, flags: str) -> None:
    async with project(tmp_path, {"a": "x"}, [EVERYTHING, "<<SEND[200]::SEND"], limits=Limits(settle_s=0)) as desk:
        submitted = await desk.bench.engine.submit(desk.bench.run.id, Submission(prompt="go", flags=flags))
        await desk.bench.engine.loop_end(submitted.loop_id)
        rows = [row for row, _ in await desk.bench.engine.store.read(lambda db: log.of_run(db, desk.bench.run.id))]
        done = [(row.op, row.status_rx) for row in rows if row.origin == "model" and row.turn_seq == 1]
        assert [status for _op, status in done[:5]] == [200, 200, 200, 200, 201]
        assert [status for _op, status in done[5:]] == [403] * 7
        assert read_tree(desk.root) == {"a": b"x"}


@pytest.mark.spec("3.7-yolo-accepts")
async def test_with_yolo_the_daemon_accepts(tmp_path: Path) -> None:
    say = ["<<EDIT(n):y:EDIT <<SEND[410](a)::SEND", "<<SEND[200]::SEND"]
    async with project(tmp_path, {"a": "x"}, say, limits=Limits(settle_s=0)) as desk:
        submitted = await desk.bench.engine.submit(desk.bench.run.id, Submission(prompt="go", flags=YOLO))
        await desk.bench.engine.loop_end(submitted.loop_id)
        assert read_tree(desk.root) == {"n": b"y"}
