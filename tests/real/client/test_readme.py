"""What README.md shows of the client works as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.daemons import plain_client, running, settings_in
from tests.support.source import ROOT

TURNS = ["<<EDIT(a.txt)<2>:2:EDIT <<SEND[102]:look:SEND", "<<SEND[200]:done:SEND"]


def shown(what: str) -> dict[str, Any]:
    """The names of the one example that defines ``what``."""
    examples = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    [example] = [text for text in examples if f"def {what}(" in text]
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # it is our own
    return names


@pytest.mark.spec("5.3-reannounced", "5.3-digest")
async def test_an_editor_reviews_what_was_proposed_before_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, work = tmp_path / "script.json", tmp_path / "work"
    script.write_text(json.dumps(TURNS))
    work.mkdir()
    (work / "a.txt").write_text("one\ntwo\n")
    settings = settings_in(tmp_path, PLURNK_MODEL="m", PLURNK_MODEL_m="mock/x", PLURNK_MOCK_SCRIPT=str(script))
    async with running(settings) as url, plain_client(url) as client:
        with trio.fail_after(30):
            session = await client.call("session.create", projectRoot=str(work))
            await client.call("loop.run", prompt="x", wait=False)
            await client.hear_until("loop/proposal")
            capsys.readouterr()
            await shown("review")["review"](url, session["id"])
    assert (work / "a.txt").read_text() == "one\n2\n"
    written = capsys.readouterr().out.splitlines()
    assert written[:6] == ["a.txt", "--- a/a.txt", "+++ b/a.txt", "@@ -1,2 +1,2 @@", " one", "-two"]
    assert [line.rstrip() for line in written[-2:]] == ["200", "a.txt resolved"]


async def test_another_way_is_tried_in_a_fork(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["<<EDIT(known://a):x:EDIT", "<<SEND[200]:one way:SEND", "<<SEND[200]:another:SEND"]))
    settings = settings_in(tmp_path, PLURNK_MODEL="m", PLURNK_MODEL_m="mock/x", PLURNK_MOCK_SCRIPT=str(script))
    async with running(settings) as url, plain_client(url) as client:
        session = (await client.call("session.create"))["id"]
        with trio.fail_after(30):
            turn = (await client.call("loop.run", prompt="x"))["turnIds"][0]
            fork = shown("try_another_way")["try_another_way"]
            assert await trio.to_thread.run_sync(fork, url, session, turn, "differently") == "fork-1"
        runs = (await client.call("session.runs"))["runs"]
        rows = (await client.call("log.read", runId=runs[1]["id"]))["entries"]
        assert [(row["loop_seq"], row["turn_seq"], row["op"]) for row in rows] == [
            (1, 1, "EDIT"),
            (1, 1, "EDIT"),
            (2, 1, "EDIT"),
            (2, 1, "SEND"),
        ]
