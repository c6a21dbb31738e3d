"""The moving line of a terminal."""

from __future__ import annotations

from typing import Literal

from plurnk.cli.money import spent
from plurnk.cli.progress import QUIET_S, Progress
from plurnk.wire.notifications import TurnDelta, Usage
from tests.support.log_entries import log_entry


def piece(
    text: str, *, kind: Literal["content", "reasoning"] = "content", turn_id: int = 1, attempt: int = 1
) -> TurnDelta:
    return TurnDelta(loop_id=1, turn_id=turn_id, kind=kind, text=text, attempt=attempt)


def said(progress: Progress) -> list[str]:
    """What the line says beside the time."""
    return progress.line(0.0).split(" · ")[1:]


def test_a_line_without_news_is_the_time() -> None:
    assert Progress(100.0).line(103.4) == "3 s"


def test_it_counts_what_the_model_thinks_and_then_what_it_answers() -> None:
    progress = Progress(0.0)
    progress.row(log_entry(op="EDIT", turn_id=1, turn_seq=1))
    progress.delta(piece("x" * 1200, kind="reasoning"))
    assert said(progress) == ["turn 1", "it thinks, 1,200 characters"]
    progress.delta(piece("ab"))
    progress.delta(piece("c"))
    assert said(progress) == ["turn 1", "it answers, 3 characters"]


def test_an_answer_that_is_void_is_not_counted() -> None:
    progress = Progress(0.0)
    progress.delta(piece("cut off"))
    progress.delta(piece("", attempt=2))
    assert said(progress) == ["turn 1"]
    progress.delta(piece("ab", attempt=2))
    assert said(progress) == ["turn 1", "it answers, 2 characters"]


def test_what_is_done_ends_the_answer_and_the_next_piece_begins_a_turn() -> None:
    progress = Progress(0.0)
    progress.row(log_entry(op="EDIT", turn_id=7, turn_seq=1))
    progress.delta(piece("ab", turn_id=7))
    progress.row(log_entry(op="EDIT", turn_id=7, turn_seq=1))
    progress.cost(1_230_000_000_000)
    assert said(progress) == ["turn 1", "$1.23"]
    progress.delta(piece("abc", turn_id=9))
    assert said(progress) == ["turn 2", "$1.23", "it answers, 3 characters"]
    progress.row(log_entry(op="EDIT", turn_id=9, turn_seq=2))
    assert said(progress) == ["turn 2", "$1.23"]


def test_a_long_silence_is_told_until_something_is_heard() -> None:
    progress = Progress(0.0)
    assert progress.line(QUIET_S - 1) == "9 s"
    assert progress.line(QUIET_S + 2) == "12 s · nothing new for 12 s"
    progress.heard(QUIET_S + 2)
    assert progress.line(QUIET_S + 3) == "13 s"


def test_what_was_spent_is_tokens_and_what_they_cost_if_that_is_known() -> None:
    assert spent(Usage(prompt=12_345, completion=678)) == "12,345 tokens in, 678 out"
    assert spent(Usage(prompt=1, completion=2, cost_pico=1_230_000_000_000)) == "1 tokens in, 2 out, $1.23"
    assert spent(Usage()) == ""
