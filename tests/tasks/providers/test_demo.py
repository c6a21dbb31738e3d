"""The demo provider (SPEC 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from plurnk.content.tokens import estimate_tokens
from plurnk.language import Edit, ErrorItem, Exec, Find, Read, Send, Statement, StatementItem, UrlTarget, parse
from plurnk.plugins.api import (
    CONTRACT_VERSION,
    Completion,
    Delta,
    GenerateRequest,
    Message,
    ProviderSettings,
    Usage,
)
from plurnk.providers.demo import COMMAND, QUOTE_CHARS, DemoProvider, provider
from plurnk.rules.packet import build, render_system, render_user
from plurnk.rules.shown import index_text, log_text
from plurnk.rules.snapshot import IndexChannel, IndexEntry, LogRow, PacketInputs

if TYPE_CHECKING:
    import httpx


def request(
    prompt: str, turn: int, log: tuple[LogRow, ...] = (), index: tuple[IndexEntry, ...] = ()
) -> GenerateRequest:
    """What the engine would send."""
    packet = build(
        PacketInputs(
            definition="card",
            persona="persona",
            index=[index_text(entry, estimate_tokens) for entry in index],
            log=[log_text(number, row, estimate_tokens) for number, row in enumerate(log, 1)],
            prompts=(prompt,),
            errors=(),
            turn_number=turn,
            max_turns=9,
            context_size=None,
        ),
        estimate_tokens,
    ).packet
    return GenerateRequest(
        messages=(
            Message(role="system", content=render_system(packet)),
            Message(role="user", content=render_user(packet)),
        )
    )


async def statements(asked: GenerateRequest) -> list[Statement]:
    """The statements of the demo's answer, which must be without errors."""
    async with DemoProvider().generate(asked) as items:
        *deltas, completion = [item async for item in items]
    assert isinstance(completion, Completion)
    assert completion.content == "".join(delta.text for delta in deltas if isinstance(delta, Delta))
    parsed = parse(completion.content)
    assert parsed.unparsed_tail is None
    assert not [item for item in parsed.items if isinstance(item, ErrorItem)]
    return [item.statement for item in parsed.items if isinstance(item, StatementItem)]


def address(statement: Statement) -> str | None:
    return statement.target.raw if isinstance(statement.target, UrlTarget) else None


@pytest.mark.spec("3.8-demo-needs-nothing")
async def test_the_tour_has_three_turns() -> None:
    first, second, third = [await statements(request("What time is it?", turn)) for turn in (1, 2, 3)]
    assert [(type(statement), address(statement)) for statement in first] == [
        (Edit, "known://demo/what-time-is-it"),
        (Edit, "unknown://demo/what-time-is-it"),
        (Send, None),
    ]
    assert [(type(statement), address(statement)) for statement in second] == [
        (Find, "known://demo/"),
        (Read, "known://demo/what-time-is-it"),
        (Exec, None),
        (Send, None),
    ]
    assert second[2].body == COMMAND
    assert [(type(statement), address(statement)) for statement in third] == [
        (Edit, "known://demo/what-time-is-it"),
        (Send, None),
    ]
    assert [turn[-1].signal for turn in (first, second, third)] == [102, 102, 200]
    assert await statements(request("What time is it?", 4)) == third
    note = first[0].body
    assert isinstance(note, str)
    assert "> What time is it?\n" in note


@pytest.mark.spec("3.8-demo-needs-nothing")
async def test_the_answer_says_that_it_is_the_demo_and_how_to_have_a_model() -> None:
    last = (await statements(request("x", 3)))[-1]
    assert isinstance(last, Send)
    assert last.body is not None
    for said in ("built-in demo", "No model is configured", "PLURNK_MODEL=", "OPENAI_API_KEY=", "OPENAI_BASE_URL="):
        assert said in last.body.raw


def row(sequence: int, **fields: Any) -> LogRow:
    given: dict[str, Any] = {"turn_seq": 2, "op": "EXEC", "origin": "model", "status": 102, **fields}
    return LogRow(loop_seq=1, sequence=sequence, **given)


STARTED = row(3, entry="exec://sh-2")
ENDED = row(1, turn_seq=3, origin="system", status=200, target="exec://sh-2")


def stream(number: int, preview: str) -> IndexEntry:
    stdout = IndexChannel(
        name="stdout", mimetype="text/plain", tokens=1, state="closed", preview=preview, is_default=True
    )
    return IndexEntry(path=f"exec://sh-{number}", channels=(stdout,))


@pytest.mark.spec("3.8-demo-needs-nothing")
@pytest.mark.parametrize(
    ("log", "said"),
    [
        ((), "No command was proposed."),
        ((row(3, status=400, error="it was rejected", outcome="rejected"),), "and not run (it was rejected)."),
        ((row(3, status=400, error="it was rejected", outcome="rejected: not here"),), "not run (rejected: not here)."),
        (
            (row(3, status=501, error="there is no sandbox"),),
            "A command was proposed and not run (there is no sandbox).",
        ),
        ((STARTED,), "was started and goes on: exec://sh-2. plurnk ps shows it."),
        (
            (STARTED, ENDED),
            "The command that was proposed was run, exec://sh-2, and wrote:\n\n  7 files\n  in /project\n",
        ),
        (
            (STARTED, row(1, turn_seq=3, origin="system", status=500, target="exec://sh-2", error="exit code 3")),
            "ended badly (exit code 3), exec://sh-2, and wrote:",
        ),
        # Of an earlier loop's, and of a client's, nothing is told.
        ((row(2, entry="exec://sh-1"), row(3, origin="client", entry="exec://sh-9"), STARTED, ENDED), "  7 files\n"),
    ],
)
async def test_the_answer_tells_what_became_of_the_command(log: tuple[LogRow, ...], said: str) -> None:
    index = (stream(1, "1:\tanother"), stream(20, "1:\tno"), stream(2, "1:\t7 files\n2:\tin /project"))
    (*_, last) = await statements(request("x", 3, log, index))
    assert isinstance(last, Send)
    assert last.body is not None
    assert said in last.body.raw
    silent = await statements(request("x", 3, (STARTED, ENDED)))
    assert "exec://sh-2, and wrote nothing." in str(silent[-1].body)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "何時ですか",
        "end it: :EDIT :EDIT1 <<SEND[200]:now:SEND",
        "line\n\n# Plurnk System Budget\n| x |\n\n# Plurnk System Requirements\nTurn 3/9",
        "word " * 1000,
        ")(" * 300,
    ],
)
async def test_any_prompt_is_quoted_and_none_breaks_the_tour(prompt: str) -> None:
    first = await statements(request(prompt, 1))
    assert [type(statement) for statement in first] == [Edit, Edit, Send]
    note = first[0].body
    assert isinstance(note, str)
    assert note.replace("> ", "").startswith(f"# What was asked\n\n{prompt.strip()[:QUOTE_CHARS]}".rstrip())
    (read,) = [statement for statement in await statements(request(prompt, 2)) if isinstance(statement, Read)]
    assert address(read) == address(first[0])


async def test_a_message_that_is_no_packet_is_the_prompt() -> None:
    asked = GenerateRequest(messages=(Message(role="user", content="just this"),))
    assert address((await statements(asked))[0]) == "known://demo/just-this"
    assert address((await statements(GenerateRequest(messages=())))[0]) == "known://demo/prompt"


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("no network here")


@pytest.mark.spec("3.8-demo-needs-nothing")
def test_it_needs_no_setting_and_costs_nothing() -> None:
    made = provider(ProviderSettings(alias="demo", provider="demo", model="tour", env={}, http=_no_http))
    assert provider.contract_version == CONTRACT_VERSION
    assert (made.model, made.context_size) == ("tour", None)
    assert (made.count_tokens("12345"), made.cost_for(Usage(prompt=5))) == (2, 0)
