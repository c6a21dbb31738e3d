"""The index shows files as they are on disk at the beginning of each turn (SPEC 5.1, 2.8)."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from plurnk.engine import file_tiles
from plurnk.engine.limits import Limits
from plurnk.files.beneath import Root
from plurnk.files.reading import FileId, FileSource, Look, look
from plurnk.plugins.api import GenerateRequest
from plurnk.schemes.files.project import source_of
from plurnk.store.loops import Submission
from tests.support.engines import Say
from tests.support.projects import Desk, project
from tests.support.workers import InlineWorkers

LONG_MARKDOWN = "# One\n\n" + "text\n" * 200 + "# Two\n" + "more\n" * 200


async def run(desk: Desk, prompt: str = "go") -> list[str]:
    """Have the model work through its script; returns the index of each turn."""
    engine = desk.bench.engine
    submitted = await engine.submit(desk.bench.run.id, Submission(prompt=prompt))
    await engine.loop_end(submitted.loop_id)
    return [index_of(request) for request in desk.bench.model.requests]


def index_of(request: GenerateRequest) -> str:
    system = request.messages[0].content
    _, found, rest = system.partition("# Plurnk System Index\n")
    return rest if found else ""


def turns(root: Path, changes: Sequence[Mapping[str, str | bytes | None]]) -> Say:
    """A model that ends after as many turns; before each of them but the first, files change: None takes it away."""

    async def say(number: int, _request: GenerateRequest) -> str:
        if number > len(changes):
            return "<<SEND[200]::SEND"
        for name, content in changes[number - 1].items():
            path = root / name
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return "<<SEND[102]::SEND"

    return say


@pytest.mark.spec("5.1-index-shows-disk")
async def test_a_tile_is_what_is_on_disk_when_the_turn_begins(tmp_path: Path) -> None:
    root = tmp_path / "work"
    say = turns(root, [{"a.txt": "two\n"}, {"a.txt": "six\n"}, {"a.txt": None}, {"a.txt": b"\0" * 9}, {"b": "x"}])
    limits = Limits(settle_s=0, max_strikes=0)
    async with project(tmp_path, {"a.txt": "one\n", "b": "b\n"}, say, limits=limits) as desk:
        await desk.do("<<SHOW(a.txt)::SHOW <<READ(b)::READ")
        shown = await run(desk)

    def tile(meta: str, text: str) -> str:
        return f'* {{"channels":{{"body":{{{meta}}}}},"path":"a.txt"}}\n<<a.txt:\n{text}\n:a.txt'

    plain = '"mimetype":"text/plain","tokens":1'
    assert shown == [
        tile(plain, "1:\tone"),
        tile(plain, "1:\ttwo"),
        tile(plain, "1:\tsix"),
        '* {"channels":{"body":{"mimetype":"text/plain","missing":true,"tokens":0}},"path":"a.txt"}',
        tile('"mimetype":"application/octet-stream","tokens":3', "application/octet-stream, 9 bytes"),
        tile('"mimetype":"application/octet-stream","tokens":3', "application/octet-stream, 9 bytes"),
    ], "b was read, and that shows nothing"


@pytest.mark.spec("5.1-index-shows-disk")
async def test_what_leads_out_of_the_project_by_now_is_missing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    async with project(tmp_path, {"a": "x"}, ["<<SEND[200]::SEND"], limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(a)::SHOW")
        (desk.root / "a").unlink()
        (desk.root / "a").symlink_to(tmp_path / "secret")
        (index,) = await run(desk)
        assert index == '* {"channels":{"body":{"mimetype":"text/plain","missing":true,"tokens":0}},"path":"a"}'


@pytest.mark.spec("5.1-index-shows-disk")
async def test_in_a_project_that_is_gone_all_is_missing(tmp_path: Path) -> None:
    async with project(tmp_path, {"a": "x"}, ["<<SEND[200]::SEND"], limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(a)::SHOW")
        desk.root.rename(tmp_path / "elsewhere")
        (index,) = await run(desk)
        assert '"missing":true' in index


@pytest.mark.spec("2.8-preview-budget")
async def test_a_file_has_the_preview_of_its_type(tmp_path: Path) -> None:
    workers = InlineWorkers()
    say = ["<<SEND[102]::SEND", "<<SEND[102]::SEND", "<<SEND[200]::SEND"]
    tree = {"a.md": LONG_MARKDOWN, "short.md": "# x\n"}
    types = frozenset({"text/markdown"})
    async with project(tmp_path, tree, say, workers=workers, preview_types=types, limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(*.md)::SHOW")
        os.utime(desk.root / "a.md", (1, 1))
        shown = await run(desk)
        assert ["203:\t# Two" in index for index in shown] == [True] * 3
        assert len(workers.asked) == 1, "it is made once, for that content"


async def test_a_file_that_stays_as_it_is_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tiles, "SETTLED_NS", -(10**18))  # as if all had been written long ago
    read: list[str] = []

    def counted(root: Root, path: str) -> AbstractContextManager[FileSource]:
        read.append(path)
        return source_of(root, path)

    monkeypatch.setattr(file_tiles, "source_of", counted)
    say = turns(tmp_path / "work", [{}, {}, {"a": "longer"}])
    types = frozenset({"text/markdown"})
    tree = {"a": "x", "b.md": LONG_MARKDOWN}
    async with project(tmp_path, tree, say, preview_types=types, limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(a)::SHOW <<SHOW(b.md)::SHOW")
        shown = await run(desk)
    assert read == ["a", "b.md", "a"]
    assert ["203:\t# Two" in index for index in shown] == [True] * 4
    assert "1:\tlonger" in shown[3]


async def test_what_was_written_a_moment_ago_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time alone would not tell: two writes within a tick of the disk's clock look the same."""
    tick_ns = time.time_ns()

    def coarse(root: Root, path: str) -> Look:
        seen = look(root, path)
        return replace(seen, id=FileId(device=1, inode=1, size_bytes=4, mtime_ns=tick_ns, ctime_ns=tick_ns))

    monkeypatch.setattr(file_tiles, "look", coarse)
    say = turns(tmp_path / "work", [{"a": "two\n"}, {"a": "six\n"}])
    async with project(tmp_path, {"a": "one\n"}, say, limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(a)::SHOW")
        shown = await run(desk)
    assert [re.findall(r"1:\t(.*)", index) for index in shown] == [["one"], ["two"], ["six"]]


async def test_a_packet_has_no_more_tiles_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tiles, "TILES_MAX", 2)
    tree = {f"f{number}": f"{number}\n" for number in range(4)}
    async with project(tmp_path, tree, ["<<SEND[200]::SEND"], limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(f*)::SHOW")
        (index,) = await run(desk)
    assert index.count("<<f") == 2
    assert index.count('* {"channels"') == 4
    assert "missing" not in index


async def test_a_very_long_file_is_shown_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tiles, "LINES_MAX_BYTES", 1000)
    async with project(tmp_path, {"a.log": "x\n" * 1000}, ["<<SEND[200]::SEND"], limits=Limits(settle_s=0)) as desk:
        await desk.do("<<SHOW(a.log)::SHOW")
        (index,) = await run(desk)
    assert '"tokens":500' in index
    assert "\ntext/x-log, 2000 bytes\n" in index
