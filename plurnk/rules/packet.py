"""The packet: what one turn sends to the model, in the form in which it is stored (SPEC 3.4).

``build`` makes it from a snapshot, such that it fits, ``render_system`` and ``render_user`` write its two messages. The
stored packet has every text exactly as it is sent, so rendering a stored one gives the same messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from plurnk.content.canonical import canonical_json
from plurnk.language.ast import Statement
from plurnk.rules.fitting import CountTokens, Fitted, fit
from plurnk.rules.snapshot import PacketInputs
from plurnk.rules.telemetry import Telemetry, budget_folded

PERSONA_HEADING: Final = "# Plurnk System Instructions"
INDEX_HEADING: Final = "# Plurnk System Index"
LOG_HEADING: Final = "# Plurnk System Log"
PROMPT_HEADING: Final = "# Plurnk System User Prompt"
BUDGET_HEADING: Final = "# Plurnk System Budget"
ERRORS_HEADING: Final = "# Plurnk System Errors"
REQUIREMENTS_HEADING: Final = "# Plurnk System Requirements"

_Section: TypeAlias = tuple[str, Sequence[str]]
"""Heading (none: ``""``) and texts, each of one or more lines, of a part of a message."""


class System(msgspec.Struct, frozen=True, kw_only=True):
    """The system message; ``index`` and ``log`` have the text of each entry and of each row.

    The log comes before the index, which changes more often: what stands before a change can be cached.
    """

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


class Made(NamedTuple):
    """A packet, and how it was made to fit."""

    packet: Packet
    fitted: Fitted


def build(inputs: PacketInputs, count_tokens: CountTokens) -> Made:
    """The packet of a turn that is about to be asked, in at most ``inputs.limit`` tokens.

    Raises:
        TooLarge: what cannot be left out is more than that.
    """
    definition = inputs.definition.strip("\n")
    persona = inputs.persona.strip("\n")
    prompt = "\n\n".join(filter(None, (prompt.strip("\n") for prompt in inputs.prompts)))
    requirements = f"Turn {inputs.turn_number}/{inputs.max_turns}" if inputs.turn_number > 1 else ""
    fixed = System(tokens=0, system_definition=definition, persona=persona, index=(), log=())
    user = User(
        tokens=0,
        prompt=prompt,
        telemetry=UserTelemetry(budget="", errors=()),
        system_requirements=requirements,
    )
    system_counts = _counts(_system_sections(fixed), count_tokens)
    fixed_tokens = sum([*system_counts.values(), *_counts(_user_sections(user), count_tokens).values()])
    fixed_tokens += _room(inputs.context_size, count_tokens)
    errors = inputs.errors
    if inputs.limit is not None:
        errors, errors_tokens = _told(errors, (inputs.limit - fixed_tokens) // 2, count_tokens)
        fixed_tokens += errors_tokens
    fitted = fit(
        inputs.log,
        inputs.index,
        inputs.folds,
        fixed_tokens=fixed_tokens,
        limit=inputs.limit,
        recent_from=inputs.recent_from,
        count_tokens=count_tokens,
        left_out=inputs.left_out,
    )
    if fitted.folded_rows:
        errors = (*errors, budget_folded(rows=fitted.folded_rows, tokens=fitted.freed_tokens))
    user = msgspec.structs.replace(user, telemetry=UserTelemetry(budget="", errors=errors))
    user_counts = _counts(_user_sections(user), count_tokens)
    if fitted.log:
        system_counts[LOG_HEADING] = count_tokens(_heading(LOG_HEADING)) + fitted.log_tokens
    if fitted.index:
        system_counts[INDEX_HEADING] = count_tokens(_heading(INDEX_HEADING)) + fitted.index_tokens
    budget = budget_table([*system_counts.items(), *user_counts.items()], inputs.context_size)
    system_tokens = sum(system_counts.values())
    user_tokens = sum(user_counts.values()) + count_tokens(_heading(BUDGET_HEADING) + budget)
    system = msgspec.structs.replace(fixed, tokens=system_tokens, index=fitted.index, log=fitted.log)
    telemetry = msgspec.structs.replace(user.telemetry, budget=budget)
    user = msgspec.structs.replace(user, tokens=user_tokens, telemetry=telemetry)
    return Made(Packet(tokens=system_tokens + user_tokens, system=system, user=user), fitted)


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


def cache_marks(packet: Packet, log_ends: Sequence[int]) -> tuple[int, ...]:
    """Up to where, in characters, the system message is expected to come again.

    ``log_ends``: where in the log those of the packets before ended, and where it ends.
    """
    before_log = len(_joined(_system_sections(msgspec.structs.replace(packet.system, index=(), log=()))))
    log_begins = before_log + len(_heading(LOG_HEADING)) - (0 if before_log else 2)
    marks = [before_log, *(log_begins + end for end in log_ends)]
    return tuple(dict.fromkeys(mark for mark in marks if mark))


def budget_table(counts: Sequence[tuple[str, int]], context_size: int | None) -> str:
    """A markdown table of the tokens of each section (by its heading) that has any, their sum, and what is free.

    It cannot count itself, so it is not in the sum. With an unknown context there are no shares.
    """
    rows = [(heading.rpartition(" ")[2] or "Definition", tokens) for heading, tokens in counts if tokens]
    rows.append(("Total", sum(tokens for _, tokens in counts)))
    if not context_size:
        return "\n".join(["| section | tokens |", "|---|---|", *(f"| {name} | {tokens} |" for name, tokens in rows)])
    rows.append(("Free", max(context_size - rows[-1][1], 0)))
    lines = (f"| {name} | {tokens} | {tokens * 100 / context_size:.1f} |" for name, tokens in rows)
    return "\n".join(["| section | tokens | % |", "|---|---|---|", *lines])


def _told(errors: Sequence[Telemetry], room: int, count_tokens: CountTokens) -> tuple[tuple[Telemetry, ...], int]:
    """Those of ``errors`` that have room, the last before the others, and their tokens.

    They must not end a loop. The first are of rows, and the log shows those as well.
    """
    told: list[Telemetry] = []
    left = room
    for error in reversed(errors):
        tokens = count_tokens(f"{_error_line(error)}\n")
        if tokens <= left:
            told.insert(0, error)
            left -= tokens
    return tuple(told), room - left


def _room(context_size: int | None, count_tokens: CountTokens) -> int:
    """Tokens at most of what is known last: the headings of index and log, the budget, and what was folded."""
    if context_size is None:
        return 0
    names = (PERSONA_HEADING, INDEX_HEADING, LOG_HEADING, PROMPT_HEADING, ERRORS_HEADING, REQUIREMENTS_HEADING)
    budget = budget_table([("# Definition", context_size), *((name, context_size) for name in names)], context_size)
    told = _error_line(budget_folded(rows=context_size, tokens=context_size))
    texts = (_heading(INDEX_HEADING), _heading(LOG_HEADING), _heading(BUDGET_HEADING) + budget)
    return sum(map(count_tokens, (*texts, _heading(ERRORS_HEADING), f"{told}\n")))


def _counts(sections: Iterable[_Section], count_tokens: CountTokens) -> dict[str, int]:
    """Section by section its heading and its tokens, the heading's and the blank line's included."""
    return {heading: count_tokens(_heading(heading) + "\n".join(texts)) for heading, texts in sections if texts}


def _heading(heading: str) -> str:
    """A heading as it stands between two sections."""
    return f"\n\n{heading}\n" if heading else ""


def _system_sections(system: System) -> list[_Section]:
    return [
        ("", _texts(system.system_definition)),
        (PERSONA_HEADING, _texts(system.persona)),
        (LOG_HEADING, system.log),
        (INDEX_HEADING, system.index),
    ]


def _user_sections(user: User) -> list[_Section]:
    return [
        (PROMPT_HEADING, _texts(user.prompt)),
        (BUDGET_HEADING, _texts(user.telemetry.budget)),
        (ERRORS_HEADING, [*map(_error_line, user.telemetry.errors)]),
        (REQUIREMENTS_HEADING, _texts(user.system_requirements)),
    ]


def _texts(text: str) -> Sequence[str]:
    return (text,) if text else ()


def _error_line(error: Telemetry) -> str:
    return f"* {canonical_json(error)}"


def _joined(sections: Iterable[_Section]) -> str:
    """The sections that have a text, one blank line between them; in one step, as a log may have megabytes."""
    lines: list[str] = []
    for heading, texts in sections:
        if texts:
            lines += [""] if lines else []
            lines += [heading] if heading else []
            lines += texts
    return "\n".join(lines)
