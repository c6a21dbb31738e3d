"""A project on disk with an engine in front of it, and somebody who answers what it proposes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from plurnk.engine.proposals import Decision, Resolution
from plurnk.store import entries
from plurnk.store.entries import Entry
from plurnk.wire.notifications import LoopProposal
from plurnk.wire.results import OpResult
from tests.support.desk import until
from tests.support.engines import Bench, Say, do, engine_with

Tree = Mapping[str, str | bytes]


def write_tree(root: Path, tree: Tree) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def read_tree(root: Path) -> dict[str, bytes]:
    """Every file beneath ``root``, whatever its name, without what git keeps."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


@dataclass
class Desk:
    """``shown``: what was proposed, in order."""

    bench: Bench
    root: Path
    shown: list[LoopProposal] = field(default_factory=list[LoopProposal])
    answers: list[Resolution] = field(default_factory=list[Resolution])

    async def do(
        self, text: str, decision: Decision = "accept", *, meanwhile: Callable[[], object] = lambda: None, **answer: Any
    ) -> list[OpResult]:
        """The results of the statements of a client, each proposal answered with ``decision`` after ``meanwhile``."""
        async with trio.open_nursery() as answering:
            answering.start_soon(self._keep_answering, decision, meanwhile, answer)
            results = await do(self.bench, text)
            answering.cancel_scope.cancel(reason="all is done")
        return results

    async def one(self, text: str, decision: Decision = "accept", **answer: Any) -> OpResult:
        (result,) = await self.do(text, decision, **answer)
        return result

    async def _keep_answering(
        self, decision: Decision, meanwhile: Callable[[], object], answer: Mapping[str, Any]
    ) -> None:
        proposals, session_id = self.bench.engine.proposals, self.bench.session.id
        while True:
            await until(lambda: bool(proposals.pending(session_id)))
            (pending,) = proposals.pending(session_id)
            self.shown.append(pending.told)
            meanwhile()
            self.answers.append(await proposals.resolve(session_id, pending.told.log_entry_id, decision, **answer))
            if pending in proposals.pending(session_id):  # what was sent could not be accepted
                await proposals.resolve(session_id, pending.told.log_entry_id, "reject")

    async def entry(self, path: str) -> Entry | None:
        """What the store knows of the file."""
        return await self.bench.engine.store.read(lambda db: entries.find(db, self.bench.session.id, None, path))

    async def tags(self, path: str) -> tuple[str, ...]:
        entry = await self.entry(path)
        assert entry is not None
        return await self.bench.engine.store.read(lambda db: entries.tags(db, entry.id))


@asynccontextmanager
async def project(folder: Path, tree: Tree, say: Say | Sequence[str] = (), **options: Any) -> AsyncIterator[Desk]:
    """An engine whose session has ``tree`` for its project, in ``folder``/work."""
    root = folder / "work"
    root.mkdir()
    write_tree(root, tree)
    with trio.fail_after(30):
        async with engine_with(folder / "p.db", say, project_root=root, **options) as bench:
            yield Desk(bench, root)
