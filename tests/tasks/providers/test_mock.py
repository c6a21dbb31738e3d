"""The scripted provider (SPEC 3.8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from plurnk.errors import Malformed
from plurnk.plugins.api import (
    CONTRACT_VERSION,
    Completion,
    Delta,
    GenerateRequest,
    Message,
    Provider,
    ProviderSettings,
    Usage,
)
from plurnk.providers.errors import ProviderFailed
from plurnk.providers.mock import MockFailure, MockProvider, MockTurn, provider

if TYPE_CHECKING:
    import httpx


def ask(text: str) -> GenerateRequest:
    return GenerateRequest(messages=(Message(role="system", content="card"), Message(role="user", content=text)))


async def listen(mock: Provider, text: str, heard: list[Delta | Completion]) -> None:
    async with mock.generate(ask(text)) as items:
        async for item in items:
            heard.append(item)  # noqa: PERF401 – what came before a failure is to be kept


async def answer(mock: Provider, text: str = "?") -> list[Delta | Completion]:
    heard: list[Delta | Completion] = []
    await listen(mock, text, heard)
    return heard


async def test_turns_are_given_one_by_one_and_then_no_more() -> None:
    mock = MockProvider(["one", MockTurn(content="two", finish_reason="length", usage=Usage(prompt=7))])
    assert await answer(mock) == [
        Delta(kind="content", text="one"),
        Completion(content="one", usage=Usage(prompt=2, completion=1), model="mock", raw={"mock": True}),
    ]
    second = (await answer(mock))[-1]
    assert isinstance(second, Completion)
    assert (second.finish_reason, second.usage, mock.cost_for(second.usage)) == ("length", Usage(prompt=7), 7)
    with pytest.raises(ProviderFailed, match="the mock script has no answer: it is used up"):
        await answer(mock)
    assert len(mock.requests) == 3


async def test_reasoning_and_content_come_in_pieces_with_pauses(autojump_clock: MockClock) -> None:
    mock = MockProvider([MockTurn(content="abcde", reasoning="xyz", chunk_chars=2, delay_ms=500)])
    started = trio.current_time()
    *deltas, completion = await answer(mock)
    assert deltas == [
        Delta(kind="reasoning", text="xy"),
        Delta(kind="reasoning", text="z"),
        Delta(kind="content", text="ab"),
        Delta(kind="content", text="cd"),
        Delta(kind="content", text="e"),
    ]
    assert trio.current_time() - started == pytest.approx(2.5)
    assert isinstance(completion, Completion)
    assert (completion.content, completion.reasoning, completion.usage) == (
        "abcde",
        "xyz",
        Usage(prompt=2, completion=3, reasoning=1),
    )


async def test_a_failure_comes_after_the_text_there_is(autojump_clock: MockClock) -> None:
    fail = MockFailure(status=503, message="busy", retry_after_s=2)
    mock = MockProvider([MockTurn(content="so far", fail=fail), MockTurn(fail=fail, delay_ms=1000)])
    heard: list[Delta | Completion] = []
    with pytest.raises(ProviderFailed, match="answered 503: busy") as failed:
        await listen(mock, "?", heard)
    assert heard == [Delta(kind="content", text="so far")]
    assert (failed.value.http_status, failed.value.retry_after_s, failed.value.transient) == (503, 2, True)
    started = trio.current_time()
    with pytest.raises(ProviderFailed):
        await answer(mock)
    assert trio.current_time() - started == pytest.approx(1)


async def test_when_keeps_loops_apart() -> None:
    mock = MockProvider([MockTurn(content="for a", when="alpha"), MockTurn(content="for b", when="beta"), "for all"])
    assert [(await answer(mock, text))[0] for text in ("beta", "beta", "alpha")] == [
        Delta(kind="content", text="for b"),
        Delta(kind="content", text="for all"),
        Delta(kind="content", text="for a"),
    ]
    with pytest.raises(ProviderFailed, match="used up"):
        await answer(mock, "alpha")
    with pytest.raises(ProviderFailed, match="none of the 1 turns left is for this request"):
        await answer(MockProvider([MockTurn(when="alpha")]), "beta")


async def test_leaving_early_ends_the_turn() -> None:
    mock = MockProvider([MockTurn(content="abc", chunk_chars=1), "next"])
    async with mock.generate(ask("?")) as items:
        assert await anext(items) == Delta(kind="content", text="a")
    assert (await answer(mock))[0] == Delta(kind="content", text="next")


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("no network here")


def from_file(path: Path | str) -> MockProvider:
    env = {"PLURNK_MOCK_SCRIPT": str(path)} if path else {}
    return provider(ProviderSettings(alias="m", provider="mock", model="m-1", env=env, http=_no_http))


async def test_the_script_is_read_from_a_file_when_it_is_first_wanted(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    mock = from_file(path)
    with pytest.raises(ProviderFailed, match="cannot be read: No such file"):
        await answer(mock)
    path.write_text(json.dumps(["one", {"content": "two", "chunk_chars": 1, "usage": {"prompt": 3}}]))
    assert provider.contract_version == CONTRACT_VERSION
    assert (await answer(mock))[-1] == Completion(
        content="one", usage=Usage(prompt=2, completion=1), model="m-1", raw={"mock": True}
    )
    assert len(await answer(mock)) == 4


@pytest.mark.parametrize(
    "script", ["{", "{}", "[1]", '[{"text":"x"}]', '[{"content":1}]', '[{"delay_ms":-1}]', '[{"chunk_chars":-1}]']
)
async def test_a_wrong_script_is_refused(tmp_path: Path, script: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(script)
    with pytest.raises(ProviderFailed, match="is wrong"):
        await answer(from_file(path))


async def test_two_first_requests_at_once_share_one_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('["one", "two"]')
    mock = from_file(path)
    texts: list[str] = []

    async def one() -> None:
        last = (await answer(mock))[-1]
        assert isinstance(last, Completion)
        texts.append(last.content)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert sorted(texts) == ["one", "two"]


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(Malformed, match="PLURNK_MOCK_SCRIPT"):
        from_file("")
