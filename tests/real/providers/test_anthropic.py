"""The anthropic provider against a real server: what is its own; failures are in test_failures.py (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from plurnk.plugins.api import Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers.anthropic import AnthropicProvider, provider
from plurnk.providers.errors import ProviderFailed
from tests.support.llm_server import Answer, LLMServer, open_llm_server
from tests.support.wires.anthropic import AnthropicWire

KEY = "k3y"
REQUEST = GenerateRequest(
    messages=(Message(role="system", content="card"), Message(role="user", content="prompt – naïve"))
)
REMEMBERED = {"cache_control": {"type": "ephemeral"}}


@dataclass
class Talk:
    server: LLMServer
    provider: AnthropicProvider

    async def ask(self, request: GenerateRequest = REQUEST) -> list[Delta | Completion]:
        async with self.provider.generate(request) as items:
            return [item async for item in items]

    async def sent(self, request: GenerateRequest) -> dict[str, Any]:
        """The body of what goes over the wire for a request."""
        await self.ask(request)
        body: dict[str, Any] = self.server.requests[-1].body
        return body


@asynccontextmanager
async def open_talk(*script: str | Answer, model: str = "claude-x", **env: str) -> AsyncIterator[Talk]:
    async with (
        open_llm_server(AnthropicWire(), script or ["x"], repeat=True) as server,
        httpx.AsyncClient(trust_env=False, verify=False) as http,
    ):
        settings = ProviderSettings(
            alias="a",
            provider="anthropic",
            model=model,
            env={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.base_url} | env,
            http=lambda: http,
        )
        yield Talk(server, provider(settings))


async def test_an_answer_as_deltas_and_as_a_whole() -> None:
    said = Answer("Hello!", reasoning="Hm.", chunk_chars=4, finish_reason="end_turn")
    async with open_talk(said, PLURNK_MODEL_a__TEMPERATURE="0.5") as talk:
        *deltas, completion = await talk.ask(replace(REQUEST, cache_marks=(4,)))
        assert deltas == [
            Delta(kind="reasoning", text="Hm."),
            Delta(kind="content", text="Hell"),
            Delta(kind="content", text="o!"),
        ]
        assert isinstance(completion, Completion)
        assert completion.raw["usage"]["output_tokens"] == 20
        assert completion == Completion(
            content="Hello!",
            reasoning="Hm.",
            usage=Usage(prompt=100, completion=20, cached=60, reasoning=5, cache_written=20),
            finish_reason="end_turn",
            model="claude-x",
            raw=completion.raw,
        )
        (request,) = talk.server.requests
        assert (request.method, request.path) == ("POST", "/v1/messages")
        assert request.headers["x-api-key"] == KEY
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in request.headers
        assert request.body == {
            "model": "claude-x",
            "max_tokens": 32_000,
            "system": [{"type": "text", "text": "card", **REMEMBERED}],
            "messages": [{"role": "user", "content": "prompt – naïve"}],
            "stream": True,
            "temperature": 0.5,
        }


async def test_a_server_of_ones_own_is_asked_without_a_key() -> None:
    async with open_talk(ANTHROPIC_API_KEY="") as talk:
        await talk.ask()
        assert "x-api-key" not in talk.server.requests[0].headers


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-3-7-sonnet-20250219", {"type": "enabled", "budget_tokens": 2000}),
        ("claude-sonnet-4-20250514", {"type": "enabled", "budget_tokens": 2000}),
        ("claude-opus-4-1", {"type": "enabled", "budget_tokens": 2000}),
        ("claude-haiku-4.5", {"type": "enabled", "budget_tokens": 2000}),
        ("vendor.claude-opus-4-6-v1:0", {"type": "enabled", "budget_tokens": 2000}),
        ("claude-opus-4-7", {"type": "adaptive", "display": "summarized"}),
        ("claude-sonnet-5-20300101", {"type": "adaptive", "display": "summarized"}),
        ("claude-opus-10", {"type": "adaptive", "display": "summarized"}),
        ("claude-latest", {"type": "adaptive", "display": "summarized"}),
    ],
)
async def test_reasoning_is_asked_for_as_the_model_takes_it(model: str, thinking: dict[str, Any]) -> None:
    async with open_talk(model=model, PLURNK_MODEL_a__TEMPERATURE="0.5") as talk:
        body = await talk.sent(replace(REQUEST, reasoning_tokens=2000))
        assert body["thinking"] == thinking
        assert "temperature" not in body  # The vendor refuses both.
        assert "thinking" not in await talk.sent(REQUEST)


@pytest.mark.parametrize(
    ("asked", "max_tokens", "budget"), [(1, "32000", 1024), (99_999, "32000", 16_000), (9, "2047", None)]
)
async def test_reasoning_has_bounds(asked: int, max_tokens: str, budget: int | None) -> None:
    async with open_talk(model="claude-opus-4-1", PLURNK_MODEL_a__MAX_TOKENS=max_tokens) as talk:
        body = await talk.sent(replace(REQUEST, reasoning_tokens=asked))
        assert body.get("thinking", {}).get("budget_tokens") == budget


@pytest.mark.parametrize(("prompt_tokens", "max_tokens"), [(10, 9990), (8000, 2000), (9500, 1024), (20_000, 1024)])
async def test_no_longer_answer_is_asked_for_than_the_context_has_room_for(prompt_tokens: int, max_tokens: int) -> None:
    request = GenerateRequest(messages=(Message(role="user", content="x" * 4 * prompt_tokens),))
    async with open_talk(PLURNK_MODEL_a__CONTEXT="10000") as talk:
        assert (await talk.sent(request))["max_tokens"] == max_tokens


async def test_a_request_without_a_system_text() -> None:
    async with open_talk() as talk:
        messages = (Message(role="user", content="a"), Message(role="assistant", content="b"))
        body = await talk.sent(GenerateRequest(messages=messages, cache_marks=(1,)))
        assert body["messages"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        assert "system" not in body


async def test_what_was_remembered_comes_again_as_the_log_grows() -> None:
    text, marks = "card and persona", [16]
    before = [text]
    async with open_talk() as talk:
        for turn in range(1, 70):
            text += f"\n* row {turn}"
            marks.append(len(text))
            whole = f"{text}\n\nas of turn {turn}"
            messages = (Message(role="system", content=whole), Message(role="user", content=f"Turn {turn}"))
            body = await talk.sent(GenerateRequest(messages=messages, cache_marks=tuple(marks)))
            blocks = body["system"]
            assert "".join(block["text"] for block in blocks) == whole
            remembered = [at for at, block in enumerate(blocks) if "cache_control" in block]
            assert len(remembered) <= 4
            assert (remembered[0], remembered[-1]) == (0, len(blocks) - 2)
            if turn % 32:  # Else a group of turns has become whole.
                assert [block["text"] for block in blocks[:-2]] == before
            before = [block["text"] for block in blocks[:-1]]


@pytest.mark.parametrize(
    ("answer", "http_status", "said"),
    [
        (
            '{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"},"request_id":"r"}',
            404,
            "the provider answered 404: model: claude-x",
        ),
        (
            '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}',
            529,
            "the provider answered 529: Overloaded",
        ),
    ],
)
async def test_a_refusal_says_why(answer: str, http_status: int, said: str) -> None:
    async with open_talk(Answer(status=http_status, body=answer)) as talk:
        with pytest.raises(ProviderFailed) as failed:
            await talk.ask()
        assert (failed.value.detail, failed.value.http_status) == (said, http_status)
        assert failed.value.transient is (http_status == 529)
