"""The command line teaches, and what it teaches is true."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from plurnk.cli.app import main
from plurnk.cli.arguments import COMMANDS, build_parser, flags_of
from plurnk.cli.config import reference
from plurnk.config import VARIABLES
from tests.support.source import ROOT


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert all(example in shown and meaning in shown for example, meaning in COMMANDS[command].examples)


@pytest.mark.parametrize("example", [example for command in COMMANDS.values() for example, _ in command.examples])
def test_every_example_can_be_parsed(example: str) -> None:
    words = shlex.split(example.partition(" | jq")[0].partition(" < ")[0].partition(" | grep")[0])
    options = build_parser().parse_args(words[words.index("plurnk") + 1 :])
    assert options.command in COMMANDS


def test_without_a_command_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_every_variable_has_a_flag() -> None:
    given = [word for variable in VARIABLES.values() for word in (variable.flag, "7")]
    assert flags_of(build_parser().parse_args(["serve", *given])) == dict.fromkeys(VARIABLES, "7")


def test_max_turns_of_a_run_are_that_loops_own() -> None:
    options = build_parser().parse_args(["run", "--max-turns", "7", "--db-path", "x.db", "hello"])
    assert options.max_turns == 7
    assert flags_of(options) == {"PLURNK_DB_PATH": "x.db"}


@pytest.mark.parametrize("arguments", ["run", "run --max-turns 0 x", "run --max-turns x y", "run --yolo --ask x", "op"])
def test_a_bad_command_line_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments.split())
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: plurnk ")


@pytest.mark.parametrize(("place", "wanted"), [(["12/3"], (12, 3)), (["4"], (4, None)), ([], (None, None))])
def test_a_turn_is_named_by_its_coordinates(place: list[str], wanted: tuple[int | None, int | None]) -> None:
    assert build_parser().parse_args(["packet", *place]).place == wanted


@pytest.mark.parametrize("place", ["1/2/3", "x", "1/", "/2", "0/1", "1/-1", ""])
def test_coordinates_that_are_none_are_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["packet", place])
    assert end.value.code == 2
    assert f"expected LOOP/TURN, such as 1/2, or LOOP; got {place!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("plurnk.cli.serve", {"rich", "httpx", "trio_websocket"}),
        ("plurnk.cli.parse", {"trio", "rich", "httpx"}),
        ("plurnk.cli.run", {"rich", "httpx", "apsw"}),
        ("plurnk.cli.arguments", {"trio", "msgspec", "rich", "httpx"}),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(module: str, unwanted: set[str]) -> None:
    code = f"import sys, plurnk.cli.app, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_the_reference_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == reference()
