"""Searching: READ, FIND, SHOW and HIDE with matchers and over globs, on a real store (SPEC 2.4, 2.6)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.store.loops import Submission
from plurnk.wire.results import OpResult
from plurnk.workers.pool import open_workers
from tests.support.engines import Bench, do, engine_with, indexed, put_bytes

PEOPLE = json.dumps([{"name": "Ada", "age": 36}, {"name": "Bob", "age": 7}, {"name": "Cyd", "age": 61}], indent=1)
PAGE = "<list>\n <item id='1'>one</item>\n <item id='2'>two</item>\n</list>\n"
SETUP = (
    "<<EDIT[code,old](known://src/a.py):import os\n\ndef first(x):\n    return x\n\ndef second():\n    pass\n:EDIT"
    " <<EDIT[code](known://src/b.py):TODO: write\n:EDIT"
    " <<EDIT(known://src/deep/c.py):def third(): pass  # TODO\n:EDIT"
    f" <<EDIT(known://people.json):{PEOPLE}:EDIT"
    " <<EDIT(known://broken.json):{:EDIT"
    f" <<EDIT(known://page.xml):{PAGE}:EDIT"
    " <<EDIT(known://empty)::EDIT"
    " <<EDIT(known://picture.png):x:EDIT"
)


async def set_up(bench: Bench) -> None:
    """The entries of SETUP, one of them binary."""
    assert [r.status for r in await do(bench, SETUP)] == [201] * 8
    await put_bytes(bench, "picture.png", b"\x89PNG\0TODO", "image/png")


def rows(*found: object) -> str:
    return json.dumps(found, separators=(",", ":"), sort_keys=True)


FIRST_AND_SECOND = ({"line": 3, "matched": ["first"]}, {"line": 6, "matched": ["second"]})
NAMED = {"line": 6, "matched": {"name": "second"}}


@pytest.mark.spec("2.4-read-composition", "2.6-regex-rows", "2.6-glob-lines", "2.3-binary-415")
@pytest.mark.spec("2.6-jsonpath", "2.6-xpath")
@pytest.mark.parametrize(
    ("statement", "status", "content"),
    [
        ("<<READ(known://src/a.py):/def (\\w+)/g:READ", 200, rows(*FIRST_AND_SECOND)),
        ("<<READ(known://src/a.py):/def \\w+/:READ", 200, rows({"line": 3, "matched": "def first"})),
        ("<<READ(known://src/a.py)<4,-1>:/def (?<name>\\w+)/g:READ", 200, rows(NAMED)),
        ("<<READ[code](known://src/a.py)<1-3>:def *:READ", 200, rows({"line": 3, "matched": "def first(x):"})),
        ("<<READ[new](known://src/a.py):def *:READ", 404, None),
        ("<<READ(known://src/a.py)<9>:/def/:READ", 416, None),
        ("<<READ(known://src/a.py)<0>:/def/:READ", 204, ""),
        ("<<READ(known://src/a.py):/class/g:READ", 204, ""),
        ("<<READ(known://empty):/a/:READ", 204, ""),
        ("<<READ(known://empty):*:READ", 204, ""),
        ("<<READ(known://nothing):/a/:READ", 404, None),
        (
            "<<READ(known://people.json):$[?@.age > 30].name:READ",
            200,
            rows(
                {"line": 3, "matched": "Ada", "matching": "$[0]['name']"},
                {"line": 11, "matched": "Cyd", "matching": "$[2]['name']"},
            ),
        ),
        (
            "<<READ(known://people.json)<2-3>:$[0].name:READ",
            200,
            rows({"line": 7, "matched": "Bob", "matching": "$[0]['name']"}),
        ),
        ("<<READ(known://people.json)<2>:*name*:READ", 200, rows({"line": 7, "matched": '  "name": "Bob",'})),
        ("<<READ(known://people.json)<4>:$[0]:READ", 416, None),
        ("<<READ(known://src/a.py):$.a:READ", 415, None),
        ("<<READ(known://broken.json):$.a:READ", 422, None),
        (
            "<<READ(known://page.xml)://item[@id='2']:READ",
            200,
            rows({"line": 3, "matched": '<item id="2">two</item>', "matching": "/list/item[2]"}),
        ),
        (
            "<<READ(known://page.xml)<2>://item/@id:READ",
            200,
            rows({"line": 2, "matched": "1", "matching": "/list/item[1]/@id"}),
        ),
        ("<<READ(known://people.json)://item:READ", 415, None),
        ("<<READ(known://picture.png):/PNG/:READ", 415, None),
        ("<<READ(known://picture.png)<1>::READ", 415, None),
        ("<<READ(known://picture.png)::READ", 200, "image/png, 9 bytes"),
    ],
)
async def test_read_with_a_matcher(tmp_path: Path, statement: str, status: int, content: str | None) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await set_up(bench)
        (read,) = await do(bench, statement)
        assert (read.status, read.content) == (status, content)
        assert (read.error is None) == (content is not None)
        if content and content.startswith("["):
            assert (read.mimetype, read.matches) == ("application/json", len(json.loads(content)))


@pytest.mark.spec("2.4-find-content-dialects", "2.4-find-order-and-page")
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("<<FIND(known://):/TODO/:FIND", ["src/b.py", "src/deep/c.py"]),
        ("<<FIND(known://):/todo/i:FIND", ["src/b.py", "src/deep/c.py"]),
        ("<<FIND(known://src/*):/TODO/:FIND", ["src/b.py"]),
        ("<<FIND[code](known://):/def|TODO/:FIND", ["src/a.py", "src/b.py"]),
        ("<<FIND[code,old](known://):/def|TODO/:FIND", ["src/a.py"]),
        ("<<FIND(known://):/nowhere/:FIND", []),
        ("<<FIND(known://):$[?@.age > 60]:FIND", ["people.json"]),
        ("<<FIND(known://):$[?@.age > 90]:FIND", []),
        ("<<FIND(known://)://item[text()='two']:FIND", ["page.xml"]),
        ("<<FIND(known://):**/*.py:FIND", ["src/a.py", "src/b.py", "src/deep/c.py"]),
        ("<<FIND(known://#body):/TODO/:FIND", ["src/b.py", "src/deep/c.py"]),
        ("<<FIND(unknown://):/TODO/:FIND", []),
    ],
)
async def test_find_by_content(tmp_path: Path, statement: str, found: list[str]) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await set_up(bench)
        (result,) = await do(bench, statement)
        assert (result.status, result.error) == (200, None)
        assert (result.results, result.matches) == ("\n".join(f"known://{path}" for path in found), len(found))


@pytest.mark.spec("2.4-find-content-dialects", "2.4-find-order-and-page")
async def test_what_is_found_by_content_is_paged(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, " ".join(f"<<EDIT(known://n{n:04}):{'even' if n % 2 == 0 else 'odd'}:EDIT" for n in range(90)))
        pages = await do(
            bench, " ".join(f"<<FIND(known://)<{first}-{first + 14}>:/even/:FIND" for first in (1, 16, 31))
        )
        assert [(p.status, p.matches) for p in pages] == [(200, 45)] * 3
        assert "\n".join(p.results or "" for p in pages) == "\n".join(f"known://n{n:04}" for n in range(0, 90, 2))
        (beyond,) = await do(bench, "<<FIND(known://)<46>:/even/:FIND")
        assert beyond.status == 416


@pytest.mark.spec("2.4-read-glob")
async def test_read_over_a_glob_gives_blocks(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await set_up(bench)
        whole, some, matched, tagged, nothing, ranged, deep = await do(
            bench,
            "<<READ(known://src/*)::READ <<READ(known://src/*)<1-2>::READ <<READ(known://**):/def \\w+/g:READ"
            " <<READ[old](known://**)::READ <<READ(known://*.md)::READ <<READ(known://src/*)<3>::READ"
            " <<READ(known://*.json):$[0].name:READ",
        )
        assert (whole.status, whole.mimetype, whole.matches) == (200, "text/plain", 2)
        assert whole.content == (
            "<<known://src/a.py:\n1:\timport os\n2:\t\n3:\tdef first(x):\n4:\t    return x\n5:\t\n6:\tdef second():\n"
            "7:\t    pass\n:known://src/a.py\n<<known://src/b.py:\n1:\tTODO: write\n:known://src/b.py"
        )
        assert some.content == (
            "<<known://src/a.py:\n1:\timport os\n2:\t\n:known://src/a.py\n"
            "<<known://src/b.py:\n416 line 2 out of range (1..1)\n:known://src/b.py"
        )
        assert (matched.status, matched.matches) == (200, 3)
        assert matched.content == (
            "<<known://src/a.py:\n"
            + rows({"line": 3, "matched": "def first"}, {"line": 6, "matched": "def second"})
            + "\n:known://src/a.py\n<<known://src/deep/c.py:\n"
            + rows({"line": 1, "matched": "def third"})
            + "\n:known://src/deep/c.py"
        )
        assert (tagged.content or "").startswith("<<known://src/a.py:\n1:\timport os\n")
        assert (nothing.status, nothing.content, nothing.matches) == (204, "", 0)
        assert ranged.content is not None
        assert ranged.content.endswith("416 line 3 out of range (1..1)\n:known://src/b.py")
        assert deep.content is not None
        assert "<<known://broken.json:\n422 " in deep.content
        assert '"matched":"Ada"' in deep.content


@pytest.mark.spec("2.4-read-glob")
async def test_read_over_a_glob_shows_fifty_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, " ".join(f"<<EDIT(known://few/{n:02}):x:EDIT" for n in range(60)))
        (few,) = await do(bench, "<<READ(known://few/*)::READ")
        assert (few.status, few.matches, few.left_out) == (206, 50, 10)
        assert few.content is not None
        assert few.content.endswith(":known://few/49\n… 10 more left out")


@pytest.mark.spec("2.4-read-glob", "2.4-read-206")
async def test_read_over_a_glob_says_what_did_not_fit(tmp_path: Path) -> None:
    text = "a line of text\n" * 30
    async with engine_with(tmp_path / "p.db", (), limits=Limits(read_max_chars=2000)) as bench:
        await do(bench, " ".join(f"<<EDIT(known://big/{n}):{text}:EDIT" for n in range(9)))
        (big,) = await do(bench, "<<READ(known://big/*)::READ")
        assert big.content is not None
        assert len(big.content) <= 2000
        shown = [line.removeprefix("<<").removesuffix(":") for line in big.content.split("\n") if line.startswith("<<")]
        assert shown == [f"known://big/{n}" for n in range(len(shown))]
        assert (big.status, big.left_out) == (206, 9 - len(shown))
        assert len(shown) >= 2
        cut, closing, remark = big.content.split("\n")[-3:]
        assert (closing, remark) == (f":{shown[-1]}", f"… {big.left_out} more left out")
        next_line = int(cut.removeprefix("… more: go on with <").removesuffix(",-1>"))
        assert f"\n{next_line - 1}:\ta line of text\n{cut}\n" in big.content


@pytest.mark.spec("2.4-show-hide-304", "2.7-index-is-visibility")
async def test_show_and_hide_by_content(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await set_up(bench)
        everything = await indexed(bench)
        hidden, again, none, paged = await do(
            bench,
            "<<HIDE(known://):/TODO/:HIDE <<HIDE(known://):/TODO/:HIDE <<HIDE(known://):/nowhere/:HIDE"
            " <<SHOW(known://)<2>:/TODO/:SHOW",
        )
        assert [(r.status, r.matches) for r in (hidden, again, none, paged)] == [(200, 2), (304, 2), (304, 0), (200, 1)]
        assert await indexed(bench) == [path for path in everything if path != "src/b.py"]


@pytest.mark.spec("2.4-log-read-unwraps", "2.4-find-content-dialects", "2.4-log-rows-hide")
async def test_the_log_is_searched_like_anything_else(tmp_path: Path) -> None:
    async with engine_with(tmp_path / "p.db", ()) as bench:
        await do(bench, "<<EDIT(known://a):alpha\nbeta:EDIT <<READ(known://a)::READ <<READ(known://b)::READ")
        results = await do(
            bench,
            "<<FIND(log://1/):/beta/:FIND <<FIND(log://1/):$[?@ == 404]:FIND <<READ(log://1/1/2):/b\\w+/:READ"
            " <<READ(log://1/1/3):$.status:READ <<READ[x](log://1/1/2)::READ <<FIND[x](log://)::FIND"
            " <<READ(log://1/1/*/READ)::READ <<HIDE(log://1/):/beta/:HIDE <<HIDE[499](log://1/1/1)::HIDE",
        )
        assert [r.status for r in results] == [200, 200, 200, 200, 404, 200, 200, 200, 400]
        assert results[0].results == "log://1/1/2/READ"
        assert results[1].results == "log://1/1/3/READ"
        assert results[2].content == rows({"line": 2, "matched": "beta"})
        assert results[3].content == rows({"line": 1, "matched": 404, "matching": "$['status']"})
        assert results[5].results == ""
        assert (results[6].content or "").startswith(
            "<<log://1/1/2/READ:\n1:\talpha\n2:\tbeta\n:log://1/1/2/READ\n<<log"
        )
        assert results[7].matches == 1


@pytest.mark.spec("2.4-read-206")
async def test_rows_and_items_that_do_not_fit_can_be_gone_on_with(tmp_path: Path) -> None:
    text = "\n".join(f"key {n}" for n in range(1, 101))
    items = json.dumps([{"key": n} for n in range(1, 101)])
    async with engine_with(tmp_path / "p.db", (), limits=Limits(read_max_chars=500)) as bench:
        await do(bench, f"<<EDIT(known://t):{text}:EDIT <<EDIT(known://j.json):{items}:EDIT")
        for target, matcher, wanted in (
            ("known://t", "/key (\\d+)/g", [[str(n)] for n in range(1, 101)]),
            ("known://j.json", "", [{"key": n} for n in range(1, 101)]),
        ):
            got: list[object] = []
            marker, read = "", OpResult(status=206)
            while read.status == 206:
                (read,) = await do(bench, f"<<READ({target}){marker}:{matcher}:READ")
                assert read.content is not None
                assert len(read.content) <= 500
                page = json.loads(read.content)
                got += [row["matched"] for row in page] if matcher else page
                marker = f"<{read.next_line},-1>"
            assert read.status == 200
            assert got == wanted


@pytest.mark.spec("2.6-redos-408")
async def test_a_matcher_that_runs_too_long_is_408_and_nobody_else_waits(tmp_path: Path) -> None:
    limits = Limits(match_timeout_s=0.5)
    async with (
        open_workers() as workers,
        engine_with(tmp_path / "p.db", ("<<SEND[200]:done:SEND",), limits=limits, workers=workers) as bench,
    ):
        await do(bench, "<<EDIT(known://short):a:EDIT")
        await put_bytes(bench, "long", b"a" * (10 * 1024 * 1024))
        finished: list[str] = []

        async def read_badly(statement: str) -> None:
            (result,) = await do(bench, statement)
            finished.append(statement)
            assert (result.status, result.error) == (408, "matcher ran too long")

        async def go_on() -> None:
            for _ in range(20):
                (result,) = await do(bench, "<<READ(known://short)::READ")
                assert result.status == 200
            submitted = await bench.engine.submit(bench.run.id, Submission(prompt="go"))
            await bench.engine.loop_end(submitted.loop_id)
            finished.append("the others")

        bad = ["<<READ(known://long):/(a+)+b/:READ", "<<FIND(known://long):/(a|aa)+$b/:FIND"]
        async with trio.open_nursery() as clients:
            for statement in bad:
                clients.start_soon(read_badly, statement)
            clients.start_soon(go_on)
        assert finished[0] == "the others"
        (after,) = await do(bench, "<<READ(known://short):/a/:READ")
        assert after.content == rows({"line": 1, "matched": "a"})
