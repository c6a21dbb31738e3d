"""Servers that never end, compress, or say nothing; and many of them at once (SPEC 3.8)."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count

import pytest
import trio

from plurnk.engine.models import open_models
from plurnk.errors import Malformed
from plurnk.plugins.api import Completion, GenerateRequest, Message, Provider
from plurnk.plugins.registry import ProviderPlugins
from plurnk.providers import event_stream
from plurnk.providers.errors import ProviderFailed
from tests.support.llm_server import Answer, LLMServer, open_llm_server, sse
from tests.support.wires.openai import OpenAIWire

REQUEST = GenerateRequest(messages=(Message(role="user", content="prompt"),))
STALL = Answer("x", failure="stall", fail_after=1)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def open_provider(base_url: str) -> AsyncIterator[Provider]:
    """A provider over the client that a daemon has."""
    env = {"PLURNK_MODEL": "a", "PLURNK_MODEL_a": "openai/m", "OPENAI_BASE_URL": base_url}
    async with open_models(env, ProviderPlugins()) as models:
        yield await models.provider(None)


@asynccontextmanager
async def open_talk(*script: str | Answer) -> AsyncIterator[tuple[LLMServer, Provider]]:
    async with open_llm_server(OpenAIWire(), script) as server, open_provider(server.base_url) as provider:
        yield server, provider


async def asked(provider: Provider) -> str:
    async with provider.generate(REQUEST) as items:
        last = [item async for item in items][-1]
        assert isinstance(last, Completion)
        return last.content


async def failure(provider: Provider) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as failed:
        await asked(provider)
    return failed.value


async def test_an_error_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "ERROR_BODY_S", 0.05)
    async with open_talk(Answer(status=401, body="no such ", failure="stall"), "next") as (_, provider):
        failed = await failure(provider)
        assert failed.detail == "the provider answered 401: no such"
        assert (failed.http_status, failed.transient) == (401, False)
        assert await asked(provider) == "next"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, "the provider compressed its answer (gzip, gzip), which it was asked not to do"),
        (500, "the provider answered 500: (gzip, gzip)"),
    ],
)
async def test_what_is_compressed_is_not_unpacked(status: int, said: str) -> None:
    bomb = gzip.compress(gzip.compress(b"data: " + b" " * 10_000_000)).decode("latin-1")
    packed = Answer(status=status, body=bomb, headers={"content-encoding": "gzip, gzip"})
    if status == 200:
        packed = Answer(raw_events=bomb.encode("latin-1"), headers={"content-encoding": "gzip, gzip"})
    async with open_talk(packed, "next") as (_, provider):
        failed = await failure(provider)
        assert (failed.detail, failed.http_status) == (said, status)
        assert await asked(provider) == "next"


async def test_a_server_that_takes_a_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "CONNECT_S", 0.05)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with listeners[0], open_provider(f"https://{address}") as provider:
        with trio.fail_after(10):
            failed = await failure(provider)
    assert failed.detail == "no answer from the provider: ConnectTimeout"
    assert failed.transient


async def test_many_deltas_in_one_read_hold_up_nobody() -> None:
    event = sse({"choices": [{"index": 0, "delta": {"content": "x"}}]})
    async with open_talk(Answer(raw_events=event * 1000 + b"data: [DONE]\n\n")) as (_, provider):
        turns_of_others = count()

        async def other() -> None:
            while True:
                await trio.lowlevel.checkpoint()
                next(turns_of_others)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            async with provider.generate(REQUEST) as items:
                await anext(items)
                before = next(turns_of_others)
                assert len([item async for item in items]) == 1000
            assert next(turns_of_others) - before >= 999
            nursery.cancel_scope.cancel()


async def test_no_loop_waits_for_the_connection_of_another() -> None:
    async with open_talk(*[STALL] * 101, "next") as (server, provider), trio.open_nursery() as nursery:
        for _ in range(101):
            nursery.start_soon(partial(asked, provider))
        with trio.fail_after(20):
            await server.request(100)
            assert await asked(provider) == "next"
        nursery.cancel_scope.cancel()


async def test_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_talk("hello") as (server, provider):
        assert await asked(provider) == "hello"
        async with open_provider(server.base_url.replace("127.0.0.1", "localhost.invalid")) as far:
            assert "ConnectError" in (await failure(far)).detail
        assert len(server.requests) == 1


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5://me:s3cret@h:1", "socksio"),
        ("ALL_PROXY", "socks://me:s3cret@h:1", "Unknown scheme"),
        ("HTTPS_PROXY", "http://me:s3cret", "not a URL"),
        ("SSL_CERT_FILE", "/no/such/file", "No such file"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Malformed, match=said) as failed:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(open_provider("http://h"))
    assert name in failed.value.detail
    assert "s3cret" not in failed.value.detail
