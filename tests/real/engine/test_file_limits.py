"""What is held of files: by proposals that wait, and by whoever records what was done (SPEC 5.2, 5.3)."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.content import diffs
from tests.support.desk import until
from tests.support.engines import do
from tests.support.projects import project

MIB = 1024 * 1024


async def test_a_proposal_that_waits_holds_no_file(tmp_path: Path) -> None:
    async with project(tmp_path, {"big": "a line of sixteen\n" * (8 * MIB // 18)}) as desk:
        proposals, session_id = desk.bench.engine.proposals, desk.bench.session.id
        tracemalloc.start()
        try:
            before, _peak = tracemalloc.get_traced_memory()
            async with trio.open_nursery() as asking:
                asking.start_soon(do, desk.bench, "<<EDIT(big)<1>:changed:EDIT")
                await until(lambda: bool(proposals.pending(session_id)))
                await desk.bench.engine.store.write(lambda _tx: None)  # the writer has let go of what it did, too
                waiting, peak = tracemalloc.get_traced_memory()
                (pending,) = proposals.pending(session_id)
                await proposals.resolve(session_id, pending.told.log_entry_id, "accept")
        finally:
            tracemalloc.stop()
        assert peak - before > 8 * MIB
        assert waiting - before < MIB
        assert (desk.root / "big").read_text("utf-8").startswith("changed\na line")


async def test_what_changed_is_worked_out_before_the_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diff of a long file takes its time, and every other session would wait for it."""
    made_on: list[int] = []

    def readable(*args: Any, **more: Any) -> str:
        made_on.append(threading.get_ident())
        return shown(*args, **more)

    shown = diffs.readable
    monkeypatch.setattr(diffs, "readable", readable)
    async with project(tmp_path, {"a": "one\ntwo\n"}) as desk:
        writer = await desk.bench.engine.store.write(lambda _tx: threading.get_ident())
        edited = await desk.one("<<EDIT(a)<1>:ONE:EDIT")
        assert edited.diff == "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n"
        assert len(made_on) == 1
        assert not {writer, threading.get_ident()} & set(made_on)
