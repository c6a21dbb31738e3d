"""Commands that ``plurnk run`` and ``plurnk op`` are asked about, and what they show of those that run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.fake_daemon import FakeDaemon, Json, Peer
from tests.support.fake_loops import LOOP, ROW, LoopDaemon, served
from tests.support.home import END_S, Home
from tests.support.proposal_views import DIGEST
from tests.support.terminals import at_a_terminal


class Deciding(LoopDaemon):
    """Proposes ``make``; ``then`` is what follows from the decision."""

    def __init__(self, then: Callable[[Deciding, Json], None], **flags: bool) -> None:
        super().__init__(lambda daemon: daemon.proposes("make all", **flags))
        self.then = then
        self.decisions: list[Json] = []
        self.handlers["loop.resolve"] = self._resolve
        self.handlers["entry.read"] = lambda _peer, params: stdout_of(b"one\ntwo\n\n", "active", params)

    def _resolve(self, _peer: Peer, params: Json) -> Json:
        self.decisions.append(params)
        self.then(self, params)
        return {"status": 102 if params["decision"] == "accept" else 400, "logEntryId": ROW}


def stdout_of(data: bytes, state: str, params: Json) -> Json:
    start = params["from"] or 0
    piece = data[start:] if params["channel"] == "stdout" else b""
    channel = {
        "content": piece.decode(),
        "mimetype": "text/plain",
        "tokens": 0,
        "state": state,
        "length": len(data),
        "next": start + len(piece),
    }
    entry: Json = {"id": 9, "scheme": "exec", "pathname": "sh-1", "target": "exec://sh-1", "tags": [], "attributes": {}}
    return {"status": 200, "entry": {**entry, "channels": {params["channel"]: channel}}}


def rejected(daemon: Deciding, params: Json) -> None:
    daemon.decided(400, outcome=params["outcome"], state="failed")
    daemon.ends(200)


def run_and_end(daemon: Deciding, _params: Json) -> None:
    daemon.decided(102)
    daemon.grows(9)
    daemon.grows(9, channel="stdin", awaitingInput=True)
    daemon.concludes(500, 2)
    daemon.row(op="EXEC", origin="system", scheme="exec", pathname="sh-1", status_rx=500, rx={"error": "exit code 2"})
    daemon.ends(200)


def run_on(daemon: Deciding, _params: Json) -> None:
    daemon.decided(102)
    daemon.ends(200)


async def plurnk(home: Home, daemon: FakeDaemon, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    async with served(home, daemon):
        with trio.fail_after(END_S):
            return await trio.run_process(
                home.command(*arguments),
                env=home.env,
                cwd=home.work,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )


def shown(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The rows, without the header and the line that ends it."""
    return done.stderr.decode().splitlines()[2:-1]


async def test_without_a_terminal_a_command_is_rejected_and_it_is_said_how_not(tmp_path: Path) -> None:
    daemon = Deciding(rejected)
    done = await plurnk(Home(tmp_path), daemon, "run", "x")
    assert done.returncode == 0
    assert [(d["logEntryId"], d["decision"]) for d in daemon.decisions] == [(ROW, "reject")]
    assert daemon.decisions[0]["outcome"].startswith("rejected: nobody can be asked here; ")
    assert shown(done) == [
        "? 1/2/3 EXEC 202: make all",
        "! rejected, as nobody can be asked: make all",
        "  --yolo accepts every proposal; on a terminal you are asked",
        f"✗ 1/2/3 EXEC 400: make (it was {daemon.decisions[0]['outcome']})",
    ]


async def test_yolo_is_the_daemons_business_and_a_pipe_sees_the_lifecycle_alone(tmp_path: Path) -> None:
    daemon = Deciding(run_and_end)

    def proposes_and_runs(_daemon: LoopDaemon) -> None:
        daemon.proposes("make all", yolo=True)
        run_and_end(daemon, {})

    daemon.script = proposes_and_runs
    done = await plurnk(Home(tmp_path), daemon, "run", "--yolo", "x")
    assert dict(daemon.requests)["loop.run"]["flags"]["yolo"] is True
    assert daemon.decisions == []
    assert "entry.read" not in dict(daemon.requests)
    assert shown(done) == [
        "? 1/2/3 EXEC 202: make all",
        "… 1/2/3 EXEC 102 exec://sh-1: make",
        "! exec://sh-1 waits for input: plurnk op --session session-1 '<<SEND[200](exec://sh-1):TEXT:SEND'",
        "✗ exec://sh-1 ended with exit code 2 after 0.1 s; 3 bytes on stdout, 0 on stderr",
    ]


async def test_yolo_accepts_what_a_loop_proposes_that_was_there_before(tmp_path: Path) -> None:
    daemon = Deciding(run_on)
    done = await plurnk(Home(tmp_path), daemon, "run", "--yolo", "x")
    assert [d["decision"] for d in daemon.decisions] == ["accept"]
    assert "exec://sh-1 goes on; plurnk ps" in done.stderr.decode()


async def test_json_has_the_streams_too(tmp_path: Path) -> None:
    daemon = Deciding(run_and_end)
    done = await plurnk(Home(tmp_path), daemon, "run", "--json", "--yolo", "x")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["method"] for event in events] == [
        "log/entry",
        "loop/proposal",
        "log/updated",
        "stream/event",
        "stream/event",
        "stream/concluded",
        "log/entry",
        "loop/terminated",
    ]
    assert events[4]["params"]["awaitingInput"] is True
    assert events[5]["params"]["exitCode"] == 2


QUESTION = "Accept? [y]es, [n]o (a word of why may follow), [e]dit, [a]lways, [v]iew: "


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("y", {"decision": "accept", "body": None, "outcome": None}),
        ("n", {"decision": "reject", "body": None, "outcome": None}),
        ("no use make check", {"decision": "reject", "body": None, "outcome": "rejected: use make check"}),
        ("", {"decision": "reject", "body": None, "outcome": None}),
    ],
)
async def test_a_person_at_a_terminal_is_asked(tmp_path: Path, typed: str, decision: Json) -> None:
    home = Home(tmp_path)

    def then(daemon: Deciding, params: Json) -> None:
        (run_on if params["decision"] == "accept" else rejected)(daemon, params)

    daemon = Deciding(then)
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        assert "EXEC by sh in . (sandbox workspace, no network, may write /project):\n  │ make all\n" in terminal.text
        await terminal.type(typed)
        assert (await terminal.end())[0] == 0
    assert [{key: made[key] for key in decision} for made in daemon.decisions] == [decision]
    assert [made["digest"] for made in daemon.decisions] == [DIGEST], "to this one, and to nothing else"


async def test_what_is_no_answer_is_asked_again_and_an_edited_command_is_shown(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(run_on)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "make check\\n" > "$2"\n')
    editor.chmod(0o755)
    async with (
        served(home, daemon),
        at_a_terminal(home, "run", "x", EDITOR=f"{editor} --wait", VISUAL="") as terminal,
    ):
        await terminal.see(QUESTION)
        await terminal.type("perhaps")
        await terminal.see("y, n, e, a or v, please.")
        await terminal.see(QUESTION, 2)
        await terminal.type("e")
        await terminal.see("  │ make check\n")
        await terminal.see(QUESTION, 3)
        await terminal.type("yes")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == ["make check"]


async def test_an_editor_that_fails_leaves_the_command_as_it_was(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(run_on)
    async with served(home, daemon), at_a_terminal(home, "run", "x", EDITOR="false", VISUAL="/no/such") as terminal:
        await terminal.see(QUESTION)
        await terminal.type("e")
        await terminal.see("/no/such did not work: ")
        await terminal.see(QUESTION, 2)
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert [made["body"] for made in daemon.decisions] == [None]


async def test_what_was_typed_before_the_question_is_no_answer(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(run_on)
    proposes = daemon.script

    def thinks(_daemon: LoopDaemon) -> None:
        daemon.says(102, "thinking")

    daemon.script = thinks
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see("thinking")
        await terminal.type("y")
        proposes(daemon)
        await terminal.see(QUESTION)
        assert daemon.decisions == []
        await terminal.type("y")
        assert (await terminal.end())[0] == 0
    assert len(daemon.decisions) == 1


async def test_a_question_that_is_answered_elsewhere_is_taken_back(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(run_on)
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        daemon.decided(499, state="cancelled")
        await terminal.see("it is decided")
        daemon.ends(200)
        assert (await terminal.end())[0] == 0
    assert daemon.decisions == []
    asked, _, after = terminal.text.partition(QUESTION)
    assert "499" not in asked
    assert [line for line in after.replace("\r", "\n").split("\n") if line and " s · " not in line][:2] == [
        "it is decided",
        "■ 1/2/3 EXEC 499: make (it was rejected)",
    ]


async def test_ctrl_c_at_the_question_cancels_the_loop(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(run_on)
    async with served(home, daemon), at_a_terminal(home, "run", "x") as terminal:
        await terminal.see(QUESTION)
        terminal.interrupt()
        assert (await terminal.end())[0] == 130
    assert daemon.decisions == []
    assert dict(daemon.requests)["loop.cancel"] == {"reason": "Ctrl-C", "loopId": LOOP}


async def test_a_terminal_shows_the_latest_line_of_what_runs(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Deciding(lambda daemon, _params: daemon.decided(102))
    async with served(home, daemon), at_a_terminal(home, "run", "--yolo", "x") as terminal:
        await terminal.see("102 exec://sh-1")
        daemon.grows(9)
        await terminal.see("exec://sh-1 │ two")
        daemon.concludes()
        daemon.ends(200)
        assert (await terminal.end())[0] == 0
    assert "✓ exec://sh-1 ended with exit code 0 after 0.1 s" in terminal.text


class Operating(Deciding):
    """Does the one EXEC that it is asked for, in the client's own loop, once that is accepted."""

    def __init__(self, *, exit_code: int = 0, data: bytes = b"built\n") -> None:
        super().__init__(lambda _daemon, _params: self._decided())
        self.exit_code = exit_code
        self.data = data
        self.state = "active"
        self.answered = trio.Event()
        self.handlers |= {
            "op.parse": self._parse,
            "entry.read": lambda _peer, params: stdout_of(self.data, self.state, params),
            "subscription.cancel": self._cancel_stream,
        }

    def _decided(self) -> None:
        self.row(method="log/updated", id=ROW, op="EXEC", state="resolved")
        self.answered.set()

    async def _parse(self, _peer: Peer, params: Json) -> Json:
        answer: Json = {"errors": [], "turnId": 2, "loopId": LOOP}
        if not params["text"]:
            return {**answer, "results": []}
        self.proposes("make all")
        await self.answered.wait()
        if self.decisions[-1]["decision"] != "accept":
            return {**answer, "results": [{"status": 400, "error": "it was rejected"}]}
        return {**answer, "results": [{"status": 102, "entry": "exec://sh-1", "subscriptionId": 3}]}

    def over(self, status: int, code: int | None) -> None:
        self.state = "closed" if status == 200 else "errored"
        self.grows(len(self.data), state=self.state)
        self.grows(0, channel="stderr", state=self.state)
        self.concludes(status, code)

    def _cancel_stream(self, _peer: Peer, _params: Json) -> Json:
        self.over(499, 143)
        return {"status": 200, "target": "exec://sh-1", "closeStatus": 499}


EXEC = "<<EXEC:make all:EXEC"


@pytest.mark.parametrize("exit_code", [0, 3])
async def test_op_follows_a_command_and_ends_as_it_does(tmp_path: Path, exit_code: int) -> None:
    home, daemon = Home(tmp_path), Operating()
    async with served(home, daemon), at_a_terminal(home, "op", EXEC) as terminal:
        await terminal.see(QUESTION)
        await terminal.type("y")
        await terminal.see("102 exec://sh-1")
        daemon.over(200 if exit_code == 0 else 500, exit_code)
        assert await terminal.end() == (exit_code, "built\n")
    assert (f"plurnk: exec://sh-1 ended with exit code {exit_code}" in terminal.text) is (exit_code != 0)


async def test_op_without_a_terminal_rejects_and_says_so(tmp_path: Path) -> None:
    done = await plurnk(Home(tmp_path), Operating(), "op", EXEC)
    assert (done.returncode, done.stdout) == (1, b"400 it was rejected\n")
    assert done.stderr.decode().splitlines() == [
        "! rejected, as nobody can be asked: make all",
        "  --yolo accepts every proposal; on a terminal you are asked",
    ]


async def test_op_detached_prints_the_address_and_leaves(tmp_path: Path) -> None:
    daemon = Operating()
    done = await plurnk(Home(tmp_path), daemon, "op", "--yolo", "--detach", EXEC)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"exec://sh-1\n", b"")
    assert [made["decision"] for made in daemon.decisions] == ["accept"]


async def test_ctrl_c_ends_what_op_started(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Operating()
    async with served(home, daemon), at_a_terminal(home, "op", "--yolo", EXEC) as terminal:
        await terminal.see("102 exec://sh-1")
        terminal.interrupt()
        assert (await terminal.end())[0] == 130
    assert dict(daemon.requests)["subscription.cancel"]["id"] == 3
    assert "ending it; Ctrl-C again leaves it running" in terminal.text


async def test_ctrl_c_at_ops_question_cancels_the_proposal(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Operating()
    async with served(home, daemon), at_a_terminal(home, "op", EXEC) as terminal:
        await terminal.see(QUESTION)
        terminal.interrupt()
        assert (await terminal.end())[0] == 130
    assert [made["decision"] for made in daemon.decisions] == ["cancel"]


async def test_a_second_ctrl_c_leaves_it_running(tmp_path: Path) -> None:
    async def deaf(_peer: Peer, _params: Json) -> Json:
        await trio.sleep_forever()
        raise AssertionError("for ever is over")

    home, daemon = Home(tmp_path), Operating()
    daemon.handlers["subscription.cancel"] = deaf
    async with served(home, daemon), at_a_terminal(home, "op", "--yolo", EXEC) as terminal:
        await terminal.see("102 exec://sh-1")
        terminal.interrupt()
        await terminal.see("ending it")
        terminal.interrupt()
        assert (await terminal.end())[0] == 130


async def test_proposals_of_others_are_theirs(tmp_path: Path) -> None:
    daemon = Operating()
    parse = daemon.handlers["op.parse"]

    async def in_another_loop(peer: Peer, params: Json) -> Json:
        if params["text"]:
            daemon.proposes("not mine", row=ROW + 1, loop=LOOP + 1)
        answer: Any = parse(peer, params)
        return dict(await answer)

    daemon.handlers["op.parse"] = in_another_loop
    done = await plurnk(Home(tmp_path), daemon, "op", "--yolo", "--detach", EXEC)
    assert done.returncode == 0
    assert [made["logEntryId"] for made in daemon.decisions] == [ROW]


async def test_a_reader_that_has_seen_enough_ends_the_command(tmp_path: Path) -> None:
    home, daemon = Home(tmp_path), Operating(data=b"y\n" * 100_000)
    command = " ".join(f"'{word}'" for word in home.command("op", "--yolo", EXEC)) + " | head -n 1"
    async with served(home, daemon):
        with trio.fail_after(END_S):
            done = await trio.run_process(
                ["sh", "-c", command], env=home.env, cwd=home.work, capture_stdout=True, capture_stderr=True
            )
    assert done.stdout == b"y\n"
    assert done.stderr.decode() == "102 exec://sh-1\n"
    assert "subscription.cancel" in dict(daemon.requests)
