"""The plugins that docs/plugins.md shows, installed as they stand there, and used."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from plurnk.engine.limits import Limits
from plurnk.plugins.registry import load_executors, load_schemes, preview_types
from plurnk.store.loops import Submission
from plurnk.wire.results import OpResult
from plurnk.workers.pool import open_workers
from tests.support.engines import do, engine_with
from tests.support.plugins import install, make_importable
from tests.support.source import ROOT
from tests.support.streams import until

WEEK = "[ ] call Ann\n[x] sleep\n[ ] write to Bob\n" + "[x] done long ago\n" * 30


def _blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / "docs/plugins.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points: dict[str, dict[str, str]] = {}
    for block in _blocks("toml"):
        for group, named in tomllib.loads(block)["project"]["entry-points"].items():
            points.setdefault(group, {}).update({n: value.removeprefix("my_package:") for n, value in named.items()})
    install(tmp_path / "installed", "my_package", points, "\n".join(_blocks("python")))
    make_importable(tmp_path / "installed", monkeypatch)


def test_the_documented_runtime_runs_what_it_is_given(tmp_path: Path, installed: None) -> None:
    awk = load_executors()["awk"]
    program = awk.program(os.defpath)
    assert program is not None
    script = tmp_path / "script"
    script.write_text("BEGIN { print 6 * 7 }", "utf-8")
    for argv in (awk.argv(program, script.read_text("utf-8")), (*awk.argv(program, None), str(script))):
        assert subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout == b"42\n"


@pytest.mark.spec("5.3-digest")
async def test_the_documented_proposal_is_carried_out_as_it_was_accepted(tmp_path: Path, installed: None) -> None:
    schemes = load_schemes()
    async with (
        engine_with(tmp_path / "p.db", ["<<SEND[200]::SEND"], schemes=schemes) as bench,
        trio.open_nursery() as tasks,
    ):
        proposals, results = bench.engine.proposals, list[OpResult]()

        async def send() -> None:
            results.extend(await do(bench, "<<SEND[200](outbox://ann):hello:SEND"))

        tasks.start_soon(send)
        await until(lambda: bool(proposals.pending(bench.session.id)))
        [told] = [one.told for one in proposals.pending(bench.session.id)]
        assert (told.body, {**told.attrs, "digest": ""}) == ("hello", {"to": "ann", "digest": ""})
        resolve = partial(proposals.resolve, bench.session.id, told.log_entry_id, "accept")
        assert (await resolve(body="hello " * 100)).error == "a message has at most 280 characters; it is still open"
        assert (await resolve(digest="of something else")).status == 409
        assert (await resolve(body="hello, Ann", digest=told.attrs["digest"])).status == 200
    assert [result.status for result in results] == [200]
    assert cast("Any", schemes["outbox"]).sent == [("ann", "hello, Ann")]


async def test_the_documented_scheme_and_its_previews_work(tmp_path: Path, installed: None) -> None:
    async with (
        open_workers() as workers,
        engine_with(
            tmp_path / "p.db",
            ["<<SEND[200]::SEND"],
            workers=workers,
            preview_types=preview_types(),
            schemes=load_schemes(),
            limits=Limits(preview_chars=60),
        ) as bench,
    ):
        results = await do(
            bench,
            f"<<EDIT(todo://week):{WEEK}:EDIT <<EDIT(todo://week.md):# Plans\n:EDIT"
            " <<FIND(todo://):/write/:FIND <<COPY(todo://week#photo):known://a:COPY <<EXEC(todo://week):x:EXEC",
        )
        assert [result.status for result in results] == [201, 201, 200, 404, 400]
        assert results[2].content == "todo://week"
        submitted = await bench.engine.submit(bench.run.id, Submission(prompt="look"))
        await bench.engine.loop_end(submitted.loop_id)
        system = bench.model.requests[0].messages[0].content
    tiles = system.partition("# Plurnk System Index\n")[2].partition("\n\n# Plurnk")[0]
    assert tiles.splitlines() == [
        '* {"channels":{"body":{"mimetype":"text/x-todo","tokens":145}},"path":"todo://week"}',
        "<<todo://week:",
        "2 open: call Ann, write to Bob",
        ":todo://week",
        '* {"channels":{"body":{"mimetype":"text/markdown","tokens":2}},"path":"todo://week.md"}',
        "<<todo://week.md:",
        "1:\t# Plans",
        ":todo://week.md",
    ]
