"""What the documents say of commands and variables is all there is, and true."""

from __future__ import annotations

import ast
import re

from plurnk import config
from plurnk.cli.arguments import COMMANDS
from plurnk.rules import proposals
from plurnk.rules.proposals import Event
from tests.support import source

_OWN_STATUS = {Event.APPLIED: "the operation's", Event.REFUSED: "the refusal's"}


def _text(name: str) -> str:
    return (source.ROOT / name).read_text("utf-8")


def test_every_command_is_in_the_readme() -> None:
    assert sorted(command for command in COMMANDS if f"plurnk {command}" not in _text("README.md")) == []


def test_every_variable_that_the_code_names_is_documented() -> None:
    documents = _text("README.md") + _text("docs/configuration.md")
    named = {
        name
        for path in source.files()
        if path.suffix == ".py" and path.is_relative_to(source.ROOT / "plurnk")
        for name in re.findall(r"PLURNK_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    assert sorted(name for name in named if name not in documents) == []


def test_a_variable_is_read_or_said_to_have_no_effect() -> None:
    read = {
        node.attr
        for name, tree in source.modules("plurnk")
        if name != "plurnk/config.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    }
    in_the_environment = {"PLURNK_MODEL"}
    unread = {name for name, field in config.FIELDS.items() if field not in read} - in_the_environment
    assert unread == config.WITHOUT_EFFECT


def test_the_drawing_of_a_proposals_life_is_the_table() -> None:
    drawn = [line for line in _text("docs/architecture.md").splitlines() if line.startswith("| proposed |")]
    assert drawn == [
        f"| {state} | {event.value} | {move.state} | {move.status or _OWN_STATUS[event]} | {move.outcome or '–'} |"
        for state, moves in proposals.TABLE.items()
        for event, move in moves.items()
    ]


def test_every_link_leads_somewhere() -> None:
    dead = [
        f"{path.relative_to(source.ROOT)}: {link}"
        for path in source.files()
        if path.suffix == ".md" and path.parent in {source.ROOT, source.ROOT / "docs"} and path.name != "SPEC.md"
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8"))
        if not (path.parent / link).exists()
    ]
    assert not dead
