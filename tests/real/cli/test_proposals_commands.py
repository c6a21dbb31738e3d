"""``plurnk proposals``, ``accept``, ``reject``, ``approvals``, ``history`` and ``restore``."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from plurnk.wire.answers import ProposalView
from tests.support.fake_daemon import Json, Peer
from tests.support.fake_loops import ROW, LoopDaemon, served
from tests.support.home import END_S, Home, opened_home
from tests.support.log_entries import log_entry
from tests.support.proposal_views import DIGEST, of_command, of_file
from tests.support.terminals import at_a_terminal


class Waiting(LoopDaemon):
    """Has proposals that wait in its one session."""

    def __init__(self, *proposals: ProposalView) -> None:
        super().__init__(lambda _daemon: None)
        self.proposals = list(proposals)
        self.approvals: list[Json] = []
        self.resolved: Json = {"status": 200}
        self.handlers |= {
            "proposal.list": lambda _peer, _params: {"proposals": [msgspec.to_builtins(one) for one in self.proposals]},
            "loop.resolve": lambda _peer, params: {"logEntryId": params["logEntryId"], **self.resolved},
            "log.read": self._read_log,
            "approval.list": lambda _peer, _params: {"approvals": self.approvals},
            "approval.add": self._approve,
            "approval.remove": lambda _peer, params: {"id": params["id"], "removed": True},
        }

    def _read_log(self, _peer: Peer, params: Json) -> Json:
        done = next(one for one in self.proposals if one.log_entry_id == params["sinceId"] + 1)
        fields: Json = {"id": done.log_entry_id, "pathname": done.target.pathname}
        row = log_entry(op=done.op, status_rx=self.resolved["status"], **fields)
        return {"status": 200, "entries": [msgspec.to_builtins(row)]}

    def _approve(self, _peer: Peer, params: Json) -> Json:
        self.approvals.append({"id": 3, "createdAt": "2026-01-01T00:00:00Z", **params})
        return self.approvals[-1]

    def asked(self, method: str) -> list[Json]:
        return [params for name, params in self.requests if name == method]


async def plurnk(home: Home, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    with trio.fail_after(END_S):
        done = await trio.run_process(
            home.command(*arguments),
            env=home.env,
            cwd=home.work,
            stdin=given.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def waiting(tmp_path: Path, *proposals: ProposalView) -> AsyncIterator[tuple[Home, Waiting]]:
    home, daemon = Home(tmp_path), Waiting(*proposals)
    async with served(home, daemon):
        yield home, daemon


async def test_what_waits_is_listed(tmp_path: Path) -> None:
    at = datetime.now(UTC).isoformat()
    both = (of_file(), of_command("make all\nmake check", log_entry_id=12))
    async with waiting(tmp_path, *(msgspec.structs.replace(one, at=at) for one in both)) as (home, _daemon):
        done = await plurnk(home, "proposals")
        assert done.returncode == 0, done.stderr
        rows = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
        assert rows[0] == ["ID", "SESSION", "AGE", "OP", "WHAT"]
        assert [[row[0], row[1], *row[4:]] for row in rows[1:]] == [
            ["7", "older", "EDIT", "src/app.py"],
            ["12", "older", "EXEC", "make all…"],
        ]
        raw = [json.loads(line) for line in (await plurnk(home, "proposals", "--json")).stdout.splitlines()]
        assert [(one["session"], one["logEntryId"], one["attrs"]["digest"]) for one in raw] == [
            ("older", 7, DIGEST),
            ("older", 12, DIGEST),
        ]


async def test_that_nothing_waits_is_said(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (home, _daemon):
        done = await plurnk(home, "proposals")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing waits to be accepted\n")
        assert (await plurnk(home, "proposals", "--json")).stdout == ""
        gone = await plurnk(home, "proposals", "7")
        assert (gone.returncode, gone.stdout) == (1, "")
        assert gone.stderr == "plurnk: no proposal 7 waits for an answer; plurnk proposals lists those that do\n"
        assert (await plurnk(home, "proposals", "--session", "no")).stderr == "plurnk: there is no session 'no'\n"


async def test_one_is_shown_whole(tmp_path: Path) -> None:
    async with waiting(tmp_path, of_file(old=None, new="x\n" * 1000)) as (home, _daemon):
        done = await plurnk(home, "proposals", "7")
        assert done.stdout.splitlines()[:4] == [
            "EDIT src/app.py (a new file, +1000 -0 lines):",
            "--- /dev/null",
            "+++ b/src/app.py",
            "@@ -0,0 +1,1000 @@",
        ]
        assert len(done.stdout.splitlines()) == 1004
        raw = await plurnk(home, "proposals", "7", "--json")
        assert json.loads(raw.stdout)["attrs"]["patched"] == "x\n" * 1000


async def test_what_is_accepted_is_what_was_found(tmp_path: Path) -> None:
    async with waiting(tmp_path, of_file(), of_command(log_entry_id=12)) as (home, daemon):
        done = await plurnk(home, "accept", "7")
        assert (done.returncode, done.stdout, done.stderr) == (0, "accepted: 1/2/3 EDIT src/app.py 200\n", "")
        assert daemon.asked("loop.resolve") == [
            {"logEntryId": ROW, "decision": "accept", "body": None, "outcome": None, "grant": None, "digest": DIGEST}
        ]


async def test_a_body_of_ones_own_and_the_network(tmp_path: Path) -> None:
    async with waiting(tmp_path, of_command()) as (home, daemon):
        (home.work / "body").write_bytes(b"make\r\nno end")
        assert (await plurnk(home, "accept", "7", "--body", "body")).returncode == 0
        assert (await plurnk(home, "accept", "7", "--body", "-", "--grant-network", given="make x\n")).returncode == 0
        asked = daemon.asked("loop.resolve")
        assert [one["body"] for one in asked] == ["make\r\nno end", "make x\n"]
        assert [one["grant"] for one in asked] == [None, {"network": True, "writable": []}]
        missing = await plurnk(home, "accept", "7", "--body", "nothing")
        assert missing.returncode == 1
        assert missing.stderr == "plurnk: nothing cannot be read: No such file or directory\n"
        (home.work / "body").write_bytes(b"caf\xe9")
        foreign = await plurnk(home, "accept", "7", "--body", "body")
        assert (foreign.returncode, foreign.stderr) == (1, "plurnk: body is no text in UTF-8, beginning with byte 3\n")
        assert len(daemon.asked("loop.resolve")) == 2


@pytest.mark.parametrize(
    ("resolved", "said"),
    [
        ({"status": 409, "error": "somebody was first: rejected"}, "plurnk: 409 somebody was first: rejected\n"),
        ({"status": 404, "error": "nothing is pending at log row 7"}, "plurnk: 404 nothing is pending at log row 7\n"),
        ({"status": 409, "error": "it is not what was shown"}, "plurnk: 409 it is not what was shown\n"),
        (
            {"status": 409, "outcome": "write_conflict", "error": "changed on disk since the proposal"},
            "plurnk: 409 changed on disk since the proposal\n",
        ),
        ({"status": 499, "outcome": "timeout"}, "plurnk: 499 timeout\n"),
    ],
)
async def test_what_is_refused_is_said(tmp_path: Path, resolved: Json, said: str) -> None:
    async with waiting(tmp_path, of_file()) as (home, daemon):
        daemon.resolved = resolved
        done = await plurnk(home, "accept", "7")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


async def test_rejected_with_a_reason(tmp_path: Path) -> None:
    async with waiting(tmp_path, of_file()) as (home, daemon):
        daemon.resolved = {"status": 400, "outcome": "rejected"}
        done = await plurnk(home, "reject", "7", "use", "the helper")
        assert (done.returncode, done.stdout) == (0, "rejected: EDIT src/app.py (+2 -1 lines)\n"), done.stderr
        assert (await plurnk(home, "reject", "7")).returncode == 0
        asked = daemon.asked("loop.resolve")
        assert [one["decision"] for one in asked] == ["reject", "reject"]
        assert [one["outcome"] for one in asked] == ["rejected: use the helper", None]
        daemon.resolved = {"status": 503, "error": "the daemon is stopping; it stays open"}
        stays = await plurnk(home, "reject", "7")
        assert (stays.returncode, stays.stderr) == (1, "plurnk: 503 the daemon is stopping; it stays open\n")
        daemon.resolved = {"status": 409, "error": "somebody was first: resolved"}
        late = await plurnk(home, "reject", "7")
        assert (late.returncode, late.stderr) == (1, "plurnk: 409 somebody was first: resolved\n")
        assert (await plurnk(home, "reject", "8")).returncode == 1


@pytest.mark.spec("5.3-approvals-narrow")
async def test_always_adds_an_approval_that_can_be_taken_back(tmp_path: Path) -> None:
    both = (of_command("make test -j 2"), of_command("make | sh", log_entry_id=8))
    async with waiting(tmp_path, *both) as (home, daemon):
        assert (await plurnk(home, "approvals")).stderr == "nothing is accepted without asking\n"
        daemon.resolved = {"status": 102}
        done = await plurnk(home, "accept", "7", "--always")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "accepted from now on: EXEC of make test … (sandbox workspace at most)",
            "  plurnk approvals --remove 3 ends that",
            "accepted: 1/2/3 EXEC 102",
        ]
        several = await plurnk(home, "accept", "8", "--always")
        assert (several.returncode, several.stdout) == (1, "")
        assert (
            several.stderr == "plurnk: nothing narrow would accept this one always; without --always it is accepted\n"
        )
        assert [one["logEntryId"] for one in daemon.asked("loop.resolve")] == [7]

        listed = await plurnk(home, "approvals")
        assert listed.stdout.splitlines()[1] == (
            " 3  older    2026-01-01T00:00:00Z  EXEC of make test … (sandbox workspace at most)"
        )
        assert json.loads((await plurnk(home, "approvals", "--json")).stdout)["commandPrefix"] == "make test"
        missing = await plurnk(home, "approvals", "--remove", "4")
        assert (missing.returncode, daemon.asked("approval.remove")) == (1, [])
        removed = await plurnk(home, "approvals", "--remove", "3")
        assert removed.stdout == "asked about again: EXEC of make test … (sandbox workspace at most)\n"
        assert daemon.asked("approval.remove") == [{"id": 3}]


VERSIONS: list[Json] = [
    {"version": 4, "at": "T2", "logEntryId": 9, "sha256": "ab" * 32, "bytes": 12, "afterSha256": "cd" * 32},
    {"version": 2, "at": "T1", "logEntryId": 7, "sha256": None, "bytes": None, "afterSha256": "ab" * 32},
]


def history_of(path: str) -> Callable[[Peer, Json], Json]:
    return lambda _peer, params: {
        "target": params["target"],
        "versions": VERSIONS if params["target"] == path else [],
    }


async def test_what_a_file_held_is_listed(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (home, daemon):
        daemon.project_root = str(home.folder)
        daemon.handlers["file.history"] = history_of("work/a.py")
        done = await plurnk(home, "history", "a.py")
        assert done.stdout.splitlines()[1:] == [
            "      4  older    T2            12  abababababab",
            "      2  older    T1             –  not there",
        ]
        raw = [json.loads(line) for line in (await plurnk(home, "history", "a.py", "--json")).stdout.splitlines()]
        assert [(one["session"], one["version"]) for one in raw] == [("older", 4), ("older", 2)]
        none = await plurnk(home, "history", "b.py", "--session", "older")
        assert (none.returncode, none.stdout) == (0, "")
        assert none.stderr == "nothing that was accepted in session older has written to b.py\n"
        assert (await plurnk(home, "history", "b.py")).stderr == "nothing that was accepted has written to b.py\n"
        gone = await plurnk(home, "restore", "a.py", "3")
        assert (gone.returncode, gone.stdout) == (1, "")
        assert gone.stderr == "plurnk: there is no version 3 of a.py; plurnk history lists those that are kept\n"


@pytest.mark.parametrize("command", [("history",), ("restore", "--yolo")])
async def test_a_file_of_another_project_is_never_meant(tmp_path: Path, command: tuple[str, ...]) -> None:
    number = ["4"] if "restore" in command else []
    async with waiting(tmp_path) as (home, daemon):
        daemon.project_root = str(home.folder / "other")
        daemon.handlers["file.history"] = history_of("a.py")
        done = await plurnk(home, *command, "a.py", *number)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "plurnk: no session has a project with a.py in it\n"
        assert daemon.asked("file.history") == []
        unknown = await plurnk(home, *command, "a.py", *number, "--session", "no")
        assert (unknown.returncode, unknown.stderr) == (1, "plurnk: there is no session 'no'\n")


async def test_going_back_is_asked_about_as_any_change_is(tmp_path: Path) -> None:
    decision, decided = trio.open_memory_channel[str](1)

    async with waiting(tmp_path, of_file()) as (home, daemon):
        rows = itertools.count(ROW)

        async def restore(_peer: Peer, _params: Json) -> Json:
            daemon.tells_of(msgspec.structs.replace(of_file(), log_entry_id=next(rows)))
            if await decided.receive() == "accept":
                return {"status": 200}
            return {"status": 400, "error": "it was rejected"}

        def resolve(_peer: Peer, params: Json) -> Json:
            decision.send_nowait(params["decision"])
            return {"status": 200, "logEntryId": params["logEntryId"]}

        daemon.handlers |= {
            "file.history": history_of("src/app.py"),
            "file.restore": restore,
            "loop.resolve": resolve,
            "op.parse": lambda _peer, _params: {"errors": [], "turnId": 2, "loopId": 5, "results": []},
        }
        by_its_name = ("--session", "older")  # of a session without a project, for the fake daemon cares for no root
        async with at_a_terminal(home, "restore", "src/app.py", "4", *by_its_name) as terminal:
            await terminal.see("\n-line 5\n+line five\n")
            await terminal.see("Accept? ")
            await terminal.type("y")
            assert await terminal.end() == (0, "200 src/app.py\n")
        assert daemon.asked("file.restore") == [{"target": "src/app.py", "version": 4}]
        assert (await plurnk(home, "restore", "--yolo", "src/app.py", "4", *by_its_name)).returncode == 0
        nobody = await plurnk(home, "restore", "src/app.py", "4", *by_its_name)
        assert nobody.returncode == 1
        assert nobody.stderr.splitlines() == [
            "! rejected, as nobody can be asked: EDIT src/app.py (+2 -1 lines)",
            "  --yolo accepts every proposal; on a terminal you are asked",
            "plurnk: 400 it was rejected",
        ]
    assert [one["digest"] for one in daemon.asked("loop.resolve")] == [DIGEST] * 3


# With the real daemon


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened_home(tmp_path) as opened:
        yield opened


def proposals_of(home: Home) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.plurnk("proposals", "--json").stdout.splitlines()]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")
async def test_a_real_command_is_accepted_from_another_terminal(home: Home) -> None:
    async with at_a_terminal(home, "op", "--root", ".", "<<EXEC:echo done > here; cat here:EXEC") as terminal:
        await terminal.see("Accept? ")
        [waiting] = await trio.to_thread.run_sync(proposals_of, home)
        number = str(waiting["logEntryId"])
        shown = await plurnk(home, "proposals", number)
        assert "  │ echo done > here; cat here\n" in shown.stdout
        assert (await plurnk(home, "proposals", "--session", "cli")).stdout.split()[5:7] == [number, "cli"]
        accepted = await plurnk(home, "accept", number)
        assert accepted.returncode == 0, accepted.stderr
        assert accepted.stdout.endswith(" EXEC 102 exec://sh-1: echo done > here; cat here\n")
        await terminal.see("it is decided")
        assert await terminal.end() == (0, "done\n")
    assert (await plurnk(home, "accept", number)).returncode == 1
    assert (await plurnk(home, "proposals")).stderr == "nothing waits to be accepted\n"


async def test_a_real_command_is_rejected_from_another_terminal(home: Home) -> None:
    async with at_a_terminal(home, "op", "<<EXEC:touch here:EXEC") as terminal:
        await terminal.see("Accept? ")
        [waiting] = await trio.to_thread.run_sync(proposals_of, home)
        rejected = await plurnk(home, "reject", str(waiting["logEntryId"]), "not", "here")
        assert (rejected.returncode, rejected.stdout) == (0, "rejected: touch here\n"), rejected.stderr
        assert await terminal.end() == (1, "400 it was rejected: not here\n")
    assert terminal.text.endswith("[v]iew: \nit is decided\n")
    assert "it was rejected" in (await plurnk(home, "log", "--session", "cli")).stdout


def edit(text: str) -> tuple[str, ...]:
    return "op", "--root", ".", f"<<EDIT(a.txt):{text}\n:EDIT"


@pytest.mark.spec("5.2-undo")
async def test_a_real_file_is_reviewed_accepted_and_restored(home: Home) -> None:
    file = home.work / "a.txt"
    file.write_text("one\ntwo\n")
    async with at_a_terminal(home, *edit("one\nthree")) as terminal:
        await terminal.see("EDIT a.txt (+1 -1 lines):\n--- a/a.txt\n+++ b/a.txt\n")
        await terminal.see("[v]iew: ")
        await terminal.type("y")
        assert await terminal.end() == (0, "200 a.txt\n")
    assert file.read_text() == "one\nthree\n"

    assert (await plurnk(home, "op", "--session", "newer", "--root", ".", "<<READ(a.txt)::READ")).returncode == 0
    [version] = [json.loads(line) for line in (await plurnk(home, "history", "a.txt", "--json")).stdout.splitlines()]
    async with at_a_terminal(home, "restore", "a.txt", str(version["version"])) as terminal:
        await terminal.see("\n-three\n+two\n")
        await terminal.see("[v]iew: ")
        await terminal.type("y")
        assert await terminal.end() == (0, "200 a.txt\n")
    assert file.read_text() == "one\ntwo\n"


@pytest.mark.spec("5.3-approvals-narrow")
async def test_what_is_accepted_always_is_not_asked_about(home: Home) -> None:
    (home.work / "a.txt").write_text("one\n")
    async with at_a_terminal(home, *edit("two")) as terminal:
        await terminal.see("[v]iew: ")
        await terminal.type("a")
        await terminal.see("n goes back: ")
        await terminal.type("")
        assert await terminal.end() == (0, "200 a.txt\n")
    async with at_a_terminal(home, *edit("three")) as terminal:
        assert await terminal.end() == (0, "200 a.txt\n")
    assert terminal.text == ""
    piped = await plurnk(home, *edit("four"))
    assert (piped.returncode, piped.stdout, piped.stderr) == (0, "200 a.txt\n", "")
    yolo = await plurnk(home, *edit("five"), "--yolo")
    assert (yolo.returncode, yolo.stdout, yolo.stderr) == (0, "200 a.txt\n", "")

    [approval] = (await plurnk(home, "approvals", "--json")).stdout.splitlines()
    assert (await plurnk(home, "approvals", "--remove", str(json.loads(approval)["id"]))).returncode == 0
    assert (await plurnk(home, *edit("six"))).returncode == 1
    assert (home.work / "a.txt").read_text() == "five\n"


async def test_what_changed_on_disk_meanwhile_is_not_overwritten(home: Home) -> None:
    file = home.work / "a.txt"
    file.write_text("one\n")
    async with at_a_terminal(home, "op", "--root", ".", "<<EDIT(a.txt):two:EDIT") as terminal:
        await terminal.see("[v]iew: ")
        file.write_text("other\n")
        [waiting] = await trio.to_thread.run_sync(proposals_of, home)
        refused = await plurnk(home, "accept", str(waiting["logEntryId"]))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == "plurnk: 409 changed on disk since the proposal\n"
        assert await terminal.end() == (1, "409 a.txt changed on disk since the proposal\n")
    assert file.read_text() == "other\n"
