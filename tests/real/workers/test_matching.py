"""Matchers in workers: every kind of task answers, and a pattern that never ends is ended."""

from __future__ import annotations

import pytest
import trio

from plurnk.content.matching import Rows, Subject
from plurnk.content.matching.evaluation import match_rows
from plurnk.errors import TookTooLong, UnsupportedType
from plurnk.language.ast import JsonpathMatcher, Matcher, RegexMatcher, XpathMatcher
from plurnk.workers import pool as pools
from plurnk.workers.pool import WorkerFailed, open_workers
from plurnk.workers.tasks import MatchEach, MatchRows
from tests.support.processes import children, is_there

WORD = RegexMatcher(raw="/b+/g", pattern="b+", flags="g")
CATASTROPHE = RegexMatcher(raw="/^(a+)+$/", pattern="^(a+)+$", flags="")
ENDLESS = b"a" * 10_000_000 + b"!"


def rows_of(matcher: Matcher, data: bytes, mimetype: str = "text/plain", *, limit_s: float = 30) -> MatchRows:
    return MatchRows(matcher=matcher, subject=Subject(data=data, mimetype=mimetype), max_chars=1000, limit_s=limit_s)


@pytest.mark.parametrize(
    ("matcher", "data", "mimetype"),
    [
        (WORD, b"abba\nxx\nb\n", "text/plain"),
        (WORD, b"none", "text/plain"),
        (JsonpathMatcher(raw="$.a[1]"), b'{"a": [1, {"b": 2}]}', "application/json"),
        (XpathMatcher(raw="//b"), b"<a>\n<b>1</b></a>", "application/xml"),
    ],
)
async def test_rows_come_back_as_they_were_made(matcher: Matcher, data: bytes, mimetype: str) -> None:
    task = rows_of(matcher, data, mimetype)
    async with open_workers() as pool:
        answer = await pool.ask(task)
    assert isinstance(answer, Rows)
    assert answer == match_rows(matcher, task.subject, 1000)


async def test_each_subject_is_answered_in_its_place() -> None:
    subjects = tuple(Subject(data=data, mimetype="text/plain") for data in (b"abc", b"", b"xyz", b"b" * 3_000_000))
    async with open_workers() as pool:
        assert await pool.ask(MatchEach(matcher=WORD, subjects=subjects, limit_s=30)) == (True, False, False, True)
        assert await pool.ask(MatchEach(matcher=WORD, subjects=(), limit_s=30)) == ()


async def test_what_cannot_be_matched_is_refused_by_its_class() -> None:
    async with open_workers() as pool:
        with pytest.raises(UnsupportedType) as there:
            await pool.ask(rows_of(XpathMatcher(raw="//b"), b"text"))
    with pytest.raises(UnsupportedType) as here:
        match_rows(XpathMatcher(raw="//b"), Subject(data=b"text", mimetype="text/plain"), 1000)
    assert there.value.detail == here.value.detail


async def test_a_catastrophic_pattern_stops_nobody_and_is_gone_with_its_caller() -> None:
    answered = 0
    both: list[int] = []
    async with open_workers() as pool:
        with trio.CancelScope() as caller:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(pool.ask, rows_of(CATASTROPHE, ENDLESS))
                # While it burns, the event loop runs, and the other worker answers.
                while answered < 20:
                    assert (await pool.ask(rows_of(WORD, b"abc"))).count == 1
                    answered += 1
                both = children()
                caller.cancel()
        (left,) = children()
        assert len(both) == 2
        (burnt,) = set(both) - {left}
        assert not is_there(burnt)
        assert (await pool.ask(rows_of(WORD, b"abc"))).count == 1
    assert answered == 20


async def test_a_worker_whose_pool_does_not_end_it_ends_itself() -> None:
    """The timer's default action is the kernel's: no Python code has to run for it."""
    async with open_workers(1) as pool:
        with pytest.raises(TookTooLong):
            await pool.ask(rows_of(CATASTROPHE, ENDLESS, limit_s=0.2))
        assert children() == []


async def test_an_answer_beyond_all_bounds_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_ANSWER_BYTES", 10)
    async with open_workers() as pool:
        with pytest.raises(WorkerFailed, match="the worker wants to answer with"):
            await pool.ask(rows_of(WORD, b"abba"))
        assert children() == []


async def test_a_large_content_is_sent_in_pieces() -> None:
    """The event loop takes other turns while they are sent."""
    turns = 0
    data = bytes(20 * 1024 * 1024) + b"\nbbb"

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_workers() as pool, trio.open_nursery() as tasks:
        tasks.start_soon(others)
        answer = await pool.ask(
            MatchEach(matcher=WORD, subjects=(Subject(data=data, mimetype="text/plain"),), limit_s=30)
        )
        assert turns > len(data) // pools.PIECE_BYTES
        tasks.cancel_scope.cancel()
    assert answer == (True,)
