"""Packets as a whole: what is stored, what is sent (SPEC 3.4, 3.5)."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from plurnk.content.tokens import estimate_tokens
from plurnk.language.ast import Send, SendBody
from plurnk.rules.fitting import CountTokens
from plurnk.rules.packet import (
    Assistant,
    Packet,
    budget_table,
    cache_marks,
    render_system,
    render_user,
    with_answer,
)
from plurnk.rules.packet import build as build_and_fit
from plurnk.rules.shown import index_text, log_text
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow, PacketInputs
from plurnk.rules.telemetry import ActionFailure, NoOps

PROMPT_ROW = LogRow(
    loop_seq=1, turn_seq=1, sequence=1, op="EDIT", origin="system", status=201, target="plurnk://prompt/1"
)
READ_ROW = LogRow(
    loop_seq=1,
    turn_seq=1,
    sequence=2,
    op="READ",
    origin="model",
    status=200,
    target="known://notes",
    content="one\ntwo",
)
INDEX = IndexEntry(
    path="known://notes",
    channels=(IndexChannel(name="body", mimetype="text/markdown", tokens=2, preview="1:\tone\n2:\ttwo"),),
)


def build(inputs: PacketInputs, count_tokens: CountTokens) -> Packet:
    return build_and_fit(inputs, count_tokens).packet


FIRST = PacketInputs(
    definition="The card.\n",
    persona="Be brief.\n",
    index=(),
    log=(log_text(1, PROMPT_ROW, estimate_tokens),),
    prompts=("Count to two.\n",),
    errors=(),
    turn_number=1,
    max_turns=9,
    context_size=1000,
)
SECOND = replace(
    FIRST,
    index=(index_text(INDEX, estimate_tokens),),
    log=(log_text(1, PROMPT_ROW, estimate_tokens), log_text(2, READ_ROW, estimate_tokens)),
    prompts=("Count to two.\n", "Faster!"),
    errors=(
        ActionFailure(message="no such entry", coordinate="1/1/3", op="READ", status=404, target="known://nope"),
        NoOps(),
    ),
    turn_number=2,
)


@pytest.mark.spec("3.4-headings")
def test_the_first_turn_as_sent() -> None:
    packet = build(FIRST, estimate_tokens)
    assert render_system(packet) == (
        "The card.\n"
        "\n"
        "# Plurnk System Instructions\n"
        "Be brief.\n"
        "\n"
        "# Plurnk System Log\n"
        '* {"op":"EDIT","origin":"system","path":"log://1/1/1/EDIT","status":201,"target":"plurnk://prompt/1"}'
    )
    assert render_user(packet) == (
        "# Plurnk System User Prompt\n"
        "Count to two.\n"
        "\n"
        "# Plurnk System Budget\n"
        "| section | tokens | % |\n"
        "|---|---|---|\n"
        "| Definition | 3 | 0.3 |\n"
        "| Instructions | 10 | 1.0 |\n"
        "| Log | 32 | 3.2 |\n"
        "| Prompt | 11 | 1.1 |\n"
        "| Total | 56 | 5.6 |\n"
        "| Free | 944 | 94.4 |"
    )


@pytest.mark.spec("3.4-headings")
def test_a_later_turn_as_sent() -> None:
    packet = build(SECOND, len)
    assert render_system(packet) == (
        "The card.\n"
        "\n"
        "# Plurnk System Instructions\n"
        "Be brief.\n"
        "\n"
        "# Plurnk System Log\n"
        '* {"op":"EDIT","origin":"system","path":"log://1/1/1/EDIT","status":201,"target":"plurnk://prompt/1"}\n'
        '* {"op":"READ","origin":"model","path":"log://1/1/2/READ","status":200,"target":"known://notes"}\n'
        "<<known://notes:\n"
        "1:\tone\n"
        "2:\ttwo\n"
        ":known://notes\n"
        "\n"
        "# Plurnk System Index\n"
        '* {"channels":{"body":{"mimetype":"text/markdown","tokens":2}},"path":"known://notes"}\n'
        "<<known://notes:\n"
        "1:\tone\n"
        "2:\ttwo\n"
        ":known://notes"
    )
    before_budget, _, after_budget = render_user(packet).partition("\n\n# Plurnk System Budget\n")
    assert before_budget == "# Plurnk System User Prompt\nCount to two.\n\nFaster!"
    assert after_budget.partition("\n\n")[2] == (
        "# Plurnk System Errors\n"
        '* {"coordinate":"1/1/3","kind":"action_failure","message":"no such entry","op":"READ","status":404,'
        '"target":"known://nope"}\n'
        '* {"kind":"no_ops","message":"The turn had no statement, so nothing was done; end a loop with SEND[200]."}\n'
        "\n"
        "# Plurnk System Requirements\n"
        "Turn 2/9"
    )


def test_the_stored_packet_has_the_shape_of_the_specification_and_reads_back() -> None:
    statement = Send(signal=200, body=SendBody(raw="2"))
    packet = with_answer(
        build(FIRST, estimate_tokens),
        Assistant(tokens=5, content="Well. <<SEND[200]:2:SEND", ops=(statement,), reasoning="Well. "),
        {"id": "x"},
    )
    encoded = msgspec.json.encode(packet)
    assert msgspec.json.decode(encoded) == {
        "tokens": packet.system.tokens + packet.user.tokens + 5,
        "system": {
            "tokens": 45,
            "system_definition": "The card.",
            "persona": "Be brief.",
            "index": [],
            "log": [render_system(packet).split("\n")[-1]],
        },
        "user": {
            "tokens": 11 + estimate_tokens(f"\n\n# Plurnk System Budget\n{packet.user.telemetry.budget}"),
            "prompt": "Count to two.",
            "telemetry": {"budget": packet.user.telemetry.budget, "errors": []},
            "system_requirements": "",
        },
        "assistant": {
            "tokens": 5,
            "content": "Well. <<SEND[200]:2:SEND",
            "ops": [msgspec.to_builtins(statement)],
            "reasoning": "Well. ",
        },
        "assistantRaw": {"id": "x"},
    }
    assert msgspec.json.decode(encoded, type=Packet) == packet


def test_a_stored_packet_renders_as_it_was_sent() -> None:
    packet = build(SECOND, estimate_tokens)
    stored = msgspec.json.decode(msgspec.json.encode(packet), type=Packet)
    assert (render_system(stored), render_user(stored)) == (render_system(packet), render_user(packet))


def test_marks_of_what_comes_again_are_at_the_ends_of_the_persona_and_of_each_log() -> None:
    packet = build(SECOND, len)
    system = render_system(packet)
    ends = [len(packet.system.log[0]), len("\n".join(packet.system.log))]
    persona, *logs = (system[:mark] for mark in cache_marks(packet, ends))
    assert persona == "The card.\n\n# Plurnk System Instructions\nBe brief."
    assert logs[0].endswith(f"\n\n# Plurnk System Log\n{packet.system.log[0]}")
    assert logs[1].endswith(packet.system.log[1])
    assert system[len(logs[1]) :].startswith("\n\n# Plurnk System Index\n")


def test_marks_of_a_log_with_nothing_before_it() -> None:
    packet = build(replace(FIRST, definition="", persona=""), len)
    assert cache_marks(packet, [len(packet.system.log[0])]) == (len(render_system(packet)),)


def test_nothing_to_say_is_not_said() -> None:
    empty = replace(FIRST, definition="", persona="\n", log=(), prompts=("",), context_size=None)
    packet = build(empty, len)
    assert render_system(packet) == ""
    assert render_user(packet) == "# Plurnk System Budget\n| section | tokens |\n|---|---|\n| Total | 0 |"


def test_a_budget_that_is_overdrawn_has_nothing_free() -> None:
    assert budget_table([("# Plurnk System Log", 150)], 100).splitlines()[-2:] == [
        "| Total | 150 | 150.0 |",
        "| Free | 0 | 0.0 |",
    ]
