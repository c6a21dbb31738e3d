"""Commands by hand, with the real daemon and its sandbox: ``op``, ``ps``, ``kill``, ``doctor``, and ``run``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.home import END_S, Home, opened_home
from tests.support.terminals import at_a_terminal

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")


SOON_GIVEN_UP = """\
import sys
from plurnk.cli.app import main
from plurnk.client import client
client.RECONNECT_FOR_S = 0.5
sys.exit(main())
"""
"""The command, but a daemon that is gone is not waited for as long as one takes to come again."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened_home(tmp_path) as opened:
        yield opened


def yolo(home: Home, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    return home.plurnk("op", "--yolo", "--root", ".", *options, f"<<EXEC:{command}:EXEC")


@needs_bubblewrap
def test_a_command_by_hand_is_as_in_a_shell(home: Home) -> None:
    (home.work / "file").write_text("content\n")
    done = yolo(home, "cat file; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "content\n"), done.stderr
    assert done.stderr.splitlines()[-3:-1] == ["102 exec://sh-1", "oops"]
    assert done.stderr.splitlines()[-1].startswith("plurnk: exec://sh-1 ended with exit code 3 after ")

    both = home.plurnk("op", "--yolo", "<<EXEC:echo one:EXEC <<EXEC[bash]:echo $((1+1)):EXEC <<FIND(exec://)::FIND")
    assert both.returncode == 0, both.stderr
    assert both.stdout.endswith("one\n2\n")
    assert "102 exec://sh-2\n102 exec://bash-3\n" in both.stderr

    raw = [json.loads(line) for line in yolo(home, "exit 4", "--json").stdout.splitlines()]
    assert [result["status"] for result in raw[0]["results"]] == [102]
    assert (raw[1]["target"], raw[1]["exitCode"], raw[1]["closeStatus"]) == ("exec://sh-4", 4, 500)

    refused = home.plurnk("op", "<<EXEC:touch here:EXEC")
    assert refused.returncode == 1
    assert "--yolo accepts every proposal" in refused.stderr
    assert not (home.work / "here").exists()
    missing = yolo(home, "x", "--session", "elsewhere").returncode
    assert missing == 127, "as the shell says it"


@needs_bubblewrap
def test_what_is_written_comes_as_it_is_written_and_ctrl_c_ends_it(home: Home) -> None:
    command = home.command("op", "--yolo", "<<EXEC:echo first; sleep 600; echo never:EXEC")
    with subprocess.Popen(command, env=home.env, cwd=home.work, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        rows = home.plurnk("ps").stdout.splitlines()
        assert [row.split()[:2] for row in rows[1:]] == [["exec://sh-1", "running"]]
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=END_S)
    assert (process.returncode, out) == (130, ""), error
    assert "ending it; Ctrl-C again leaves it running" in error
    assert home.plurnk("ps").stdout.splitlines()[1:] == []
    over = home.plurnk("ps", "--all", "--json").stdout.splitlines()
    assert [(json.loads(row)["closeStatus"], json.loads(row)["session"]) for row in over] == [(499, "cli")]


@needs_bubblewrap
def test_when_the_daemon_is_killed_who_follows_a_command_is_told_in_a_sentence(home: Home) -> None:
    """Its output, its errors and what is told of it break off at once, each in a task of its own."""
    statement = "<<EXEC:while :; do echo x; echo y >&2; sleep 0.02; done:EXEC"
    command = [sys.executable, "-c", SOON_GIVEN_UP, "op", "--yolo", statement]
    with subprocess.Popen(command, env=home.env, cwd=home.work, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "x\n"
        home.stop_daemon(signal.SIGKILL)
        _out, error = process.communicate(timeout=END_S)
    assert process.returncode == 1
    started, _entry, *said = (line for line in error.splitlines() if line != "y")
    assert started.startswith("plurnk: starting the daemon")
    assert len(said) == 1, error
    assert said[0].startswith("plurnk: nobody answers at ")


@needs_bubblewrap
def test_detached_commands_are_listed_and_killed(home: Home) -> None:
    for session in ("one", "two"):
        started = yolo(home, "sleep 600", "--detach", "--session", session)
        assert (started.returncode, started.stdout) == (0, "exec://sh-1\n"), started.stderr
    table = home.plurnk("ps").stdout.splitlines()
    assert [row.split()[-3:] for row in table[1:]] == [["two", "sleep", "600"], ["one", "sleep", "600"]]
    live = [json.loads(row) for row in home.plurnk("ps", "--json", "--session", "one").stdout.splitlines()]
    assert [stream["handle"] for stream in live] == ["sleep 600"]

    unclear = home.plurnk("kill", "exec://sh-1")
    assert (unclear.returncode, unclear.stdout) == (1, "")
    assert "is live in several sessions (two, one)" in unclear.stderr
    by_number = home.plurnk("kill", str(live[0]["id"]))
    assert (by_number.returncode, by_number.stdout) == (0, "exec://sh-1 cancelled\n"), by_number.stderr
    by_name = home.plurnk("kill", "sh-1", "--session", "two")
    assert (by_name.returncode, by_name.stdout) == (0, "exec://sh-1 cancelled\n"), by_name.stderr
    again = home.plurnk("kill", "sh-1", "--session", "two")
    assert (again.returncode, again.stderr) == (1, "plurnk: no stream sh-1 is live; plurnk ps lists those that are\n")
    assert home.plurnk("ps", "--session", "nothing").stderr == "plurnk: there is no session 'nothing'\n"


@needs_bubblewrap
def test_who_follows_the_log_sees_what_became_of_a_proposal(home: Home) -> None:
    home.plurnk("op", "<<FIND(known://)::FIND")
    command = home.command("log", "--session", "cli", "--follow")
    with subprocess.Popen(command, env=home.env, cwd=home.work, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert " FIND " in process.stdout.readline()
        yolo(home, "true")
        rows = [process.stdout.readline().split(maxsplit=1)[1] for _ in range(2)]
        assert rows == ["EXEC 202: true\n", "EXEC 102 exec://sh-1: true\n"]
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 130


@needs_bubblewrap
async def test_a_person_at_a_terminal_edits_a_command_and_runs_it(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i s/no/yes/ $1\n")
    editor.chmod(0o755)
    with opened_home(tmp_path) as home:
        async with at_a_terminal(home, "op", "<<EXEC:echo no; exit 5:EXEC", EDITOR=str(editor)) as terminal:
            await terminal.see("EXEC by sh in . (sandbox workspace, no network, may write ")
            await terminal.see("[v]iew: ")
            await terminal.type("e")
            await terminal.see("  │ echo yes; exit 5\n")
            await terminal.see("[v]iew: ", 2)
            await terminal.type("y")
            assert await terminal.end() == (5, "yes\n")


def scripted(folder: Path, *turns: str) -> dict[str, str]:
    script = folder / "script.json"
    script.write_text(json.dumps([{"content": turn} for turn in turns]))
    return {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "mock/m", "PLURNK_MOCK_SCRIPT": str(script)}


@needs_bubblewrap
def test_a_models_commands_are_shown_with_their_ends_and_those_that_go_on_are_named(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        "<<EXEC:echo built; exit 2:EXEC <<EXEC:sleep 600:EXEC <<SEND[102]:building:SEND",
        "<<SEND[200]:done:SEND",
    )
    with opened_home(tmp_path, **model, PLURNK_SETTLE_MS="300") as home:
        done = home.plurnk("run", "--yolo", "build it")
        assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
        rows = done.stderr.splitlines()
        assert "? 1/1/2 EXEC 202: echo built; exit 2" in rows
        assert "… 1/1/2 EXEC 102 exec://sh-1: echo built; exit 2" in rows
        assert sum(row.startswith("✗ exec://sh-1 ended with exit code 2 after ") for row in rows) == 1
        assert not any("1/2/" in row and "EXEC" in row for row in rows), "its end is told once"
        assert rows[-2] == "exec://sh-2 goes on; plurnk ps"
        assert [row.split()[0] for row in home.plurnk("ps").stdout.splitlines()[1:]] == ["exec://sh-2"]
        home.plurnk("kill", "sh-2")


@needs_bubblewrap
def test_without_a_terminal_the_model_is_told_why_its_command_was_rejected(tmp_path: Path) -> None:
    model = scripted(tmp_path, "<<EXEC:touch here:EXEC <<SEND[102]:trying:SEND", "<<SEND[200]:sorry:SEND")
    with opened_home(tmp_path, **model) as home:
        done = home.plurnk("run", "make it")
        assert done.returncode == 0, done.stderr
        assert "! rejected, as nobody can be asked: touch here" in done.stderr
        rows = [json.loads(row) for row in home.plurnk("log", "--json").stdout.splitlines()]
        row = next(row for row in rows if row["op"] == "EXEC")
        assert (row["status_rx"], row["state"]) == (400, "failed")
        assert row["outcome"].startswith("rejected: nobody can be asked here")
        assert not (home.work / "here").exists()


@needs_bubblewrap
@pytest.mark.spec("3.8-demo-needs-nothing")
async def test_the_demo_runs_a_command_if_a_person_says_yes(home: Home) -> None:
    (home.work / "file").touch()
    wrote = f"\n  1 files and folders in {home.work}\n"
    async with at_a_terminal(home, "run", "hello") as terminal:
        await terminal.see("[v]iew: ")
        await terminal.type("y")
        code, answer = await terminal.end()
    assert (code, wrote in answer) == (0, True), answer
    accepted = await trio.to_thread.run_sync(lambda: home.plurnk("run", "--yolo", "hello"))
    assert wrote in accepted.stdout
    async with at_a_terminal(home, "run", "hello") as terminal:
        await terminal.see("[v]iew: ")
        await terminal.type("n not here")
        code, answer = await terminal.end()
    assert (code, "A command was proposed and not run (rejected: not here)." in answer) == (0, True), answer


def path_without(folder: Path, *unwanted: str) -> str:
    """A PATH of links to every program of this machine's, but these."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for program in Path(directory).iterdir() if Path(directory).is_dir() else ():
            link = folder / program.name
            if program.name not in unwanted and not link.is_symlink():
                link.symlink_to(program)
    return str(folder)


def examined(home: Home) -> tuple[int, set[tuple[str, str]], dict[str, Any]]:
    """What ``doctor`` says: its exit code, how it found what it looked at, and what it says of the sandbox."""
    done = home.plurnk("doctor", "--json")
    report = json.loads(done.stdout)
    found = {(finding["about"], finding["state"]) for finding in report["findings"]}
    assert report["well"] is (done.returncode == 0)
    assert report["well"] is ("bad" not in {state for _, state in found})
    return done.returncode, found, report["sandbox"]


@needs_bubblewrap
@pytest.mark.spec("4.6-doctor-tells-truth")
def test_where_doctor_says_that_commands_run_they_do_so_and_are_held_as_it_says(home: Home) -> None:
    code, found, sandbox = examined(home)
    assert code == 0
    assert {("commands", "well"), ("daemon", "well"), ("runtimes", "well")} <= found
    assert (sandbox["profile"], sandbox["backend"], sandbox["refusal"]) == ("workspace", "bubblewrap", None)
    assert home.daemon() is None, "it has started nothing"
    for name, text in {"sh": ":", "bash": ":", "python": "pass", "node": "0"}.items():
        runtime = sandbox["runtimes"][name]
        works = runtime["program"] is not None and runtime["fault"] is None
        assert (home.plurnk("op", "--yolo", f"<<EXEC[{name}]:{text}:EXEC").returncode == 0) is works, runtime
    shown = home.plurnk("doctor")
    assert shown.returncode == 0
    assert f"✓ daemon        the one with pid {home.daemon()} answers at " in shown.stdout
    # What it says of the profile, tried.
    assert "\n  workspace: bubblewrap\n    tree        PID namespace\n" in shown.stdout
    assert "network     no" in shown.stdout.partition("workspace: ")[2].partition("workspace-net: ")[0]
    links = yolo(home, "ls /sys/class/net; cat /proc/net/dev | grep -c :").stdout.split()
    assert links[-1] == "1", "but for its own loopback"


@pytest.mark.spec("4.6-doctor-tells-truth")
def test_a_place_for_the_socket_that_others_can_enter_is_told_and_not_used(home: Home) -> None:
    home.socket.parent.mkdir(parents=True, exist_ok=True)
    home.socket.parent.chmod(0o755)
    code, found, _ = examined(home)
    assert (code, ("socket", "bad") in found) == (1, True)
    assert home.plurnk("sessions").returncode == 1
    home.socket.parent.chmod(0o700)
    assert ("socket", "bad") not in examined(home)[1]
    assert home.plurnk("sessions").returncode == 0


@pytest.mark.spec("4.6-doctor-tells-truth", "4.6-fail-closed")
def test_where_doctor_says_that_commands_are_refused_they_are_until_the_want_is_accepted(tmp_path: Path) -> None:
    path = path_without(tmp_path / "bin", "bwrap")
    (tmp_path / "first").mkdir()
    with opened_home(tmp_path / "first", PATH=path) as home:
        code, found, sandbox = examined(home)
        assert code == 1
        assert ("commands", "bad") in found
        refusal = sandbox["refusal"]
        assert "bubblewrap is not installed" in refusal
        done = yolo(home, "touch here")
        assert done.returncode == 1
        assert done.stdout.rstrip() == f"501 {refusal}"
        assert not (home.work / "here").exists()
        names = refusal.partition("PLURNK_SANDBOX_ACCEPT=")[2]
        assert ("daemon", "bad") in examined(home)[1], "one that runs no commands"
    (tmp_path / "second").mkdir()
    with opened_home(tmp_path / "second", PATH=path, PLURNK_SANDBOX_ACCEPT=names) as home:
        code, found, sandbox = examined(home)
        assert (code, sandbox["refusal"]) == (0, None)
        assert {("commands", "well"), ("commands", "note")} <= found, "and what it lacks is said"
        done = yolo(home, "touch here; echo yes")
        assert (done.returncode, done.stdout) == (0, "yes\n"), done.stderr
        assert (home.work / "here").exists()


def test_doctor_says_what_is_broken_and_what_to_do(home: Home) -> None:
    bad = home.plurnk("doctor", "--port", "99999", "--drain-ms", "x")
    assert bad.returncode == 1
    assert bad.stdout.splitlines() == [
        "✗ configuration PLURNK_PORT=99999 (flag): expected a whole number from 0 to 65535",
        "✗ configuration PLURNK_DRAIN_MS=x (flag): expected a whole number, 0 or more",
    ]
    assert home.plurnk("doctor", "--model", "nope").stdout.count("✗ model         no model alias 'nope'") == 1
    unset = home.plurnk("doctor", "--model", "a", "--json").stdout
    assert "no model alias 'a'; there are demo" in unset

    home.plurnk("sessions")
    home.state.chmod(0o755)
    (home.state / "token").write_text("secret")
    (home.state / "token").chmod(0o644)
    pid = home.daemon()
    home.socket.unlink()
    (home.state / "daemon.url").unlink()
    done = home.plurnk("doctor")
    assert done.returncode == 1
    assert f"! state         {home.state} is not yours alone" in done.stdout
    assert f"✗ token         others can read {home.state}/token; chmod 600 it" in done.stdout
    assert f"✗ daemon        pid {pid} holds {home.state}/plurnk.db and answers neither" in done.stdout
