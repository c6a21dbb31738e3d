"""The plugins that docs/plugins.md shows, installed as they stand there, and used."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from plurnk.engine.limits import Limits
from plurnk.plugins.registry import load_executors, load_schemes, preview_types
from plurnk.store.loops import Submission
from plurnk.workers.pool import open_workers
from tests.support.engines import do, engine_with
from tests.support.plugins import install, make_importable
from tests.support.source import ROOT

WEEK = "[ ] call Ann\n[x] sleep\n[ ] write to Bob\n" + "[x] done long ago\n" * 30


def _blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", (ROOT / "docs/plugins.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        group: {name: value.removeprefix("my_package:") for name, value in named.items()}
        for block in _blocks("toml")
        for group, named in tomllib.loads(block)["project"]["entry-points"].items()
    }
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
