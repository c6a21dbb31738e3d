"""``plurnk packet`` as a person types it, and what ``plurnk log`` shows of a session with several runs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plurnk.client.sync import open_client
from tests.support.home import END_S, Home, opened_home

TURNS = (
    "I note it. <<EDIT(known://a):alpha:EDIT",
    "<<READ(known://a)::READ",
    "<<SEND[200]:It is alpha.:SEND",
)


@contextlib.contextmanager
def worked_in(folder: Path) -> Iterator[Home]:
    """A home with a session, ``notes``, in which a model has answered three times; asked again, it fails."""
    script = folder / "script.json"
    script.write_text(json.dumps([{"content": turn} for turn in TURNS]))
    model = {"PLURNK_MODEL": "m", "PLURNK_MODEL_m": "mock/m", "PLURNK_MOCK_SCRIPT": str(script)}
    with opened_home(folder, **model) as opened:
        assert opened.plurnk("run", "--headless", "--session", "notes", "What is it?").returncode == 0
        yield opened


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """For tests that only look."""
    with worked_in(tmp_path_factory.mktemp("home")) as opened:
        yield opened


def test_the_messages_of_a_turn_and_its_answer_are_printed_as_they_were_sent(home: Home) -> None:
    shown = home.plurnk("packet", "1/2")
    assert (shown.returncode, shown.stderr) == (0, "")
    headings = [line for line in shown.stdout.splitlines() if line.startswith("=== ")]
    system, user, answer = headings
    assert system.startswith("=== 1/2 system message, ")
    assert system.endswith(" characters are those of 1/1 ===")
    assert user.startswith("=== 1/2 user message, ")
    assert answer.startswith("=== 1/2 answer, ")
    texts = shown.stdout.split(f"{user}\n")
    assert "# Plurnk System Log\n" in texts[0]
    assert "known://a" in texts[0]
    assert texts[1].startswith("# Plurnk System User Prompt\nWhat is it?\n\n# Plurnk System Budget\n")
    assert texts[1].endswith(f"\n\n{answer}\n{TURNS[1]}\n\n")
    with open_client(home.socket) as client:
        client.call("session.attach", {"id": 1})
        rendered = client.call("packet.read", {"loop": 1, "turn": 2}).rendered
    assert f"{system}\n{rendered.partition('# Plurnk System User Prompt')[0]}" in shown.stdout

    first = home.plurnk("packet", "1/1").stdout
    assert "characters are those of" not in first
    assert "=== 1/1 reasoning, and what was said between statements ===\nI note it.\n\n=== 1/1 answer" in first


def test_without_coordinates_it_is_the_last_turn_and_json_is_what_is_stored(home: Home) -> None:
    last = home.plurnk("packet").stdout
    assert last.startswith("=== 1/3 system message, ")
    assert last == home.plurnk("packet", "1").stdout == home.plurnk("packet", "1/3", "--session", "notes").stdout
    raw = home.plurnk("packet", "--json").stdout
    assert raw.count("\n") == 1
    packet = json.loads(raw)
    assert list(packet) == ["tokens", "system", "user", "assistant", "assistantRaw"]
    assert packet["assistant"]["content"] == TURNS[2]


def test_what_is_not_there_is_said_in_a_sentence(home: Home) -> None:
    for arguments, why in (
        (("1/9",), "no turn 1/9; the loop has 3 turns"),
        (("4",), "no loop 4; the last is 1"),
        (("--run", "other"), "no run 'other' in this session"),
        (("--session", "nothing"), "there is no session 'nothing'"),
    ):
        done = home.plurnk("packet", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"plurnk: {why}\n")


def test_a_run_has_packets_and_rows_of_its_own(tmp_path: Path) -> None:
    with worked_in(tmp_path) as home:
        with open_client(home.socket) as client:
            session = client.call("session.attach", {"id": 1})
            copy = client.call("run.fork", {"name": "again"})
            client.call("session.attach", {"id": session.id, "runId": copy.run_id})
            ended = client.call("loop.run", {"prompt": "And \x1b]0;owned\x07?"})
        assert ended.final_status == 500
        copied = home.plurnk("packet", "1/2", "--run", "again")
        assert copied.returncode == 1
        assert copied.stderr.endswith(": it was copied by run.fork, and the run that it comes from has it\n")
        own = home.plurnk("packet", "--run", "again").stdout
        assert own.startswith("=== 2/1 system message, ")
        assert "\nAnd \x1b]0;owned\x07?\n" in own, "a pipe gets it as it is"
        assert own.endswith("\n\n=== 2/1 no answer ===\nThe provider failed.\n\n")

        shown = at_a_terminal(home, "packet", "--run", "again")
        assert "\x1b[1m=== 2/1 system message, " in shown
        assert "And �]0;owned�?" in shown
        assert set(re.findall("\x1b.{2}", shown)) == {"\x1b[1", "\x1b[m"}, "and nothing else that it would obey"
        assert "\x1b" not in at_a_terminal(home, "packet", "--run", "again", NO_COLOR="1")

        original, rows = (home.plurnk("log", *run).stdout.splitlines() for run in ((), ("--run", "again")))
        assert rows[: len(original)] == original
        assert [row.split()[0] for row in rows[len(original) :]] == ["2/1/1"]


def at_a_terminal(home: Home, *arguments: str, **variables: str) -> str:
    """What a command shows whose standard output is a terminal."""
    terminal, end = pty.openpty()
    env = {**home.env, "TERM": "xterm-256color", **variables}
    with subprocess.Popen(home.command(*arguments), env=env, cwd=home.work, stdout=end) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as reader:  # EIO: it has ended
            while piece := reader.read(65536):
                shown += piece
        assert process.wait(END_S) == 0
    return shown.decode()
