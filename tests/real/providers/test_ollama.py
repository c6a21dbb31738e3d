"""The ollama provider against a real server: what is its own; failures are in test_failures.py (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
import pytest

from plurnk.plugins.api import Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers.errors import ProviderFailed
from plurnk.providers.ollama import OllamaProvider, provider
from tests.support.llm_server import Answer, LLMServer, open_llm_server
from tests.support.wires.ollama import OllamaWire

REQUEST = GenerateRequest(
    messages=(Message(role="system", content="card"), Message(role="user", content="prompt – naïve"))
)
THINKING = replace(REQUEST, reasoning_tokens=100)


@dataclass
class Talk:
    server: LLMServer
    provider: OllamaProvider

    async def ask(self, request: GenerateRequest = REQUEST) -> list[Delta | Completion]:
        async with self.provider.generate(request) as items:
            return [item async for item in items]


@asynccontextmanager
async def open_talk(*script: str | Answer, **env: str) -> AsyncIterator[Talk]:
    async with (
        open_llm_server(OllamaWire(), script) as server,
        httpx.AsyncClient(trust_env=False, verify=False) as http,
    ):
        settings = ProviderSettings(
            alias="a",
            provider="ollama",
            model="qwen3:8b",
            env={"OLLAMA_HOST": server.base_url} | env,
            http=lambda: http,
        )
        yield Talk(server, provider(settings))


async def test_an_answer_as_deltas_and_as_a_whole() -> None:
    own = {"PLURNK_MODEL_a__TEMPERATURE": "0.5", "PLURNK_MODEL_a__CONTEXT": "9000"}
    async with open_talk(Answer("Hello!", reasoning="Hm.", chunk_chars=4, finish_reason="length"), **own) as talk:
        *deltas, completion = await talk.ask(THINKING)
        assert deltas == [
            Delta(kind="reasoning", text="Hm."),
            Delta(kind="content", text="Hell"),
            Delta(kind="content", text="o!"),
        ]
        assert isinstance(completion, Completion)
        assert completion.raw["eval_count"] == 20
        assert completion == Completion(
            content="Hello!",
            reasoning="Hm.",
            usage=Usage(prompt=100, completion=20),
            finish_reason="length",
            model="qwen3:8b",
            raw=completion.raw,
        )
        (request,) = talk.server.requests
        assert (request.method, request.path) == ("POST", "/api/chat")
        assert "authorization" not in request.headers
        assert request.body == {
            "model": "qwen3:8b",
            "messages": [{"role": "system", "content": "card"}, {"role": "user", "content": "prompt – naïve"}],
            "stream": True,
            "options": {"num_ctx": 9000, "temperature": 0.5},
            "truncate": False,
            "shift": False,
            "think": True,
        }


async def test_the_context_that_is_asked_for_is_the_one_that_is_told() -> None:
    async with open_talk("x") as talk:
        await talk.ask()
        (request,) = talk.server.requests
        assert request.body["options"] == {"num_ctx": talk.provider.context_size}
        assert request.body.keys().isdisjoint({"think", "keep_alive"})


async def test_a_model_that_cannot_think_is_asked_again_without() -> None:
    refusal = Answer(status=400, body='{"error":"\\"qwen3:8b\\" does not support thinking"}')
    async with open_talk(refusal, "x") as talk:
        *_, completion = await talk.ask(THINKING)
        assert isinstance(completion, Completion)
        assert completion.content == "x"
        assert ["think" in request.body for request in talk.server.requests] == [True, False]


async def test_a_model_that_is_not_there() -> None:
    async with open_talk(Answer(status=404, body='{"error":"model \'qwen3:8b\' not found"}')) as talk:
        with pytest.raises(ProviderFailed) as failed:
            await talk.ask()
        assert failed.value.detail.endswith("not found; is the model there? `ollama pull qwen3:8b` gets it")
        assert (failed.value.http_status, failed.value.transient) == (404, False)


async def test_a_prompt_that_does_not_fit_is_refused_and_not_cut() -> None:
    body = '{"error":"request (8889 tokens) exceeds the available context size"}'
    async with open_talk(Answer(status=400, body=body)) as talk:
        with pytest.raises(ProviderFailed, match="exceeds the available context") as failed:
            await talk.ask(THINKING)
        assert not failed.value.transient
        assert len(talk.server.requests) == 1


async def test_a_proxy_that_wants_a_key_gets_the_one_that_the_alias_names() -> None:
    async with open_talk("x", PLURNK_MODEL_a__API_KEY_ENV="PROXY_KEY", PROXY_KEY="k1") as talk:
        await talk.ask()
        assert talk.server.requests[0].headers["authorization"] == "Bearer k1"


async def test_what_servers_leave_out() -> None:
    raw = (
        b'{"message":null}\n\n{"message":{"content":null,"thinking":"why"},"x":1}\n'
        b'{"message":{"content":"a"},"done":true}\n'
    )
    async with open_talk(Answer(raw_events=raw)) as talk:
        *_, completion = await talk.ask()
        assert isinstance(completion, Completion)
        assert (completion.content, completion.reasoning, completion.usage) == ("a", "why", Usage())
        assert (completion.finish_reason, completion.model) == ("stop", "qwen3:8b")
