"""The packet: what one turn sends to the model, in the form in which it is stored (SPEC 3.4).

``build`` makes it from a snapshot, ``render_system`` and ``render_user`` write its two messages. The
stored packet has every text exactly as it is sent, so rendering a stored one gives the same messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from plurnk.content.canonical import canonical_json
from plurnk.language.ast import Statement
from plurnk.rules.blocks import render_index_entry
from plurnk.rules.snapshot import PacketInputs
from plurnk.rules.telemetry import Telemetry

CountTokens: TypeAlias = Callable[[str], int]

PERSONA_HEADING: Final = "# Plurnk System Instructions"
INDEX_HEADING: Final = "# Plurnk System Index"
LOG_HEADING: Final = "# Plurnk System Log"
PROMPT_HEADING: Final = "# Plurnk System User Prompt"
BUDGET_HEADING: Final = "# Plurnk System Budget"
ERRORS_HEADING: Final = "# Plurnk System Errors"
REQUIREMENTS_HEADING: Final = "# Plurnk System Requirements"

_Section: TypeAlias = tuple[str, str]
"""Heading (none: ``""``) and text of a part of a message."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """The system message; ``index`` and ``log`` have the text of each entry and of each row."""

    tokens: int
    system_definition: str
    persona: str
    index: tuple[str, ...]
    log: tuple[str, ...]


class UserTelemetry(msgspec.Struct, frozen=True, kw_only=True):
    budget: str
    errors: tuple[Telemetry, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The user message."""

    tokens: int
    prompt: str
    telemetry: UserTelemetry
    system_requirements: str


class Assistant(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; empty until there is one. ``reasoning`` has the text between the statements too."""

    tokens: int = 0
    content: str = ""
    ops: tuple[Statement, ...] = ()
    reasoning: str = ""


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """``tokens`` is the sum of the three parts; ``assistant_raw`` the provider's last object."""

    tokens: int
    system: System
    user: User
    assistant: Assistant = Assistant()
    assistant_raw: Any = msgspec.field(default=None, name="assistantRaw")


def build(inputs: PacketInputs, count_tokens: CountTokens) -> Packet:
    """The packet of a turn that is about to be asked. Tokens are counted a section at a time."""
    system = System(
        tokens=0,
        system_definition=inputs.definition.strip("\n"),
        persona=inputs.persona.strip("\n"),
        index=tuple(render_index_entry(entry) for entry in inputs.index),
        log=inputs.log,
    )
    user = User(
        tokens=0,
        prompt="\n\n".join(filter(None, (prompt.strip("\n") for prompt in inputs.prompts))),
        telemetry=UserTelemetry(budget="", errors=inputs.errors),
        system_requirements=f"Turn {inputs.turn_number}/{inputs.max_turns}" if inputs.turn_number > 1 else "",
    )
    system_counts = _counts(_system_sections(system), count_tokens)
    user_counts = _counts(_user_sections(user), count_tokens)
    budget = budget_table(system_counts + user_counts, inputs.context_size)
    system_tokens = sum(tokens for _, tokens in system_counts)
    user_tokens = sum(tokens for _, tokens in user_counts) + count_tokens(budget)
    return Packet(
        tokens=system_tokens + user_tokens,
        system=msgspec.structs.replace(system, tokens=system_tokens),
        user=msgspec.structs.replace(
            user, tokens=user_tokens, telemetry=UserTelemetry(budget=budget, errors=inputs.errors)
        ),
    )


def with_answer(packet: Packet, assistant: Assistant, raw: Any) -> Packet:
    """``packet`` with what the model made of it; ``raw`` is JSON by definition."""
    return msgspec.structs.replace(
        packet, tokens=packet.tokens + assistant.tokens, assistant=assistant, assistant_raw=raw
    )


def render_system(packet: Packet) -> str:
    """The system message."""
    return _joined(_system_sections(packet.system))


def render_user(packet: Packet) -> str:
    """The user message."""
    return _joined(_user_sections(packet.user))


def stable_prefix_chars(packet: Packet) -> int:
    """How much of the system message is the same in every turn of a loop: definition and persona."""
    return len(_joined(_system_sections(packet.system)[:2]))


def budget_table(counts: Sequence[tuple[str, int]], context_size: int | None) -> str:
    """A markdown table of the tokens of each section that has any, their sum, and what is free.

    It cannot count itself, so it is not in the sum. With an unknown context there are no shares.
    """
    rows = [*((name, tokens) for name, tokens in counts if tokens), ("Total", sum(tokens for _, tokens in counts))]
    if not context_size:
        return "\n".join(["| section | tokens |", "|---|---|", *(f"| {name} | {tokens} |" for name, tokens in rows)])
    rows.append(("Free", max(context_size - rows[-1][1], 0)))
    lines = (f"| {name} | {tokens} | {tokens * 100 / context_size:.1f} |" for name, tokens in rows)
    return "\n".join(["| section | tokens | % |", "|---|---|---|", *lines])


def _counts(sections: Iterable[_Section], count_tokens: CountTokens) -> list[tuple[str, int]]:
    """Section by section its short name and its tokens, the heading's included."""
    return [
        (heading.rpartition(" ")[2] or "Definition", count_tokens(_joined([(heading, text)])))
        for heading, text in sections
    ]


def _system_sections(system: System) -> list[_Section]:
    return [
        ("", system.system_definition),
        (PERSONA_HEADING, system.persona),
        (INDEX_HEADING, "\n".join(system.index)),
        (LOG_HEADING, "\n".join(system.log)),
    ]


def _user_sections(user: User) -> list[_Section]:
    return [
        (PROMPT_HEADING, user.prompt),
        (BUDGET_HEADING, user.telemetry.budget),
        (ERRORS_HEADING, "\n".join(f"* {canonical_json(error)}" for error in user.telemetry.errors)),
        (REQUIREMENTS_HEADING, user.system_requirements),
    ]


def _joined(sections: Iterable[_Section]) -> str:
    """The sections that have a text, one blank line between them."""
    return "\n\n".join(f"{heading}\n{text}" if heading else text for heading, text in sections if text)
