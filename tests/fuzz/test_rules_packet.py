"""A later turn's log begins with the earlier one's bytes, and blocks end where they seem to (SPEC 3.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.language.ast import OPS
from plurnk.rules.blocks import render_log_row
from plurnk.rules.packet import build, render_system
from plurnk.rules.shown import log_text
from plurnk.rules.snapshot import LogRow, PacketInputs

TEXT = st.text(alphabet="ab:~<\n", max_size=12)
ROWS = st.builds(
    LogRow,
    loop_seq=st.integers(1, 3),
    turn_seq=st.integers(1, 3),
    sequence=st.integers(1, 3),
    op=st.sampled_from(OPS),
    origin=st.sampled_from(["model", "client", "system", "plugin"]),
    status=st.sampled_from([200, 206, 404]),
    target=st.none() | st.sampled_from(["a", "b:a"]),
    content=st.none() | TEXT,
    mimetype=st.sampled_from(["text/plain", "text/html"]),
    start_line=st.none() | st.integers(1, 20),
)


def log_section(rows: tuple[LogRow, ...]) -> str:
    inputs = PacketInputs(
        definition="card",
        persona="",
        index=(),
        log=[log_text(number, row, len) for number, row in enumerate(rows, 1)],
        prompts=("x",),
        errors=(),
        turn_number=len(rows),
        max_turns=99,
        context_size=None,
    )
    return render_system(build(inputs, len).packet).removeprefix("card")


@pytest.mark.spec("3.4-log-prefix-stable")
@given(st.lists(ROWS, max_size=4).map(tuple), st.lists(ROWS, max_size=4).map(tuple))
def test_the_log_only_grows_at_its_end(earlier: tuple[LogRow, ...], added: tuple[LogRow, ...]) -> None:
    assert log_section(earlier + added).startswith(log_section(earlier))


@given(ROWS)
def test_a_block_ends_at_the_first_line_that_looks_like_its_end(row: LogRow) -> None:
    lines = render_log_row(row).split("\n")[1:]
    if lines:
        assert lines.index(f":{lines[0][2:-1]}") == len(lines) - 1
