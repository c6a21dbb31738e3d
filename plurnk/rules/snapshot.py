"""What a packet is made from: frozen values that the engine fills from the store (SPEC 3.4).

All paths and targets here are in their canonical spelling, ``scheme://pathname``, bare for files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from plurnk.language.ast import OpName
from plurnk.rules.fitting import NOTHING_LEFT_OUT, UNFOLDED, Folds, IndexText, LeftOut, LogText
from plurnk.rules.telemetry import Telemetry
from plurnk.wire.notifications import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChannel:
    """One indexed channel. ``preview`` is shown as it is; with an empty one the channel is only listed.

    ``missing``: it is that of a file that is no longer there.
    """

    name: str
    mimetype: str
    tokens: int
    preview: str
    is_default: bool = True
    state: Literal["static", "active", "closed", "errored"] = "static"
    missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One entry of the index, with its indexed channels in order."""

    path: str
    channels: tuple[IndexChannel, ...]
    tags: tuple[str, ...] = ()
    awaiting_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One row of the run's log, as far as the model sees it.

    ``target`` and ``destination`` (of a COPY or MOVE) include ``#channel`` when that is not the default one;
    ``matcher`` is as written.
    ``content`` and ``diff`` are shown whenever they are there, so leave them None where they are not
    to be seen. ``start_line`` None: the lines of ``content`` have no numbers of their own (several
    entries in one READ). ``next_line`` comes with a 206: from there the rest can be read. ``command`` is the
    beginning of what an EXEC ran, ``entry`` the address of what came of it.
    """

    loop_seq: int
    turn_seq: int
    sequence: int
    op: OpName
    origin: Origin
    status: int
    target: str | None = None
    destination: str | None = None
    matcher: str | None = None
    matches: int | None = None
    content: str | None = None
    mimetype: str = "text/plain"
    start_line: int | None = 1
    next_line: int | None = None
    diff: str | None = None
    command: str | None = None
    entry: str | None = None
    error: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketInputs:
    """Everything one packet shows. ``prompts``: the loop's, then what was injected, in order.

    ``log`` has the rows that are not hidden, oldest first, but for those that were ``left_out``: a row's text depends
    on that row alone, so it is made once and kept. ``limit``: tokens at most, None where the size of the context is not
    known; ``recent_from``: the id of the first row that the model has not seen, or has just seen for the first time.
    """

    definition: str
    persona: str
    index: Sequence[IndexText]
    log: Sequence[LogText]
    prompts: tuple[str, ...]
    errors: tuple[Telemetry, ...]
    turn_number: int
    max_turns: int
    context_size: int | None
    limit: int | None = None
    folds: Folds = UNFOLDED
    left_out: LeftOut = NOTHING_LEFT_OUT
    recent_from: int = 0
