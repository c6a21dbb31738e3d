"""Every vendor fails alike: what goes wrong comes out as one kind of error, and no socket stays open (SPEC 3.8).

A vendor is one row of ``VENDORS``; what is its own is tested beside it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final, TypeAlias

import httpx
import pytest
import trio

from plurnk.plugins.api import (
    Completion,
    Delta,
    GenerateRequest,
    Message,
    Provider,
    ProviderFactory,
    ProviderSettings,
    Usage,
)
from plurnk.providers import answers, anthropic, google, ollama, openai
from plurnk.providers.errors import ProviderFailed
from tests.support.llm_server import Answer, LLMServer, Request, Wire, open_llm_server
from tests.support.wires.anthropic import AnthropicWire
from tests.support.wires.google import GoogleWire
from tests.support.wires.ollama import OllamaWire
from tests.support.wires.openai import OpenAIWire

KEY: Final = "k3y-that-nobody-may-see"
ASKED: Final = GenerateRequest(
    messages=(Message(role="system", content="card"), Message(role="user", content="prompt")), reasoning_tokens=2000
)
ENDLESS: Final[dict[str, Any]] = {"finish_reason": None, "usage": None, "done": False}
"""Of an answer: all of its text, and nothing that ends it."""


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """``env`` leads a provider to a server; ``reported`` is an error in mid-stream, transient and for good.

    None for good: the wire has no kinds of errors. ``marks_end``: an answer has an end besides its response's.
    """

    wire: Wire
    factory: ProviderFactory
    env: Callable[[str], Mapping[str, str]]
    reported: tuple[Callable[[str], Any], Callable[[str], Any] | None]
    model: str = "m"
    marks_end: bool = True


VENDORS: Final[Mapping[str, Vendor]] = {
    "openai": Vendor(
        wire=OpenAIWire(),
        factory=openai.provider,
        env=lambda url: {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url},
        reported=(
            lambda message: {"message": message, "code": "503"},
            lambda message: {"message": message, "code": 400},
        ),
    ),
    "anthropic": Vendor(
        wire=AnthropicWire(),
        factory=anthropic.provider,
        env=lambda url: {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url},
        reported=(
            lambda message: {"type": "overloaded_error", "message": message},
            lambda message: {"type": "invalid_request_error", "message": message},
        ),
    ),
    "google": Vendor(
        wire=GoogleWire(),
        factory=google.provider,
        env=lambda url: (
            {"PLURNK_MODEL_a__BASE_URL": url, "PLURNK_MODEL_a__API_KEY_ENV": "GEMINI_API_KEY"} | {"GEMINI_API_KEY": KEY}
        ),
        reported=(
            lambda message: {"code": 503, "message": message, "status": "UNAVAILABLE"},
            lambda message: {"code": 400, "message": message, "status": "INVALID_ARGUMENT"},
        ),
        marks_end=False,
    ),
    "ollama": Vendor(
        wire=OllamaWire(),
        factory=ollama.provider,
        env=lambda url: {"OLLAMA_HOST": url, "PLURNK_MODEL_a__API_KEY_ENV": "PROXY_KEY", "PROXY_KEY": KEY},
        reported=(lambda message: message, None),
    ),
}


class Talk:
    """A provider and the server that it talks to."""

    def __init__(self, vendor: Vendor, server: LLMServer, provider: Provider) -> None:
        self.vendor = vendor
        self.server = server
        self.provider = provider

    async def ask(self) -> list[Delta | Completion]:
        async with self.provider.generate(ASKED) as items:
            return [item async for item in items]

    async def completion(self) -> Completion:
        last = (await self.ask())[-1]
        assert isinstance(last, Completion)
        return last

    async def failure(self) -> ProviderFailed:
        """It fails, in one sentence that shows no key, and the next request is answered."""
        with pytest.raises(ProviderFailed) as failed:
            await self.ask()
        assert KEY not in failed.value.detail
        assert "\n" not in failed.value.detail
        assert (await self.completion()).content == "next"
        return failed.value

    async def gone(self, number: int = 0) -> None:
        """Wait until the server has seen that the socket of a request is closed."""
        with trio.fail_after(10):
            await self.server.requests[number].gone.wait()

    def stream(self, answer: Answer) -> bytes:
        """The bytes of a good stream, to be spoilt."""
        request = Request(method="POST", path=f"/models/{self.vendor.model}", headers={}, body={"model": "m"})
        return b"".join(self.vendor.wire.events(answer, request))


Talking: TypeAlias = Callable[..., AbstractAsyncContextManager[Talk]]


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    name: str = request.param
    return VENDORS[name]


@pytest.fixture
def talking(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> Talking:
    """``talking(answer, …)`` opens a talk whose server gives these answers, then "next"; no log shows the key."""
    caplog.set_level(logging.DEBUG)

    @asynccontextmanager
    async def open_talk(*script: str | Answer) -> AsyncIterator[Talk]:
        async with (
            open_llm_server(vendor.wire, [*script, "next"]) as server,
            httpx.AsyncClient(trust_env=False, verify=False) as client,
        ):
            env = vendor.env(server.base_url)
            settings = ProviderSettings(alias="a", provider="x", model=vendor.model, env=env, http=lambda: client)
            yield Talk(vendor, server, vendor.factory(settings))
        assert KEY not in caplog.text

    return open_talk


def refused(vendor: Vendor, status: int, **headers: str) -> Answer:
    body = json.dumps(vendor.wire.error(status, f"too bad for {KEY}"))
    return Answer(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize(
    ("status", "transient"), [(400, False), (401, False), (408, True), (413, False), (429, True), (500, True)]
)
async def test_a_refusal(talking: Talking, vendor: Vendor, status: int, *, transient: bool) -> None:
    async with talking(refused(vendor, status)) as talk:
        failed = await talk.failure()
        assert (failed.http_status, failed.transient, failed.retry_after_s) == (status, transient, None)
        assert f"answered {status}: " in failed.detail
        assert "too bad for [key]" in failed.detail


async def test_a_refusal_that_says_how_long_to_wait(talking: Talking, vendor: Vendor) -> None:
    async with talking(refused(vendor, 429, retry_after="3")) as talk:
        assert (await talk.failure()).retry_after_s == 3


async def test_a_refusal_that_says_until_when_to_wait(talking: Talking, vendor: Vendor) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    async with talking(refused(vendor, 529, retry_after=until)) as talk:
        wait_s = (await talk.failure()).retry_after_s
        assert wait_s is not None
        assert 80_000 < wait_s <= 86_400


@pytest.mark.parametrize("status", [200, 302, 404, 502])
async def test_an_answer_of_somebody_else(talking: Talking, status: int) -> None:
    page = Answer(status=status, body="<h1>\nhello</h1>", headers={"content-type": "text/html", "location": "/x"})
    async with talking(page) as talk:
        failed = await talk.failure()
        assert (failed.http_status, failed.transient) == (status, status == 502)
        assert "<h1> hello</h1>" in failed.detail


async def test_a_reset_in_mid_stream(talking: Talking) -> None:
    async with talking(Answer("some text", chunk_chars=1, failure="reset", fail_after=4)) as talk:
        failed = await talk.failure()
        assert (failed.http_status, failed.transient) == (None, True)


async def test_a_reset_before_anything(talking: Talking) -> None:
    async with talking(Answer("x", failure="reset", fail_after=0)) as talk:
        assert (await talk.failure()).transient


@pytest.mark.parametrize(
    "answer", [Answer("some text", **ENDLESS), Answer("some text", failure="eof"), Answer(raw_events=b"")]
)
async def test_a_stream_that_ends_without_its_end(talking: Talking, answer: Answer) -> None:
    async with talking(answer) as talk:
        failed = await talk.failure()
        assert (failed.http_status, failed.transient) == (None, True)
        assert "broke off" in failed.detail


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize("transient", [True, False])
async def test_an_error_in_mid_stream(talking: Talking, vendor: Vendor, *, transient: bool) -> None:
    as_told = vendor.reported[0] if transient else vendor.reported[1]
    if as_told is None:
        return  # Nothing to tell apart on this wire.
    async with talking(Answer("some text", error=as_told(f"too bad for {KEY}"))) as talk:
        failed = await talk.failure()
        assert failed.transient is transient
        assert "reported an error: too bad for [key]" in failed.detail


async def test_nonsense_in_mid_stream(talking: Talking) -> None:
    async with talking("") as talk:
        good = talk.stream(Answer("a~b"))
    for nonsense in (b'"a"b"', b"[" * 99_999, b"[]"):
        async with talking(Answer(raw_events=good.replace(b'"a~b"', nonsense))) as talk:
            failed = await talk.failure()
            assert "cannot be read" in failed.detail
            assert not failed.transient


async def test_invalid_utf8_is_replaced(talking: Talking) -> None:
    async with talking("") as talk:
        spoilt = talk.stream(Answer("a~b")).replace(b"~", b"\xff")
    async with talking(Answer(raw_events=spoilt)) as talk:
        assert (await talk.completion()).content == "a\ufffdb"


@pytest.mark.parametrize("write_bytes", [1, 3])
async def test_bytes_may_be_cut_anywhere(talking: Talking, write_bytes: int) -> None:
    async with talking(Answer("naïve – 𝄞!", chunk_chars=3, write_bytes=write_bytes)) as talk:
        assert (await talk.completion()).content == "naïve – 𝄞!"


async def test_a_gigantic_delta_is_not_kept(talking: Talking) -> None:
    async with talking(Answer("x" * (3 << 20), chunk_chars=3 << 20)) as talk:
        failed = await talk.failure()
        assert "more than 1048576 bytes" in failed.detail
        assert not failed.transient
        await talk.gone()


@pytest.mark.parametrize("answer", [Answer("x" * 51), Answer(reasoning="x" * 51), Answer("x" * 26, reasoning="x" * 26)])
async def test_an_answer_without_end_is_cut(talking: Talking, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_ANSWER_CHARS", 50)
    async with talking(answer) as talk:
        assert "more than 50 characters" in (await talk.failure()).detail


async def test_usage_may_be_missing(talking: Talking) -> None:
    async with talking(Answer("x", usage=None)) as talk:
        completion = await talk.completion()
        assert (completion.content, completion.usage) == ("x", Usage())


async def test_text_after_the_end_is_none(talking: Talking, vendor: Vendor) -> None:
    if not vendor.marks_end:
        return
    async with talking("") as talk:
        twice = talk.stream(Answer("first")) + talk.stream(Answer("second"))
    async with talking(Answer(raw_events=twice)) as talk:
        items = await talk.ask()
        assert [isinstance(item, Completion) for item in items] == [False, True]
        assert isinstance(items[-1], Completion)
        assert items[-1].content == "first"


async def test_one_connection_serves_several_turns(talking: Talking) -> None:
    async with talking("one", Answer("two", reasoning="hm", chunk_chars=1), Answer("three", write_bytes=5)) as talk:
        assert [(await talk.completion()).content for _ in range(4)] == ["one", "two", "three", "next"]
        assert {request.connection for request in talk.server.requests} == {0}


async def test_a_response_that_does_not_end_delays_nobody(talking: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LINGER_S", 0.01)
    monkeypatch.setattr(google, "MORE_S", 0.01)
    async with talking(Answer("x", failure="stall", fail_after=1000)) as talk:
        assert (await talk.completion()).content == "x"
        await talk.gone()


async def test_nobody_listens(vendor: Vendor) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        env = vendor.env("http://127.0.0.1:1")
        settings = ProviderSettings(alias="a", provider="x", model=vendor.model, env=env, http=lambda: client)
        with pytest.raises(ProviderFailed, match="no answer from the provider: ConnectError") as failed:
            async with vendor.factory(settings).generate(ASKED):
                pass
        assert failed.value.transient


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_cancelling_at_any_delta_closes_the_socket_before_it_returns(talking: Talking) -> None:
    text = "some text"
    stalls = Answer(text, chunk_chars=1, failure="stall", fail_after=1000, **ENDLESS)
    async with talking(*[stalls] * len(text)) as talk:
        for number in range(len(text)):
            seen: list[Delta | Completion] = []
            with trio.CancelScope() as scope:
                async with talk.provider.generate(ASKED) as items:
                    async for item in items:
                        seen.append(item)
                        if len(seen) > number:
                            scope.cancel(reason="test")
                            await trio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert seen == [Delta(kind="content", text=char) for char in text[: number + 1]]
            await talk.gone(number)
        assert (await talk.completion()).content == "next"


@pytest.mark.spec("3.8-cancel-closes-stream")
@pytest.mark.parametrize("fail_after", [0, 3])
async def test_cancelling_one_that_stalls_closes_the_socket(talking: Talking, fail_after: int) -> None:
    async with talking(Answer("some text", chunk_chars=1, failure="stall", fail_after=fail_after)) as talk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.ask)
            await talk.server.request(0)
            nursery.cancel_scope.cancel(reason="test")
        await talk.gone()
        assert (await talk.completion()).content == "next"


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_leaving_early_closes_the_socket(talking: Talking) -> None:
    stalls = Answer("some text", chunk_chars=1, failure="stall", fail_after=1000, **ENDLESS)
    async with talking(stalls, stalls) as talk:
        async with talk.provider.generate(ASKED) as items:
            assert await anext(items) == Delta(kind="content", text="s")
        await talk.gone(0)
        with pytest.raises(ZeroDivisionError):
            async with talk.provider.generate(ASKED):
                raise ZeroDivisionError
        await talk.gone(1)
