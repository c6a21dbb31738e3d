"""The openai provider against a real server: what is its own; the rest is in test_failures.py (SPEC 3.8)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from plurnk.plugins.api import Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
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


@pytest.mark.parametrize(
    ("answer", "http_status", "transient", "said"),
    [
        (Answer(status=401, body='{"error":{"message":"no"}}'), 401, False, "the provider answered 401: no"),
        (Answer(status=503, body=""), 503, True, "answered 503: (nothing)"),
        (Answer(status=500, body="[" * 5000), 500, True, "answered 500: [[["),
        (Answer(body='{"error":"overloaded"}'), 200, False, "answered with no event stream: overloaded"),
        (Answer("x", headers={"content-type": "text/html"}), 200, False, "answered with no event stream: data:"),
        (Answer("x", error={"message": "too many", "code": 429}), 429, True, "reported an error: too many"),
        (Answer("x", error={"message": "bad", "code": 400}), 400, False, "reported an error: bad"),
        (Answer("x", error={"message": "much", "code": "429"}), 429, True, "reported an error: much"),
        (Answer("x", error={"message": "no", "status": "403"}), 403, False, "reported an error: no"),
        (Answer("x", error={"message": "m", "type": "invalid_request_error"}), 400, False, "reported an error: m"),
        (Answer("x", error={"message": "m", "type": "server_error", "code": "x"}), None, True, "an error: m"),
        (Answer("x", error="lost"), None, True, "reported an error: lost"),
        (Answer(raw_events=b"data: {not json\n\n"), None, False, "an event that cannot be read"),
        (Answer(raw_events=b'data: {"choices":[{"delta":{"content":[]}}]}\n\n'), None, False, "cannot be read"),
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


async def test_a_local_server_is_asked_without_a_key() -> None:
    async with open_talk("x", OPENAI_API_KEY="") as talk:
        assert (await talk.completion()).content == "x"
        assert "authorization" not in talk.server.requests[0].headers


async def test_of_a_long_error_only_the_beginning_is_read() -> None:
    async with open_talk(Answer(status=500, body="x" * 5_000_000, failure="stall")) as talk:
        assert (await talk.failure()).detail == f"the provider answered 500: {'x' * 300}…"


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
