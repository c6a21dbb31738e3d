"""Two sessions and an outside editor write one file in turn: nothing stale is written, nothing is lost (SPEC 5.2)."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.files.renames import exchange
from plurnk.store.file_versions import KEPT_PER_FILE
from tests.support.daemons import PlainClient, plain_client, running, settings_in

ROUNDS = 150
"""Of each session."""

LEAST = 20
"""Accepts of each kind of answer, and saves in each way: or it was no race."""

LONGEST_PAUSE_S = 0.02
SLOWEST_SAVE_S = 0.004


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Editor:
    """Saves the file now and then, each time with a content that was never there."""

    path: Path
    chance: random.Random
    stop: threading.Event = field(default_factory=threading.Event)
    saved: list[bytes] = field(default_factory=list[bytes])
    overwritten: set[bytes] = field(default_factory=set[bytes])
    ways: list[str] = field(default_factory=list[str])

    def work(self) -> None:
        while not self.stop.wait(self.chance.random() * 3 * LONGEST_PAUSE_S):
            number = len(self.saved)
            content = f"the editor's {number}\n".encode() * self.chance.randint(1, 60)
            way = self.chance.choice([self._rename_over, self._write_in_place])
            way(content)
            self.saved.append(content)
            self.ways.append(way.__name__)

    def _rename_over(self, content: bytes) -> None:
        """As a rename over the file, but that what was overwritten can be looked at."""
        beside = self.path.with_name("saving")
        beside.write_bytes(content)
        directory = os.open(self.path.parent, os.O_PATH)
        try:
            assert exchange(directory, beside.name, self.path.name)
        except FileNotFoundError:
            beside.rename(self.path)  # a session has deleted it
        else:
            self.overwritten.add(beside.read_bytes())
            beside.unlink()
        finally:
            os.close(directory)

    def _write_in_place(self, content: bytes) -> None:
        """What was opened is truncated and written, wherever it is by then."""
        with self.path.open("r+b" if self.path.exists() else "w+b", buffering=0) as file:
            self._dawdle()
            self.overwritten.add(file.read())
            file.seek(0)
            file.truncate()
            self._dawdle()
            file.write(content[:100])
            self._dawdle()
            file.write(content[100:])
            self._dawdle()

    def _dawdle(self) -> None:
        time.sleep(self.chance.random() ** 4 * SLOWEST_SAVE_S)


@dataclass
class Writer:
    """A session: ``asker`` proposes, ``judge`` accepts."""

    name: str
    asker: PlainClient
    judge: PlainClient
    chance: random.Random
    written: dict[str, bytes] = field(default_factory=dict[str, bytes])
    accepted: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: int = 0

    async def work(self, target: str) -> None:
        for number in range(ROUNDS):
            await trio.sleep(self.chance.random() * LONGEST_PAUSE_S / 3)
            content = f"{self.name}, {number}\n" * self.chance.randint(1, 60)
            self.written[sha(content.encode())] = content.encode()
            ask = partial(self.asker.call, "op.edit", target=target, content=content)
            if self.chance.random() < 0.1:
                ask = partial(self.asker.call, "op.move", source=target)
            await self._round(ask)

    async def _round(self, ask: partial[Any]) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._accept)
            result = await ask()
            if result["status"] == 404:  # there is nothing to delete
                tasks.cancel_scope.cancel(reason="nothing is proposed")

    async def _accept(self) -> None:
        told = await self.judge.hear_until("loop/proposal")
        await trio.sleep(self.chance.random() * LONGEST_PAUSE_S / 2)
        answer = await self.judge.call("loop.resolve", logEntryId=told["logEntryId"], decision="accept")
        if answer["status"] in (200, 201):
            self.accepted.append(told)
        else:
            assert (answer["status"], answer["outcome"]) == (409, "write_conflict"), answer
            self.refused += 1

    async def history(self, target: str) -> list[tuple[int, str | None, str | None]]:
        """The versions that are kept, oldest first: their row, what was there, and what then."""
        listed = (await self.asker.call("file.history", target=target))["versions"]
        return [(each["logEntryId"], each["sha256"], each["afterSha256"]) for each in reversed(listed)]


@asynccontextmanager
async def writers(url: str, project: Path) -> AsyncIterator[list[Writer]]:
    async with AsyncExitStack() as there:
        made: list[Writer] = []
        for number in (1, 2):
            asker, judge = [await there.enter_async_context(plain_client(url)) for _ in range(2)]
            session_id = (await asker.call("session.create", projectRoot=str(project)))["id"]
            await judge.call("session.attach", id=session_id)
            made.append(Writer(f"session {number}", asker, judge, random.Random(number)))
        yield made


@pytest.mark.spec("5.2-cas-409")
async def test_an_accept_writes_what_was_shown_or_nothing_and_no_byte_of_the_editors_is_lost(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    file = project / "file.txt"
    file.write_bytes(b"")
    editor = Editor(file, random.Random(0))
    async with running(settings_in(tmp_path)) as url, writers(url, project) as both:
        with trio.fail_after(60):
            async with trio.open_nursery() as editing:
                editing.start_soon(trio.to_thread.run_sync, editor.work)
                async with trio.open_nursery() as writing:
                    for writer in both:
                        writing.start_soon(writer.work, file.name)
                editor.stop.set()
            for writer in both:
                shown = [
                    (told["logEntryId"], told["attrs"]["base"], told["attrs"]["patchedSha256"])
                    for told in writer.accepted
                ]
                assert await writer.history(file.name) == shown[-KEPT_PER_FILE:]
    check(editor, both, project)


def check(editor: Editor, both: list[Writer], project: Path) -> None:
    accepted = [told["attrs"] for writer in both for told in writer.accepted]
    bases = [attrs["base"] for attrs in accepted if attrs["base"] is not None]
    # Two changes that were made of one content would be one that is lost.
    assert len(set(bases)) == len(bases)
    left = {path.name: path.read_bytes() for path in project.iterdir()}
    assert [name for name in left if name != "file.txt" and not name.endswith(".kept")] == []
    found = {sha(content) for content in [*left.values(), *editor.overwritten]} | set(bases)
    assert [content[:30] for content in editor.saved if sha(content) not in found] == []
    # Nor is what one session wrote lost to the other one.
    written = {sha256: content for writer in both for sha256, content in writer.written.items()}
    made = [attrs["patchedSha256"] for attrs in accepted if attrs["patchedSha256"] is not None]
    assert [written[sha256][:30] for sha256 in made if sha256 not in found] == []
    # What was there when it was accepted was whole.
    assert [base for base in bases if base not in written and base not in map(sha, [b"", *editor.saved])] == []
    assert min(len(accepted), sum(writer.refused for writer in both)) >= LEAST
    assert min(map(editor.ways.count, set(editor.ways))) >= LEAST
