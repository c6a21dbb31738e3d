"""What a server refuses of a request is left out, or the setting behind it is named (SPEC 3.8)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from plurnk.plugins.api import Completion, GenerateRequest, Message, Provider, ProviderFactory, ProviderSettings
from plurnk.providers import anthropic, google, ollama, openai
from plurnk.providers.errors import ProviderFailed
from tests.support.llm_server import Answer, LLMServer, Wire, open_llm_server
from tests.support.wires.anthropic import AnthropicWire
from tests.support.wires.google import GoogleWire
from tests.support.wires.ollama import OllamaWire
from tests.support.wires.openai import OpenAIWire

REQUEST: Final = GenerateRequest(messages=(Message(role="user", content="prompt"),), reasoning_tokens=2000)


@dataclass(frozen=True, kw_only=True)
class Refusing:
    """A vendor whose server refuses what ``extra`` says of a body."""

    wire: Wire
    factory: ProviderFactory
    extra: str
    status: int
    body: str


VENDORS: Final[Mapping[str, Refusing]] = {
    "openai": Refusing(
        wire=OpenAIWire(),
        factory=openai.provider,
        extra="stream_options",
        status=422,
        body='{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options",'
        '"include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error",'
        '"param":null,"code":null}',
    ),
    "anthropic": Refusing(
        wire=AnthropicWire(),
        factory=anthropic.provider,
        extra="thinking",
        status=400,
        body='{"type":"error","error":{"type":"invalid_request_error","message":"\'m\' does not support thinking."}}',
    ),
    "google": Refusing(
        wire=GoogleWire(),
        factory=google.provider,
        extra="thinkingConfig",
        status=400,
        body='{"error":{"code":400,"message":"Thinking is not enabled for models/m","status":"INVALID_ARGUMENT"}}',
    ),
    "ollama": Refusing(
        wire=OllamaWire(),
        factory=ollama.provider,
        extra="think",
        status=400,
        body='{"error":"\\"m\\" does not support thinking"}',
    ),
}


@asynccontextmanager
async def open_talk(
    vendor: Refusing, *script: str | Answer, **options: str
) -> AsyncIterator[tuple[LLMServer, Provider]]:
    async with (
        open_llm_server(vendor.wire, script) as server,
        httpx.AsyncClient(trust_env=False, verify=False) as http,
    ):
        env = {"PLURNK_MODEL_a__BASE_URL": server.base_url, "PLURNK_MODEL_a__API_KEY_ENV": "KEY", "KEY": "k"}
        env |= {f"PLURNK_MODEL_a__{name}": value for name, value in options.items()}
        settings = ProviderSettings(alias="a", provider="x", model="m", env=env, http=lambda: http)
        yield server, vendor.factory(settings)


async def asked(provider: Provider) -> str:
    async with provider.generate(REQUEST) as items:
        last = [item async for item in items][-1]
        assert isinstance(last, Completion)
        return last.content


def has(body: Any, name: str) -> bool:
    return name in body or name in body.get("generationConfig", {})


@pytest.mark.parametrize("name", VENDORS)
async def test_what_is_refused_is_left_out_from_then_on(name: str) -> None:
    vendor = VENDORS[name]
    refusal = Answer(status=vendor.status, body=vendor.body)
    async with open_talk(vendor, refusal, "one", "two") as (server, provider):
        assert [await asked(provider), await asked(provider)] == ["one", "two"]
        assert [has(request.body, vendor.extra) for request in server.requests] == [True, False, False]


@pytest.mark.parametrize("name", VENDORS)
async def test_another_refusal_is_one_and_a_failure_of_the_server_is_no_refusal(name: str) -> None:
    vendor = VENDORS[name]
    busy = Answer(status=503, body=vendor.body)
    async with open_talk(vendor, Answer(status=400, body='{"error":"no"}'), busy, "two") as (server, provider):
        for status in (400, 503):
            with pytest.raises(ProviderFailed) as failed:
                await asked(provider)
            assert failed.value.http_status == status
        assert await asked(provider) == "two"
        assert [has(request.body, vendor.extra) for request in server.requests] == [True] * 3


@pytest.mark.parametrize(
    ("name", "message", "named"),
    [
        (
            "openai",
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported.",
            "PLURNK_MODEL_a__TEMPERATURE",
        ),
        (
            "anthropic",
            "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for m",
            "PLURNK_MODEL_a__MAX_TOKENS",
        ),
        ("anthropic", "`temperature` is deprecated for this model.", "PLURNK_MODEL_a__TEMPERATURE"),
    ],
)
async def test_the_setting_behind_what_is_refused_is_named(name: str, message: str, named: str) -> None:
    vendor = VENDORS[name]
    refusal = Answer(status=400, body=json.dumps({"error": {"message": message}}))
    async with open_talk(vendor, refusal, TEMPERATURE="0.7") as (server, provider):
        with pytest.raises(ProviderFailed) as failed:
            await asked(provider)
        assert failed.value.detail == f"the provider answered 400: {message}; {named} may mend that"
        assert (failed.value.http_status, failed.value.transient) == (400, False)
        assert len(server.requests) == 1


SPENT = '{"error":{"message":"You exceeded your quota","type":"insufficient_quota","code":"credit_balance_exhausted"}}'
PER_DAY = (
    '{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED","details":['
    '{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"34s"}]}}'
)


@pytest.mark.spec("3.8-retry-then-500")
@pytest.mark.parametrize(("name", "body"), [("openai", SPENT), ("google", PER_DAY)])
async def test_what_is_used_up_is_not_asked_for_again(name: str, body: str) -> None:
    async with open_talk(VENDORS[name], Answer(status=429, body=body)) as (_, provider):
        with pytest.raises(ProviderFailed, match=r"answered 429: .*uota") as failed:
            await asked(provider)
        assert not failed.value.transient


@pytest.mark.parametrize(
    ("status", "headers", "transient", "wait_s"),
    [
        (429, {"x-should-retry": "false"}, False, None),
        (409, {"x-should-retry": "true", "retry-after": "7", "retry-after-ms": "250"}, True, 0.25),
        (503, {"x-should-retry": "maybe", "retry-after-ms": "-1", "retry-after": "7"}, True, 7),
        (503, {"retry-after": "-7"}, True, None),
        (503, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, True, 0),
    ],
)
async def test_what_a_server_says_of_another_try(
    status: int, headers: dict[str, str], transient: bool, wait_s: float | None
) -> None:
    async with open_talk(VENDORS["openai"], Answer(status=status, body="{}", headers=headers)) as (_, provider):
        with pytest.raises(ProviderFailed) as failed:
            await asked(provider)
        assert (failed.value.transient, failed.value.retry_after_s) == (transient, wait_s)
