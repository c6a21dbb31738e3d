"""The commands as a person types them, with the real daemon and a database of their own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.home import END_S, Home, opened_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened_home(tmp_path) as opened:
        yield opened


def test_a_first_run_starts_the_daemon_and_a_second_one_finds_it(home: Home) -> None:
    first = home.plurnk("run", "hello")
    assert first.returncode == 0, first.stderr
    assert "demo" in first.stdout
    assert "A command was proposed and not run (" in first.stdout, "nobody could be asked"
    starting, session, model, *rows, end = first.stderr.splitlines()
    assert starting == f"plurnk: starting the daemon; it logs to {home.state}/daemon.log"
    assert session == f"session session-1, on {home.work}; the first one"
    assert model.startswith("model: none. This is the demo")
    assert "✓ 1/1/1 EDIT plurnk://prompt/1 201" in rows
    assert end.startswith("done after ")
    daemon = home.daemon()

    second = home.plurnk("run", "hello again")
    assert second.stderr.splitlines()[0] == f"session session-2, on {home.work}; 1 earlier: session-1"
    assert home.daemon() == daemon

    home.stop_daemon()
    third = home.plurnk("run", "--session", "session-1", "and after a restart")
    assert f"session session-1, on {home.work}; 1 earlier: session-2" in third.stderr
    assert "✓ 2/1/1 EDIT plurnk://prompt/" in third.stderr
    assert home.daemon() != daemon


def test_what_was_done_can_be_looked_at(home: Home) -> None:
    assert home.plurnk("sessions").stdout == "NAME  CREATED  COST  ROOT\n"
    assert home.plurnk("log").stderr == "plurnk: there is no session yet\n"
    home.plurnk("run", "--headless", "--session", "notes", "hello")
    head, line = home.plurnk("sessions").stdout.splitlines()
    assert head.split() == ["NAME", "CREATED", "COST", "ROOT"]
    assert line.split()[0::2] == ["notes", "$0.00"]
    assert json.loads(home.plurnk("sessions", "--json").stdout)["name"] == "notes"

    rows = home.plurnk("log").stdout.splitlines()
    assert rows[0] == "1/1/1 EDIT plurnk://prompt/1 201"
    assert rows[-1] == "1/3/2 SEND[200] 200"
    raw = [json.loads(row) for row in home.plurnk("log", "--session", "notes", "--json").stdout.splitlines()]
    assert len(raw) == len(rows)
    assert raw[-1]["status_rx"] == 200
    missing = home.plurnk("log", "--session", "nothing")
    assert (missing.returncode, missing.stderr) == (1, "plurnk: there is no session 'nothing'\n")


def test_operations_by_hand(home: Home) -> None:
    done = home.plurnk("op", "<<EDIT(known://a):x:EDIT <<READ(known://a)::READ")
    assert (done.returncode, done.stdout) == (0, "201 known://a\n200 known://a\nx\n")
    raw = json.loads(home.plurnk("op", "--json", "-", given="<<READ(known://a)::READ").stdout)
    assert [(result["status"], result["content"]) for result in raw["results"]] == [(200, "x")]

    bad = home.plurnk("op", "<<READ(known://b)::READ <<SEND[x]::SEND <<READ(known://a)::READ")
    assert bad.returncode == 1
    assert bad.stdout.startswith("404 known://b")
    assert bad.stdout.endswith("200 known://a\nx\n")
    assert bad.stderr == "plurnk: line 1, column 31: expected integer for SEND signal\n"
    nothing = home.plurnk("op", "ls -l")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.startswith("plurnk: there is no statement, such as <<READ(known://a)::READ; ")
    unclosed = home.plurnk("op", "<<READ(known://a)::READ <<EDIT(known://c):never closed")
    assert (unclosed.returncode, unclosed.stdout) == (1, "200 known://a\nx\n")
    assert unclosed.stderr == "plurnk: line 1, column 54: expected close tag :EDIT; got end of input\n"


def test_a_log_can_be_followed_until_ctrl_c(home: Home) -> None:
    home.plurnk("op", "<<EDIT(known://a):x:EDIT")
    command = home.command("log", "--session", "cli", "--follow")
    with subprocess.Popen(command, env=home.env, cwd=home.work, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1/1/1 EDIT known://a 201\n"
        home.plurnk("op", "<<READ(known://b)::READ")
        assert process.stdout.readline().startswith("2/1/1 READ known://b 404")
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_two_commands_at_once_start_one_daemon(home: Home) -> None:
    both = [
        subprocess.Popen(home.command("run", "hello"), env=home.env, cwd=home.work, stdout=-1, stderr=-1)
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=END_S)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert sum("starting the daemon" in error for error in errors) == 1
    said = (home.state / "daemon.log").read_text().splitlines()
    assert sum(line.startswith("ws://") for line in said) == 1


def test_a_daemon_that_cannot_start_is_quoted(home: Home) -> None:
    home.state.mkdir(parents=True)
    (home.state / "plurnk.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    done = home.plurnk("run", "hello")
    assert done.returncode == 3
    assert f"plurnk: the daemon could not start; {home.state}/daemon.log ends with:\n" in done.stderr


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    done = Home(tmp_path).plurnk("run", "hello")
    assert done.returncode == 3
    assert done.stderr.startswith("plurnk: no daemon can be started: [Errno 20] Not a directory: ")


@pytest.mark.spec("6.7-ctrl-c", "6.7-run-exit-codes")
def test_ctrl_c_ends_a_real_loop(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"content": "<<SEND[200]:too late:SEND", "delay_ms": 600_000}]))
    model = {"PLURNK_MODEL": "slow", "PLURNK_MODEL_slow": "mock/slow", "PLURNK_MOCK_SCRIPT": str(script)}
    with (
        opened_home(tmp_path, **model) as home,
        subprocess.Popen(
            home.command("run", "hello"), env=home.env, cwd=home.work, stdout=-1, stderr=-1, text=True
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if "EDIT plurnk://prompt/1" in line:
                process.send_signal(signal.SIGINT)
                break
        out, error = process.communicate(timeout=END_S)
    assert (process.returncode, out) == (130, ""), error
    assert "ended with 499" in error


def test_serve_says_where_it_is_and_a_second_one_who_is_there(home: Home) -> None:
    with subprocess.Popen(
        home.command("serve"), env=home.env, cwd=home.work, stdout=-1, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == (home.state / "daemon.url").read_text().strip()
        assert url.startswith("ws://127.0.0.1:")

        second = home.plurnk("serve")
        assert second.returncode == 1
        assert str(process.pid) in second.stderr
        assert "Traceback" not in second.stderr

        # By its address, as on a machine where the socket cannot be reached.
        home.socket.unlink()
        assert home.plurnk("sessions").returncode == 0
        process.terminate()
        assert process.wait(END_S) == 0
        assert process.stdout.read() == ""


def test_bad_settings_are_listed(home: Home) -> None:
    done = home.plurnk("config", "--port", "99999", "--max-turns", "none")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "plurnk: the configuration has values that cannot be used:",
        "  PLURNK_PORT=99999 (flag): expected a whole number from 0 to 65535",
        "  PLURNK_MAX_TURNS=none (flag): expected a whole number, 1 or more",
    ]


@pytest.mark.spec("6.7-run-exit-codes")
def test_run_has_its_own_status_for_what_is_wrong_before_it_begins(home: Home) -> None:
    assert home.plurnk("run", "hello", "--port", "99999").returncode == 3


def test_config_tells_values_and_sources(home: Home) -> None:
    (home.work / ".env").write_text("PLURNK_MODEL_a=openai/x\nPLURNK_MODEL_a__API_KEY=sk-secret\nPLURNK_PROT=1\n")
    done = home.plurnk("config", "--max-turns", "7")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["PLURNK_MAX_TURNS"] == ["7", "flag"]
    assert rows["PLURNK_PORT"] == ["0", "environment"]
    assert rows["PLURNK_MODEL_a"] == ["openai/x", f"{home.work}/.env"]
    assert "sk-secret" not in done.stdout
    assert done.stderr == "plurnk: warning: PLURNK_PROT is no variable of plurnk; the nearest is PLURNK_PORT\n"
    assert json.loads(home.plurnk("config", "--json").stdout)["PLURNK_PORT"] == {"value": "0", "source": "environment"}


def test_a_reader_that_has_seen_enough_is_no_error(home: Home) -> None:
    command = " ".join(home.command("config")) + " | head -n 1"
    done = subprocess.run(command, shell=True, env=home.env, cwd=home.work, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("PLURNK_HOST")
    assert done.stderr == ""


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_sees_it_live(tmp_path: Path, variables: dict[str, str]) -> None:
    with opened_home(tmp_path, **{"TERM": "xterm-256color", **variables}) as home:
        terminal, end = pty.openpty()
        with subprocess.Popen(
            home.command("run", "hello"), env=home.env, cwd=home.work, stdout=-1, stderr=end
        ) as process:
            os.close(end)
            shown = b""
            with (
                contextlib.suppress(OSError),
                os.fdopen(terminal, "rb", buffering=0) as reader,
            ):  # EIO: the other end is closed
                while piece := reader.read(65536):
                    shown += piece
            assert process.stdout is not None
            assert b"demo" in process.stdout.read()
        assert process.wait(END_S) == 0
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)
    assert b"EDIT plurnk://prompt/1 201" in plain
    assert (b"\x1b[32m\xe2\x9c\x93" in shown) is (not variables), "a green check mark"
    assert (b"\x1b[?25l" in shown) is ("TERM" not in variables), "the cursor is hidden while a line moves"
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")
