"""The openai provider against a real server: streams, failures, leaving in mid-answer (SPEC 3.8)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import trio

from plurnk.plugins.api import Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers import openai
from plurnk.providers.errors import ProviderFailed
from plurnk.providers.openai import OpenAIProvider, provider
from tests.support.openai_server import Answer, OpenAIServer, open_openai_server

KEY = "k3y-that-nobody-may-see"
REQUEST = GenerateRequest(
    messages=(Message(role="system", content="card"), Message(role="user", content="prompt – naïve"))
)


@dataclass
class Talk:
    """A provider and the server that it talks to."""

    server: OpenAIServer
    provider: OpenAIProvider

    async def ask(self) -> list[Delta | Completion]:
        async with self.provider.generate(REQUEST) as items:
            return [item async for item in items]

    async def completion(self) -> Completion:
        last = (await self.ask())[-1]
        assert isinstance(last, Completion)
        return last

    async def failure(self) -> ProviderFailed:
        with pytest.raises(ProviderFailed) as failed:
            await self.ask()
        assert KEY not in failed.value.detail
        return failed.value


@asynccontextmanager
async def open_talk(*script: str | Answer, **env: str) -> AsyncIterator[Talk]:
    async with open_openai_server(script) as server, httpx.AsyncClient(trust_env=False, verify=False) as client:
        settings = ProviderSettings(
            alias="a",
            provider="openai",
            model="org/m",
            env={"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.base_url} | env,
            http=lambda: client,
        )
        yield Talk(server, provider(settings))


async def test_an_answer_as_deltas_and_as_a_whole() -> None:
    async with open_talk(Answer("Hello!", reasoning="Hm.", chunk_chars=4), PLURNK_MODEL_a__TEMPERATURE="0.5") as talk:
        *deltas, completion = await talk.ask()
        assert deltas == [
            Delta(kind="reasoning", text="Hm."),
            Delta(kind="content", text="Hell"),
            Delta(kind="content", text="o!"),
        ]
        assert isinstance(completion, Completion)
        assert completion.raw["usage"]["prompt_tokens"] == 100
        assert completion == Completion(
            content="Hello!",
            reasoning="Hm.",
            usage=Usage(prompt=100, completion=20, cached=60, reasoning=5),
            finish_reason="stop",
            model="org/m",
            raw=completion.raw,
        )
        (request,) = talk.server.requests
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.body == {
            "model": "org/m",
            "messages": [{"role": "system", "content": "card"}, {"role": "user", "content": "prompt – naïve"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
        }


@pytest.mark.parametrize("write_bytes", [1, 3, 1000])
async def test_bytes_may_be_cut_anywhere(write_bytes: int) -> None:
    async with open_talk(Answer("naïve – 𝄞!", chunk_chars=3, write_bytes=write_bytes)) as talk:
        assert (await talk.completion()).content == "naïve – 𝄞!"


async def test_invalid_utf8_is_replaced() -> None:
    raw = b'data: {"choices":[{"delta":{"content":"a\xffb"},"finish_reason":"stop"}]}\n\n'
    async with open_talk(Answer(raw_events=raw)) as talk:
        assert (await talk.completion()).content == "a\ufffdb"


async def test_what_servers_leave_out_or_call_otherwise() -> None:
    raw = (
        b'data: {"choices":null}\n\n'
        b'data: {"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":null}]}\n\n'
        b'data: {"choices":[{"delta":{"reasoning":"why","content":null,"extra":[]},"logprobs":null}],"x":1}\n\n'
        b'data: {"choices":[{"delta":{"content":"a","reasoning":{}}}],"model":"m-2","usage":{"prompt_tokens":"7",'
        b'"completion_tokens":null,"prompt_tokens_details":null}}\n\n'
        b"data: [DONE]\n\n"
    )
    async with open_talk(Answer(raw_events=raw)) as talk:
        completion = await talk.completion()
        assert (completion.content, completion.reasoning, completion.model) == ("a", "why", "m-2")
        assert (completion.usage, completion.finish_reason) == (Usage(prompt=7), "stop")


async def test_without_usage_and_without_done_but_finished() -> None:
    async with open_talk(Answer("x", usage=None, done=False, finish_reason="length")) as talk:
        completion = await talk.completion()
        assert (completion.usage, completion.finish_reason) == (Usage(), "length")


async def test_one_connection_serves_several_turns() -> None:
    async with open_talk("one", "two", Answer("three", write_bytes=5)) as talk:
        assert [(await talk.completion()).content for _ in range(3)] == ["one", "two", "three"]
        assert [request.connection for request in talk.server.requests] == [0, 0, 0]


async def test_a_server_that_never_ends_its_response_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "LINGER_S", 0.01)
    raw = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]\n\n'
    async with open_talk(Answer(raw_events=raw, failure="stall")) as talk:
        assert (await talk.completion()).content == "x"
        with trio.fail_after(5):
            await talk.server.requests[0].gone.wait()


@pytest.mark.parametrize(
    ("answer", "http_status", "transient", "said"),
    [
        (Answer(status=401, body='{"error":{"message":"no"}}'), 401, False, "the provider answered 401: no"),
        (Answer(status=404, body="<h1>not\nhere</h1>"), 404, False, "answered 404: <h1>not here</h1>"),
        (Answer(status=503, body=""), 503, True, "answered 503: (nothing)"),
        (Answer(status=500, body="[" * 5000), 500, True, "answered 500: [[["),
        (Answer(status=302, body="", headers={"location": "http://127.0.0.1:1/"}), 302, False, "answered 302"),
        (Answer(body='{"error":"overloaded"}'), 200, False, "answered with no event stream: overloaded"),
        (Answer("x", headers={"content-type": "text/html"}), 200, False, "answered with no event stream: data:"),
        (Answer("x", error={"message": "too many", "code": 429}), 429, True, "reported an error: too many"),
        (Answer("x", error={"message": "bad", "code": 400}), 400, False, "reported an error: bad"),
        (Answer("x", error="lost"), None, True, "reported an error: lost"),
        (Answer("x", failure="eof"), None, True, "broke off in mid-answer"),
        (Answer("xy", chunk_chars=1, failure="reset"), None, True, "no answer from the provider: Re"),
        (Answer(raw_events=b"data: {not json\n\n"), None, False, "an event that cannot be read"),
        (Answer(raw_events=b'data: {"choices":[{"delta":{"content":[]}}]}\n\n'), None, False, "cannot be read"),
        (Answer(raw_events=b"data: " + b"[" * 99_999 + b"\n\n"), None, False, "cannot be read"),
        (Answer(raw_events=b"data: " + b"x" * (2 << 20)), None, False, "an event of more than"),
    ],
)
async def test_failures_are_told_in_one_way(
    answer: Answer, http_status: int | None, transient: bool, said: str
) -> None:
    async with open_talk(answer, "next") as talk:
        failed = await talk.failure()
        assert said in failed.detail
        assert (failed.http_status, failed.transient) == (http_status, transient)
        assert (await talk.completion()).content == "next"


async def test_retry_after_is_kept() -> None:
    async with open_talk(Answer(status=429, body="slow down", headers={"retry-after": "3"})) as talk:
        assert (await talk.failure()).retry_after_s == 3


async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MAX_ANSWER_CHARS", 20)
    async with open_talk(Answer("x" * 21)) as talk:
        assert "more than 20 characters" in (await talk.failure()).detail


async def test_a_local_server_is_asked_without_a_key() -> None:
    async with open_talk("x", OPENAI_API_KEY="") as talk:
        assert (await talk.completion()).content == "x"
        assert "authorization" not in talk.server.requests[0].headers


async def test_of_a_long_error_only_the_beginning_is_read() -> None:
    async with open_talk(Answer(status=500, body="x" * 5_000_000, failure="stall")) as talk:
        assert (await talk.failure()).detail == f"the provider answered 500: {'x' * 300}…"


async def test_nobody_listens() -> None:
    async with open_talk(OPENAI_BASE_URL="http://127.0.0.1:1/v1") as talk:
        failed = await talk.failure()
        assert "no answer from the provider: ConnectError" in failed.detail
        assert failed.transient


async def test_an_address_that_only_the_client_finds_wrong() -> None:
    async with open_talk(OPENAI_BASE_URL="http://xn--/v1") as talk:
        assert "no answer from the provider: IDNAError" in (await talk.failure()).detail


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=401, body=f'{{"error":{{"message":"bad key {KEY}"}}}}'),
        Answer(status=400, body=f"got: Authorization: Bearer {KEY}"),
        Answer(body=f'"{KEY}"'),
        Answer("x", error={"message": f"bad key {KEY}"}),
    ],
)
async def test_a_key_that_a_server_quotes_is_not_shown(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_talk(answer) as talk:
        failed = await talk.failure()
        assert "[key]" in failed.detail
    assert KEY not in caplog.text


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_cancelling_closes_the_connection_before_it_returns() -> None:
    async with open_talk(Answer("some text", chunk_chars=1, failure="stall", fail_after=3), "next") as talk:
        seen: list[Delta | Completion] = []
        with trio.CancelScope() as scope:
            async with talk.provider.generate(REQUEST) as items:
                async for item in items:
                    seen.append(item)
                    if len(seen) == 3:  # The server has nothing more to say now.
                        scope.cancel(reason="test")
        assert scope.cancelled_caught
        assert [item.text for item in seen if isinstance(item, Delta)] == ["s", "o", "m"]
        with trio.fail_after(5):
            await talk.server.requests[0].gone.wait()
        assert (await talk.completion()).content == "next"


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_cancelling_before_the_first_byte_closes_the_connection() -> None:
    async with open_talk(Answer("x", failure="stall", fail_after=0)) as talk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.ask)
            request = await talk.server.request(0)
            nursery.cancel_scope.cancel(reason="test")
        with trio.fail_after(5):
            await request.gone.wait()


@pytest.mark.spec("3.8-cancel-closes-stream")
async def test_leaving_early_closes_the_connection() -> None:
    async with open_talk(Answer("some text", chunk_chars=1, failure="stall", fail_after=3), "next") as talk:
        async with talk.provider.generate(REQUEST) as items:
            assert await anext(items) == Delta(kind="content", text="s")
        with trio.fail_after(5):
            await talk.server.requests[0].gone.wait()
        with pytest.raises(ZeroDivisionError):
            async with talk.provider.generate(REQUEST) as items:
                raise ZeroDivisionError
        assert len(talk.server.requests) == 2
