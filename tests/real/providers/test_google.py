"""The google provider against a real server: what is its own; failures are in test_failures.py (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from plurnk.plugins.api import Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers import google
from plurnk.providers.errors import ProviderFailed
from plurnk.providers.google import GoogleProvider, provider
from tests.support.llm_server import Answer, LLMServer, open_llm_server, sse
from tests.support.wires.google import GoogleWire

KEY = "k3y"
REQUEST = GenerateRequest(
    messages=(Message(role="system", content="card"), Message(role="user", content="prompt – naïve")),
    cache_marks=(2, 4),
)


@dataclass
class Talk:
    server: LLMServer
    provider: GoogleProvider

    async def ask(self, request: GenerateRequest = REQUEST) -> list[Delta | Completion]:
        async with self.provider.generate(request) as items:
            return [item async for item in items]

    async def completion(self) -> Completion:
        last = (await self.ask())[-1]
        assert isinstance(last, Completion)
        return last

    async def failure(self) -> ProviderFailed:
        with pytest.raises(ProviderFailed) as failed:
            await self.ask()
        return failed.value


@asynccontextmanager
async def open_talk(*script: str | Answer, model: str = "gemini-x", **env: str) -> AsyncIterator[Talk]:
    async with (
        open_llm_server(GoogleWire(), script or ["x"]) as server,
        httpx.AsyncClient(trust_env=False, verify=False) as http,
    ):
        own = {"PLURNK_MODEL_a__BASE_URL": server.base_url, "PLURNK_MODEL_a__API_KEY_ENV": "GEMINI_API_KEY"}
        settings = ProviderSettings(
            alias="a",
            provider="google",
            model=model,
            env={"GEMINI_API_KEY": KEY} | own | env,
            http=lambda: http,
        )
        yield Talk(server, provider(settings))


async def test_an_answer_as_deltas_and_as_a_whole() -> None:
    async with open_talk(
        Answer("Hello!", reasoning="Hm.", chunk_chars=4, finish_reason="STOP"), PLURNK_MODEL_a__TEMPERATURE="0.5"
    ) as talk:
        *deltas, completion = await talk.ask()
        assert deltas == [
            Delta(kind="reasoning", text="Hm."),
            Delta(kind="content", text="Hell"),
            Delta(kind="content", text="o!"),
        ]
        assert isinstance(completion, Completion)
        assert completion.raw["usageMetadata"]["promptTokenCount"] == 100
        assert completion == Completion(
            content="Hello!",
            reasoning="Hm.",
            usage=Usage(prompt=100, completion=20, cached=60, reasoning=5),
            finish_reason="STOP",
            model="gemini-x",
            raw=completion.raw,
        )
        (request,) = talk.server.requests
        assert (request.method, request.path) == ("POST", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse")
        assert request.headers["x-goog-api-key"] == KEY
        assert request.body == {
            "systemInstruction": {"parts": [{"text": "card"}]},
            "contents": [{"role": "user", "parts": [{"text": "prompt – naïve"}]}],
            "generationConfig": {"temperature": 0.5},
        }


async def test_a_request_without_settings_and_without_a_system_text() -> None:
    messages = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    async with open_talk() as talk:
        await talk.ask(GenerateRequest(messages=messages))
        assert talk.server.requests[0].body == {
            "contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]
        }


@pytest.mark.parametrize(
    ("model", "asked", "thinking"),
    [
        ("gemini-2.5-pro", 2000, {"includeThoughts": True, "thinkingBudget": 2000}),
        ("gemini-2.5-flash", 1, {"includeThoughts": True, "thinkingBudget": 512}),
        ("models/gemini-2.5-flash", 99_999, {"includeThoughts": True, "thinkingBudget": 24_576}),
        ("gemini-3-pro", 2000, {"includeThoughts": True}),
        ("gemini-3.5-flash", 2000, {"includeThoughts": True}),
        ("gemini-10", 2000, {"includeThoughts": True}),
        ("gemini-flash-latest", 2000, {"includeThoughts": True}),
    ],
)
async def test_reasoning_is_asked_for_as_the_model_takes_it(model: str, asked: int, thinking: dict[str, Any]) -> None:
    async with open_talk(model=model) as talk:
        await talk.ask(replace(REQUEST, reasoning_tokens=asked))
        assert talk.server.requests[0].body["generationConfig"] == {"thinkingConfig": thinking}


async def test_a_name_of_a_model_stays_one_piece_of_the_path() -> None:
    async with open_talk(model="../x y?z") as talk:
        await talk.ask()
        assert talk.server.requests[0].path == "/v1beta/models/..%2Fx%20y%3Fz:streamGenerateContent?alt=sse"


async def test_more_may_come_after_a_reason_to_end() -> None:
    early = sse({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]})
    late = sse({"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS"}]})
    counts = sse({"usageMetadata": {"promptTokenCount": 7}})
    async with open_talk(Answer(raw_events=early + late + counts)) as talk:
        completion = await talk.completion()
        assert (completion.content, completion.finish_reason) == ("ab", "MAX_TOKENS")
        assert completion.usage == Usage(prompt=7)


async def test_an_answer_that_has_ended_is_not_lost_with_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google, "MORE_S", 0.01)
    async with open_talk(Answer("x", failure="stall", fail_after=1000), "next") as talk:
        assert (await talk.completion()).content == "x"
        assert (await talk.completion()).content == "next"


async def test_a_prompt_that_is_refused() -> None:
    blocked = sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "gemini-x"})
    async with open_talk(Answer(raw_events=blocked)) as talk:
        failed = await talk.failure()
        assert failed.detail == "the provider refused the prompt: PROHIBITED_CONTENT"
        assert (failed.http_status, failed.transient) == (None, False)


async def test_an_answer_that_is_stopped_for_safety_is_one() -> None:
    async with open_talk(Answer("so f", finish_reason="SAFETY")) as talk:
        completion = await talk.completion()
        assert (completion.content, completion.finish_reason) == ("so f", "SAFETY")


QUOTA = (
    '{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":['
    '{"@type":"type.googleapis.com/google.rpc.QuotaFailure"},'
    '{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}'
)


@pytest.mark.parametrize(("header", "wait_s"), [({}, 34.5), ({"retry-after": "0"}, 0)])
async def test_how_long_to_wait_stands_in_the_body(header: dict[str, str], wait_s: float) -> None:
    async with open_talk(Answer(status=429, body=QUOTA, headers=header)) as talk:
        failed = await talk.failure()
        assert failed.detail == "the provider answered 429: Quota exceeded"
        assert (failed.transient, failed.retry_after_s) == (True, wait_s)


@pytest.mark.parametrize("listed", [False, True])
async def test_a_model_that_is_not_there(listed: bool) -> None:
    body = '{"error":{"code":404,"message":"models/gemini-x is not found","status":"NOT_FOUND"}}'
    async with open_talk(Answer(status=404, body=f"[{body}]" if listed else body)) as talk:
        failed = await talk.failure()
        assert failed.detail == "the provider answered 404: models/gemini-x is not found"
        assert (failed.http_status, failed.transient) == (404, False)
