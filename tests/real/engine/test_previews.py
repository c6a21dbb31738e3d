"""Previews by type in the index: when they are made, and what happens to a packet when they fail (SPEC 2.8)."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar, cast

import pytest
import trio

from plurnk.engine import previews
from plurnk.engine.limits import Limits
from plurnk.plugins.api import GenerateRequest
from plurnk.store import channels, entries
from plurnk.store.database import Tx
from plurnk.store.loops import Loop, Submission
from plurnk.workers.pool import open_workers
from plurnk.workers.tasks import MakePreview, Task
from tests.support.engines import Bench, do, engine_with
from tests.support.plugins import HANDLER_TYPES, install_handlers
from tests.support.source import ROOT
from tests.support.workers import InlineWorkers

T = TypeVar("T")

LIMITS = Limits(preview_chars=40)
LONG = "a line of text\n" * 10
HEAD = "1:\ta line of text\n… 9 more lines"
DONE = "<<SEND[200]::SEND"


class Outlines:
    """Workers that make the outline ``outline of <first characters>`` of everything; ``asked`` is what came."""

    def __init__(self) -> None:
        self.asked: list[MakePreview] = []

    async def ask(self, task: Task[T]) -> T:
        assert isinstance(task, MakePreview)
        self.asked.append(task)
        await trio.lowlevel.checkpoint()
        return cast("T", f"outline of {task.content[:6]}")


def shown(request: GenerateRequest, address: str) -> str:
    """The preview of ``address`` in the index."""
    index = request.messages[0].content.partition("# Plurnk System Index\n")[2].partition("\n\n# Plurnk")[0]
    return index.partition(f"\n<<{address}:\n")[2].partition(f"\n:{address}")[0]


async def write(bench: Bench, **contents: str | bytes) -> None:
    """Put entries into known://, of the type text/x-<name>, indexed in the bench's run."""

    def unit(tx: Tx) -> None:
        for name, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            entry = entries.find(tx.db, bench.session.id, "known", name)
            if entry is None:
                entry = entries.create(tx, bench.session.id, "known", name)
                channel = channels.create(tx.db, entry.id, "body", f"text/x-{name}")
                entries.index(tx, bench.run.id, [channel.id])
            else:
                found = channels.find(tx.db, entry.id, "body")
                assert found is not None
                channel = found
            channels.replace(tx.db, channel, data, mimetype=channel.mimetype, tokens=1)

    await bench.engine.store.write(unit)


async def run(bench: Bench) -> Loop:
    submitted = await bench.engine.submit(bench.run.id, Submission(prompt="look"))
    with trio.fail_after(20):
        return await bench.engine.loop_end(submitted.loop_id)


@pytest.mark.spec("2.8-preview-is-render-time")
async def test_a_preview_is_made_when_a_packet_is_built_and_never_at_write(tmp_path: Path) -> None:
    workers = Outlines()
    async with engine_with(
        tmp_path / "p.db", [DONE] * 3, workers=workers, preview_types=frozenset({"text/markdown"}), limits=LIMITS
    ) as bench:
        for verb in ("first", "again"):
            await do(bench, f"<<EDIT(known://note):{verb} {LONG}:EDIT <<READ(known://note)::READ")
        assert workers.asked == []
        await run(bench)
        await run(bench)
        task = MakePreview(
            content=f"again {LONG}", mimetype="text/markdown", budget_chars=40, limit_s=previews.PREVIEW_LIMIT_S
        )
        assert workers.asked == [task]
        await do(bench, "<<EDIT(known://note)<1>:other words:EDIT")
        assert workers.asked == [task]
        await run(bench)
        assert len(workers.asked) == 2
        assert [shown(r, "known://note") for r in bench.model.requests] == [
            "outline of again ",
            "outline of again ",
            "outline of other ",
        ]


@pytest.mark.spec("2.8-preview-is-render-time")
async def test_deleted_and_written_anew_it_is_other_content(tmp_path: Path) -> None:
    """SQLite gives the same ids again, and the length is the same."""
    workers = Outlines()
    async with engine_with(
        tmp_path / "p.db", [DONE] * 2, workers=workers, preview_types=frozenset({"text/markdown"}), limits=LIMITS
    ) as bench:
        first = await do(bench, f"<<EDIT(known://note):ABCDEF{LONG}:EDIT")
        await run(bench)
        await do(bench, "<<MOVE(known://note)::MOVE")
        second = await do(bench, f"<<EDIT(known://note):UVWXYZ{LONG}:EDIT")
        await run(bench)
        assert [shown(r, "known://note") for r in bench.model.requests] == ["outline of ABCDEF", "outline of UVWXYZ"]
        assert first[0].status == second[0].status == 201


async def test_what_needs_no_handler_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fits, what is too long, binaries, tails, and types without a handler."""
    monkeypatch.setattr(previews, "PREVIEW_MAX_BYTES", 1000)
    workers = Outlines()
    types = frozenset({"text/x-fits", "text/x-wide", "text/x-long", "application/x-blob", "text/plain"})
    async with engine_with(tmp_path / "p.db", [DONE], workers=workers, preview_types=types, limits=LIMITS) as bench:
        await write(bench, fits="x" * 37, wide="ü" * 37, long="x" * 1001, other=LONG)

        def blob_and_tail(tx: Tx) -> None:
            entry = entries.create(tx, bench.session.id, "exec", "1")
            tail = channels.create(tx.db, entry.id, "stdout", "text/plain")
            channels.append(tx.db, tail, LONG.encode(), tokens=1)
            entry = entries.create(tx, bench.session.id, "known", "blob")
            blob = channels.create(tx.db, entry.id, "body", "application/x-blob")
            channels.append(tx.db, blob, b"\0" * 100, tokens=1)
            entries.index(tx, bench.run.id, [tail.id, blob.id])

        await bench.engine.store.write(blob_and_tail)
        await run(bench)
        (request,) = bench.model.requests
    assert workers.asked == []
    assert shown(request, "known://fits") == "1:\t" + "x" * 37
    assert shown(request, "known://wide") == "1:\t" + "ü" * 37
    assert shown(request, "known://long") == "1:\t" + "x" * 36 + "…"
    assert shown(request, "known://other") == HEAD
    assert shown(request, "known://blob") == "application/x-blob, 100 bytes"
    assert shown(request, "exec://1") == "… 9 lines before\n10:\ta line of text"


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_handlers(tmp_path / "installed", monkeypatch)
    monkeypatch.setattr(previews, "PREVIEW_LIMIT_S", 0.3)


@pytest.mark.spec("2.8-preview-fallback")
@pytest.mark.usefixtures("processes")
async def test_a_handler_that_fails_costs_its_preview_once_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    causes = {
        "failing": "KeyError: ",
        "refusing": "line 7 is odd",
        "hanging": "it took longer than a worker may work",
        "crashing": "the worker ended with SIGSEGV",
        "leaving": "the worker ended with exit code 3",
        "talking": "the handler of text/x-talking returned 41 characters of 40",
        "mute": "TypeError: the handler of text/x-mute returned NoneType, not str",
        "stranger": "the plurnk.mimetypes plugin 'text/x-stranger' of handlers says that it is 'text/x-other'",
    }
    async with (
        open_workers() as workers,
        engine_with(
            tmp_path / "p.db", [DONE] * 2, workers=workers, preview_types=HANDLER_TYPES, limits=LIMITS
        ) as bench,
    ):
        await write(bench, **dict.fromkeys(causes, LONG), echo=LONG)
        with caplog.at_level(logging.WARNING):
            await run(bench)
            told = sorted(record.getMessage() for record in caplog.records)
            caplog.clear()
            await run(bench)
            assert caplog.records == []
        for request in bench.model.requests:
            assert [shown(request, f"known://{name}") for name in causes] == [HEAD] * len(causes)
            assert shown(request, "known://echo") == f"150 {LONG[:20]}".rstrip()
    wanted = sorted(
        f"no preview of known://{name} (text/x-{name}), its head is shown: {cause}" for name, cause in causes.items()
    )
    assert [line[: len(start)] for line, start in zip(told, wanted, strict=True)] == wanted


@pytest.mark.spec("2.8-preview-fallback")
async def test_what_is_not_ready_in_time_is_made_for_the_next_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(previews, "PREVIEWS_LIMIT_S", 0.05)

    class Slow(Outlines):
        async def ask(self, task: Task[T]) -> T:
            if not self.asked:
                self.asked.append(MakePreview(content="", mimetype="", budget_chars=0, limit_s=1))
                await trio.sleep_forever()
            return await super().ask(task)

    async with engine_with(
        tmp_path / "p.db", [DONE] * 2, workers=Slow(), preview_types=HANDLER_TYPES, limits=LIMITS
    ) as bench:
        await write(bench, echo=LONG)
        await run(bench)
        await run(bench)
        assert [shown(r, "known://echo") for r in bench.model.requests] == [HEAD, "outline of a line"]
    assert caplog.records == []


async def test_one_packet_orders_so_much_and_the_next_one_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plurnk.engine.indexing.ORDERS_MAX_BYTES", 2 * len(LONG))
    workers = Outlines()
    names = ("echo", "failing", "hanging")
    async with engine_with(
        tmp_path / "p.db", [DONE] * 2, workers=workers, preview_types=HANDLER_TYPES, limits=LIMITS
    ) as bench:
        await write(bench, **dict.fromkeys(names, LONG))
        await run(bench)
        await run(bench)
        found = [[shown(r, f"known://{name}") for name in names] for r in bench.model.requests]
    assert found == [["outline of a line", "outline of a line", HEAD], ["outline of a line"] * 3]
    assert [task.mimetype for task in workers.asked] == [f"text/x-{name}" for name in names]


async def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "KEPT", 2)
    workers = Outlines()
    async with engine_with(
        tmp_path / "p.db", [DONE] * 2, workers=workers, preview_types=HANDLER_TYPES, limits=LIMITS
    ) as bench:
        await write(bench, echo=LONG, failing=LONG)
        await run(bench)
        await write(bench, hanging=LONG)
        await run(bench)
        assert len(bench.engine._shop.previews._made) == 2
    assert [task.mimetype for task in workers.asked] == ["text/x-echo", "text/x-failing", "text/x-hanging"]


@pytest.mark.usefixtures("processes")
async def test_workers_without_processes_answer_as_the_pool_does(tmp_path: Path) -> None:
    async with engine_with(
        tmp_path / "p.db", [DONE], workers=InlineWorkers(), preview_types=HANDLER_TYPES, limits=LIMITS
    ) as bench:
        await write(bench, echo=LONG, failing=LONG)
        await run(bench)
        (request,) = bench.model.requests
    assert shown(request, "known://echo") == f"150 {LONG[:20]}".rstrip()
    assert shown(request, "known://failing") == HEAD


INDEX = """\
* {"channels":{"body":{"mimetype":"text/x-python","tokens":23}},"path":"known://app.py"}
<<known://app.py:
4:\tclass App
5:\t  def run(self, name: str) -> int
9:\tdef f()
… 6 more lines
:known://app.py
* {"channels":{"body":{"mimetype":"application/yaml","tokens":21}},"path":"known://conf.yaml"}
<<known://conf.yaml:
2:\tname: app
3:\tserver:
4:\t  host: localhost
5:\t  port: 80
… 1 more
:known://conf.yaml
* {"channels":{"body":{"mimetype":"application/json","tokens":24}},"path":"known://data.json"}
<<known://data.json:
1:\tusers: [{id, name}, … 1 more]
2:\tnext: null
3:\tpages: {a}
:known://data.json
* {"channels":{"body":{"mimetype":"text/markdown","tokens":22}},"path":"known://note.md"}
<<known://note.md:
1:\t# Plan
3:\tWhat there is to do, in som…
5:\t## First
9:\t## Then
… 7 more lines
:known://note.md
* {"channels":{"body":{"mimetype":"text/html","tokens":22}},"path":"known://page.html"}
<<known://page.html:
1:\ttitle: Hello
2:\t  main
3:\th1: Hello you
5:\t  h2: More
:known://page.html
* {"channels":{"body":{"mimetype":"text/csv","tokens":21}},"path":"known://table.csv"}
<<known://table.csv:
1:\tid,name
2:\t1,Ann
3:\t2,Bob
4:\t3,Cid
5:\t4,Dot
6:\t5,Eve
… 7 more rows of 12
:known://table.csv
* {"channels":{"body":{"mimetype":"text/markdown","tokens":35}},"path":"known://text"}
<<known://text:
1:\tone line and then
2:\tanother line that is longer
… 4 more lines
:known://text"""


@pytest.mark.spec("2.8-preview-is-render-time", "2.8-preview-budget")
async def test_the_index_of_entries_of_different_types(tmp_path: Path) -> None:
    contents = {
        "app.py": "import os\n\n\nclass App:\n    def run(self, name: str) -> int:\n        return 1\n\n\ndef f(): 1\n",
        "conf.yaml": "# of the app\nname: app\nserver:\n  host: localhost\n  port: 80\n  paths: [/, /a, /b]\n",
        "data.json": '{"users": [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}], "next": null, "pages": {"a": 1}}',
        "note.md": "# Plan\n\nWhat there is to do, in some more words than fit.\n\n## First\n\none\n\n## Then\n\ntwo\n",
        "page.html": "<title>Hello</title>\n<main>\n<h1>Hello you</h1>\n<p>text of it</p>\n<h2>More</h2>\n</main>\n",
        "table.csv": "id,name\n1,Ann\n2,Bob\n3,Cid\n4,Dot\n5,Eve\n6,Fay\n7,Gus\n8,Hal\n9,Ida\n10,Jo\n11,Kim\n12,Lea\n",
        "text": "one line and then\nanother line that is longer\n" * 3,
    }
    types = frozenset(point.name for point in entry_points(group="plurnk.mimetypes"))
    async with engine_with(
        tmp_path / "p.db", [DONE], workers=InlineWorkers(), preview_types=types, limits=Limits(preview_chars=80)
    ) as bench:
        for path, content in contents.items():
            await do(bench, f"<<EDIT(known://{path}):{content}:EDIT <<READ(known://{path})::READ")
        await run(bench)
        (request,) = bench.model.requests
    index = request.messages[0].content.partition("# Plurnk System Index\n")[2].partition("\n\n# Plurnk")[0]
    assert index == INDEX


EVERY_PREVIEW = """
from importlib.metadata import entry_points
from pathlib import Path
for point in sorted(entry_points(group="plurnk.mimetypes"), key=lambda point: point.name):
    for path in ("plurnk/content/lines.py", "README.md"):
        print(ascii(point.load().preview(Path(path).read_text("utf-8"), 256)))
"""


@pytest.mark.spec("2.8-preview-deterministic")
async def test_every_process_makes_the_same_previews() -> None:
    made = set[bytes]()
    for seed in "12":
        command = [sys.executable, "-c", EVERY_PREVIEW]
        env = os.environ | {"PYTHONHASHSEED": seed}
        result = await trio.run_process(command, capture_stdout=True, cwd=ROOT, env=env)
        made.add(result.stdout)
    (lines,) = (text.count(b"\n") for text in made)
    assert lines == 2 * len(entry_points(group="plurnk.mimetypes"))
