"""Asking a provider that fails: what is tried again and when, what is not, and leaving at any point (SPEC 3.8)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from plurnk.engine import asking
from plurnk.engine.asking import Answer, ask
from plurnk.engine.limits import Limits
from plurnk.errors import UpstreamFailed
from plurnk.language.ast import Send
from plurnk.plugins.api import Completion, Delta, GenerateRequest, Usage
from plurnk.providers.errors import ProviderFailed
from plurnk.rules.telemetry import ProviderRetry
from plurnk.store import turns
from plurnk.store.log import TurnRef
from plurnk.wire.notifications import TurnDelta
from tests.support.faults import AtStep, until_it_misses

TURN = TurnRef(session_id=1, run_id=2, loop_id=3, turn_id=4, loop_seq=1, turn_seq=1)
REQUEST = GenerateRequest(messages=())
GOOD = "<<SEND[200]:good:SEND"
BUSY = ProviderFailed("the provider answered 503: busy", http_status=503, transient=True)
CUT = ProviderFailed("no answer from the provider: ReadError", transient=True)

Step = str | float | BaseException
"""Of an attempt: a text that comes, seconds that pass, or how it fails."""


class Scripted:
    """A provider of which each attempt goes by its steps; a ``Completion`` follows what does not fail.

    ``leaving``: what is raised when the block is left, however it is. ``inside``: the answer comes out of a nursery.
    """

    model = "scripted"
    context_size = None

    def __init__(
        self, *attempts: Sequence[Step], leaving: BaseException | None = None, inside: bool = False, ends: bool = True
    ) -> None:
        self.asked_at: list[float] = []
        self.left_at: list[float] = []
        self._attempts = attempts
        self._leaving = leaving
        self._inside = inside
        self._ends = ends

    def count_tokens(self, text: str) -> int:
        return len(text)

    def cost_for(self, usage: Usage) -> int:
        return usage.prompt

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        assert request is REQUEST
        self.asked_at.append(trio.current_time())
        steps = self._attempts[len(self.asked_at) - 1]
        try:
            await trio.lowlevel.checkpoint()
            if self._inside:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(trio.sleep, 0)
                    yield self._play(steps)
            else:
                yield self._play(steps)
        finally:
            self.left_at.append(trio.current_time())
            if self._leaving is not None:
                raise self._leaving

    async def _play(self, steps: Sequence[Step]) -> AsyncIterator[Delta | Completion]:
        said = ""
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, str):
                await trio.lowlevel.checkpoint()
                said += step
                yield Delta(kind="content", text=step)
            else:
                await trio.sleep(step)
        if self._ends:
            yield Completion(content=said, model="scripted-1")
        await trio.lowlevel.checkpoint()


class Room:
    """What ``ask`` needs of a workshop; keeps what was told, in order."""

    def __init__(self, **limits: Any) -> None:
        self.told: list[ProviderRetry | TurnDelta] = []
        self.limits = Limits(**limits)
        self.store = SimpleNamespace(write=self._write)
        self.bus = SimpleNamespace(tell=self._tell)

    async def _write(self, unit: Callable[[Any], object]) -> object:
        await trio.lowlevel.checkpoint()
        return unit(self)

    def _tell(self, session_id: int, delta: TurnDelta) -> None:
        assert (session_id, delta.loop_id, delta.turn_id) == (1, 3, 4)
        self.told.append(delta)

    def shown(self) -> str:
        """What a client shows of the answer that follows the one rule: a higher attempt voids the ones before."""
        attempt, text = 1, ""
        for delta in self.told:
            if isinstance(delta, TurnDelta):
                attempt, text = delta.attempt, (text if delta.attempt == attempt else "") + delta.text
        return text

    async def ask(self, provider: Scripted, luck: float = 1) -> Answer:
        return await ask(cast("Any", self), TURN, provider, REQUEST, luck=lambda: luck)

    async def failure(self, provider: Scripted) -> str:
        with pytest.raises(UpstreamFailed) as failed:
            await self.ask(provider)
        return failed.value.detail


@pytest.fixture(autouse=True)
def _keep_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(room: Room, turn: TurnRef, event: ProviderRetry) -> None:
        assert turn is TURN
        room.told.append(event)

    monkeypatch.setattr(turns, "tell", tell)


def waits(provider: Scripted) -> list[float]:
    """How long it was left alone between attempts."""
    return [round(asked - left, 6) for left, asked in zip(provider.left_at, provider.asked_at[1:], strict=False)]


@pytest.mark.spec("3.8-retry-then-500")
async def test_what_may_pass_is_tried_again_after_pauses_that_double(autojump_clock: MockClock) -> None:
    room, provider = Room(), Scripted([BUSY], [CUT], [BUSY], [BUSY], [GOOD])
    answer = await room.ask(provider)
    assert answer.completion.content == GOOD
    assert waits(provider) == [0.5, 1, 2, 4]
    assert [(r.attempt, r.status, r.wait_ms) for r in answer.retries] == [
        (2, 503, 500),
        (3, None, 1000),
        (4, 503, 2000),
        (5, 503, 4000),
    ]
    assert answer.retries[0].message == "The provider answered 503: busy; attempt 2 follows in 0.5 s."
    assert [told for told in room.told if isinstance(told, ProviderRetry)] == list(answer.retries)


async def test_the_pauses_are_drawn_by_lot(autojump_clock: MockClock) -> None:
    provider = Scripted([BUSY], [BUSY], [GOOD])
    await Room().ask(provider, luck=0.25)
    assert waits(provider) == [0.125, 0.25]


async def test_a_good_answer_is_asked_for_once(autojump_clock: MockClock) -> None:
    room, provider = Room(), Scripted(["a ", GOOD, " b"])
    answer = await room.ask(provider)
    assert (answer.retries, answer.prose, answer.errors) == ((), "a  b", ())
    assert [type(statement) for statement in answer.statements] == [Send]
    assert room.shown() == f"a {GOOD} b"


@pytest.mark.spec("3.8-retry-then-500")
async def test_after_the_last_retry_it_fails_for_good_with_the_cause_and_the_count(autojump_clock: MockClock) -> None:
    room, provider = Room(), Scripted(*[[CUT]] * 4, [BUSY])
    assert await room.failure(provider) == "the provider answered 503: busy; tried 5 times"
    assert len(room.told) == 8  # each retry, and that what came before is void


async def test_no_retries_are_made_where_none_are_wanted(autojump_clock: MockClock) -> None:
    room, provider = Room(provider_retries=0), Scripted([BUSY])
    assert await room.failure(provider) == "the provider answered 503: busy"
    assert room.told == []


@pytest.mark.spec("3.8-retry-then-500")
@pytest.mark.parametrize(
    "final",
    [
        ProviderFailed("the provider answered 401: no such key", http_status=401),
        UpstreamFailed("a plugin that says no more"),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(autojump_clock: MockClock, final: UpstreamFailed) -> None:
    room, provider = Room(), Scripted(["text", final])
    assert await room.failure(provider) == final.detail
    assert len(provider.asked_at) == 1
    again = Scripted([BUSY], [final])
    assert await room.failure(again) == f"{final.detail}; tried 2 times"


async def test_the_provider_says_how_long_to_wait_at_least(autojump_clock: MockClock) -> None:
    slow = ProviderFailed("slow down", http_status=429, retry_after_s=7, transient=True)
    provider = Scripted([slow], [slow], [GOOD])
    answer = await Room().ask(provider)
    assert waits(provider) == [7.5, 8]
    assert [retry.status for retry in answer.retries] == [429, 429]


@pytest.mark.parametrize("asked_s", [3600, 10, float("inf")])
async def test_a_wait_beyond_the_limit_is_not_begun(autojump_clock: MockClock, asked_s: float) -> None:
    slow = ProviderFailed("slow down", http_status=429, retry_after_s=asked_s, transient=True)
    room, provider = Room(fetch_timeout_s=10), Scripted([slow])
    began = trio.current_time()
    assert await room.failure(provider) == f"slow down; it asks to wait {asked_s:.0f} s"
    assert trio.current_time() == began
    assert room.told == []


async def test_the_limit_is_of_all_attempts_together(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    room, provider = Room(fetch_timeout_s=9), Scripted([4.0, BUSY], [4.0, BUSY])
    assert await room.failure(provider) == "the provider answered 503: busy; tried 2 times"
    assert trio.current_time() - began == 8.5  # a pause of a second would end beyond the limit


async def test_an_attempt_that_stalls_has_the_rest_of_the_limit(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    room, provider = Room(fetch_timeout_s=10), Scripted([4.0, BUSY], ["text", 3600.0])
    assert await room.failure(provider) == "no answer within 10 s; tried 2 times"
    assert trio.current_time() - began == 10
    assert len(provider.left_at) == 2


@pytest.mark.spec("3.8-retry-then-500")
async def test_what_came_before_a_cut_is_in_nothing(autojump_clock: MockClock) -> None:
    room = Room()
    provider = Scripted(["prose <<EDIT(known://a):half of ", CUT], ["<<READ(", CUT], ["<<SEND[200]", ":good:SEND"])
    answer = await room.ask(provider)
    assert (answer.completion.content, answer.prose, answer.errors) == (GOOD, "", ())
    assert [type(statement) for statement in answer.statements] == [Send]
    assert room.shown() == GOOD
    kinds = [told.attempt if isinstance(told, TurnDelta) else "retry" for told in room.told]
    assert kinds == [1, "retry", 2, 2, "retry", 3, 3, 3]


async def test_deltas_of_a_failed_attempt_are_void_before_the_next_one_speaks(autojump_clock: MockClock) -> None:
    room, provider = Room(provider_retries=1), Scripted(["half", CUT], [BUSY])
    await room.failure(provider)
    assert room.shown() == ""


async def test_an_answer_without_an_end_was_cut_off(autojump_clock: MockClock) -> None:
    room, provider = Room(provider_retries=1), Scripted([GOOD], [GOOD], ends=False)
    assert await room.failure(provider) == "the answer has no end; tried 2 times"


@pytest.mark.parametrize("inside", [False, True])
async def test_an_answer_that_has_come_whole_is_taken(
    autojump_clock: MockClock, inside: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await Room().ask(Scripted([GOOD], leaving=CUT, inside=inside))
    assert (answer.completion.content, answer.retries) == (GOOD, ())
    assert "failed after its answer: no answer from the provider: ReadError" in caplog.text


@pytest.mark.parametrize("leaving", [False, True])
@pytest.mark.parametrize("inside", [False, True])
async def test_a_bug_of_a_provider_is_none_of_its_failures(
    autojump_clock: MockClock, inside: bool, leaving: bool
) -> None:
    room, bug = Room(), ZeroDivisionError("a bug")
    provider = Scripted([BUSY], leaving=bug, inside=inside) if leaving else Scripted([bug], inside=inside)
    with pytest.raises(ZeroDivisionError) as raised:
        await room.ask(provider)
    assert raised.value is bug
    assert room.told == []


async def test_a_failure_comes_out_of_its_group(autojump_clock: MockClock) -> None:
    room, provider = Room(), Scripted(["x", BUSY], [GOOD], inside=True)
    assert [retry.status for retry in (await room.ask(provider)).retries] == [503]


async def test_a_group_of_several_is_a_bug(autojump_clock: MockClock) -> None:
    two = ExceptionGroup("two", [BUSY, ExceptionGroup("more", [ValueError(), CUT])])
    with pytest.raises(ExceptionGroup) as raised:
        await Room().ask(Scripted([two]))
    assert raised.value is two


async def test_what_looks_like_a_key_is_not_passed_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    leaks = ProviderFailed("bad key: Bearer s3cret and sk-s3cret" + "x" * 1000, http_status=500, transient=True)
    room = Room(provider_retries=1)
    detail = await room.failure(Scripted([leaks], [leaks]))
    retry = room.told[0]
    assert isinstance(retry, ProviderRetry)
    assert detail.startswith("bad key: [key] and [key]")
    assert "s3cret" not in detail + retry.message + caplog.text
    assert len(detail) < 400


def _script() -> Scripted:
    return Scripted([BUSY], ["<<EDIT(known://a):", 0.1, "x" * 9000, CUT], [0.1, "<<SEND[200]:", 0.1, "good:SEND"])


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_cancelled_at_any_step_the_provider_is_left_at_once_and_nothing_is_told_after(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "PARSE_INLINE_CHARS", 10_000)  # no threads: the clock does not wait for them
    me = trio.lowlevel.current_task()

    async def attempt(number: int) -> bool:
        room, provider, scope, at = Room(), _script(), trio.CancelScope(), [0.0, 0.0]

        def happen() -> None:
            at[:] = trio.current_time(), len(room.told)
            scope.cancel(reason="the test says so")

        fault = AtStep(number, lambda task: task is me, happen)
        with scope:
            trio.lowlevel.add_instrument(fault)
            try:
                await room.ask(provider)
            finally:
                trio.lowlevel.remove_instrument(fault)
        assert len(provider.left_at) == len(provider.asked_at)
        if scope.cancelled_caught:
            assert [trio.current_time(), len(room.told)] == at
        return fault.happened

    await until_it_misses(attempt, at_least=15)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("leaving", [None, CUT, ZeroDivisionError("a bug")])
async def test_cancelled_is_cancelled_whatever_the_provider_says_to_it(
    autojump_clock: MockClock,
    leaving: Exception | None,
    inside: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room()
    with trio.move_on_after(1) as scope:
        await room.ask(Scripted(["text", 3600.0], leaving=leaving, inside=inside))
    assert scope.cancelled_caught
    assert len(room.told) == 1
    assert ("the provider failed while it was cancelled" in caplog.text) == isinstance(leaving, ZeroDivisionError)
    with trio.fail_after(10):
        detail = await Room(fetch_timeout_s=2).failure(Scripted([3600.0], leaving=CUT, inside=inside))
    assert detail == "no answer within 2 s"


async def test_retries_are_logged(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    await Room().ask(Scripted([BUSY], [GOOD]))
    assert [record.getMessage() for record in caplog.records] == [
        "loop 3: The provider answered 503: busy; attempt 2 follows in 0.5 s."
    ]
