"""The card that models read: short, and true (SPEC 1.6)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from plurnk.language import OPS, ErrorItem, StatementItem, TextItem, op_name, parse, render

CARD = (files("plurnk") / "prompts" / "language.md").read_text("utf-8")
EXAMPLES = "".join(re.findall(r"^```plurnk\n(.*?)^```$", CARD, re.MULTILINE | re.DOTALL))


@pytest.mark.spec("1.6-card-examples-parse")
def test_every_example_parses() -> None:
    result = parse(EXAMPLES)
    statements = [item.statement for item in result.items if isinstance(item, StatementItem)]
    assert [item for item in result.items if isinstance(item, ErrorItem)] == []
    assert {item.text for item in result.items if isinstance(item, TextItem)} == {"\n"}
    assert 12 <= len(statements) <= 20
    assert {op_name(statement) for statement in statements} == set(OPS)


@pytest.mark.spec("1.6-card-examples-parse")
def test_every_example_is_written_as_render_would() -> None:
    statements = [item.statement for item in parse(EXAMPLES).items if isinstance(item, StatementItem)]
    assert "".join(render(statement) + "\n" for statement in statements) == EXAMPLES


def test_the_card_is_short() -> None:
    assert len(CARD) / 4 <= 1500


def test_the_card_names_what_there_is() -> None:
    schemes = {"known://", "unknown://", "skill://", "plurnk://", "log://", "exec://"}
    statuses = {"`SEND[102]`", "`SEND[200]`", "`SEND[202]`", "`SEND[499]`"}
    assert [word for word in (*schemes, *statuses, *OPS) if word not in CARD] == []
