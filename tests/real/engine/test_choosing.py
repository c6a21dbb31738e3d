"""Which model answers when ``PLURNK_MODEL`` does not say, with real servers to be found (SPEC 3.8)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from plurnk.engine import choosing
from plurnk.engine.choosing import DEFAULT_MODELS, choose_model
from plurnk.engine.models import has_alias, open_models
from plurnk.errors import Malformed
from plurnk.plugins.registry import ProviderPlugins
from tests.support.daemons import plain_client, running, settings_in
from tests.support.home import opened_home
from tests.support.llm_server import Answer, LLMServer, Wire, open_llm_server
from tests.support.wires.ollama import OllamaWire
from tests.support.wires.openai import OpenAIWire

NOBODY = {"OLLAMA_HOST": "127.0.0.1:1"}


async def chosen(**env: str) -> tuple[str, str]:
    """What is active, as ``provider/model``, and why."""
    choice = await choose_model(NOBODY | env)
    async with open_models(choice.env, ProviderPlugins(), choice.why) as models:
        alias = models.resolve(None)
        assert models.why == choice.why
        assert has_alias(choice.env, None)
        await models.provider(None)  # It can be made.
        return f"{alias.provider}/{alias.model}", choice.why


async def test_what_is_said_is_done_and_nobody_is_asked() -> None:
    async with open_llm_server(OllamaWire(), []) as server:
        env = {"PLURNK_MODEL": "demo", "OPENAI_API_KEY": "k", "OLLAMA_HOST": server.base_url}
        choice = await choose_model(env)
        assert (choice.env, choice.why) == (env, "")
        assert server.requests == []


async def test_one_alias_is_meant() -> None:
    only = {"PLURNK_MODEL_mine": "openai/m", "PLURNK_MODEL_mine__CONTEXT": "9000", "OPENAI_API_KEY": "k"}
    assert await chosen(**only) == ("openai/m", "it is the only one that is configured")


async def test_of_several_aliases_none_is_meant() -> None:
    several = {f"PLURNK_MODEL_{name}": "openai/m" for name in "abc"}
    assert await chosen(**several, OPENAI_API_KEY="k") == (
        "demo/demo",
        "a, b and c are configured and none of them is chosen",
    )


async def test_a_wrong_alias_is_told() -> None:
    with pytest.raises(Malformed, match="PLURNK_MODEL_a must be"):
        await choose_model({"PLURNK_MODEL_a": "m"})


@pytest.mark.parametrize("key", DEFAULT_MODELS)
async def test_one_key_is_enough(key: str) -> None:
    others = dict.fromkeys(DEFAULT_MODELS, " ")
    assert await chosen(**others | {key: "k"}) == ("/".join(DEFAULT_MODELS[key]), f"{key} is the only key that is set")


async def test_of_several_keys_none_is_meant() -> None:
    assert await chosen(OPENAI_API_KEY="k", GEMINI_API_KEY="k") == (
        "demo/demo",
        "OPENAI_API_KEY and GEMINI_API_KEY are set and nothing says which of them to use",
    )


async def test_a_key_of_a_server_that_may_cost_anything() -> None:
    name, why = await chosen(OPENAI_API_KEY="k", OPENAI_BASE_URL="https://models.example/v1")
    assert (name, "OPENAI_BASE_URL" in why) == ("demo/demo", True)


@pytest.mark.spec("3.8-demo-needs-nothing")
async def test_without_anything_it_is_the_demo() -> None:
    assert await chosen() == ("demo/demo", "no key is set and no server on this machine answers")


async def test_a_server_on_this_machine() -> None:
    async with open_llm_server(OllamaWire(), []) as server:
        here = server.base_url.removeprefix("http://")
        name, why = await chosen(OLLAMA_HOST=here)
        assert (name, why) == ("ollama/scripted", f"{server.base_url} answers and has it")
        assert [(request.method, request.path) for request in server.requests] == [("GET", "/api/tags")]


async def test_a_server_that_speaks_chat_completions_gets_the_key_that_is_its_own() -> None:
    async with open_llm_server(OpenAIWire(), []) as server, open_llm_server(OllamaWire(), []) as other:
        for key in ("", "k3y"):
            name, why = await chosen(OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY=key, OLLAMA_HOST=other.base_url)
            assert (name, why) == ("openai/scripted", f"{server.base_url} answers and has it")
        assert [request.path for request in server.requests] == ["/v1/models", "/v1/models"]
        assert [request.headers.get("authorization") for request in server.requests] == [None, "Bearer k3y"]
        assert {request.headers.get("authorization") for request in other.requests} == {None}


@pytest.mark.spec("3.8-key-never-leaks")
async def test_a_password_in_an_address_is_not_told() -> None:
    async with open_llm_server(OpenAIWire(), []) as server:
        name, why = await chosen(OPENAI_BASE_URL=server.base_url.replace("://", "://me:s3cret@"))
        assert (name, why) == ("openai/scripted", f"{server.base_url} answers and has it")


@pytest.mark.spec("3.8-key-never-leaks")
async def test_a_key_that_is_taken_for_an_alias_is_not_told() -> None:
    with pytest.raises(Malformed, match="PLURNK_MODEL_API_KEY must be") as failed:
        await choose_model({"PLURNK_MODEL_API_KEY": "sk-1"})
    assert "sk-1" not in failed.value.detail


async def test_a_key_is_taken_before_a_server() -> None:
    async with open_llm_server(OllamaWire(), []) as server:
        name, _ = await chosen(OLLAMA_HOST=server.base_url, ANTHROPIC_API_KEY="k")
        assert name.startswith("anthropic/")
        assert server.requests == []


async def test_a_model_that_only_embeds_is_none() -> None:
    class Wire(OllamaWire):
        def models(self) -> Any:
            return {"models": [{"name": "nomic-embed-text"}, {"name": ""}, {"name": "a\nb"}, {"name": "qwen3:8b"}]}

    async with open_llm_server(Wire(), []) as server:
        assert (await chosen(OLLAMA_HOST=server.base_url))[0] == "ollama/qwen3:8b"


@asynccontextmanager
async def open_stranger(said: bytes | None) -> AsyncIterator[str]:
    """Somebody who says ``said`` to whoever comes, None: takes no notice of them; yields the address."""

    async def say(stream: trio.SocketStream) -> None:
        if said is None:
            await trio.sleep_forever()
        with suppress(trio.BrokenResourceError):  # The one who came may have heard enough.
            await stream.send_all(said or b"")
            await stream.send_eof()
            while await stream.receive_some():
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, say, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel(reason="the test ends")


HTTP = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
        HTTP + b"<h1>hello</h1>",
        HTTP + b"[]",
        HTTP + b'{"models":[]}',
        HTTP + b'{"models":[{"name":7},{}]}',
        HTTP + b'{"models":{"name":"x"}}',
        HTTP + b'{"models":' + b"[" * 99_999,
        HTTP + b'{"models":[{"name":"' + b"x" * 500_000 + b'"}]}',
    ],
)
async def test_whoever_else_listens_there_is_no_model(said: bytes) -> None:
    async with open_stranger(said) as address:
        assert (await chosen(OLLAMA_HOST=address))[0] == "demo/demo"


async def test_nobody_waits_for_one_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "PROBE_S", 0.01)
    async with open_stranger(None) as address:
        with trio.fail_after(10):
            assert (await chosen(OLLAMA_HOST=address, OPENAI_BASE_URL=f"http://{address}"))[0] == "demo/demo"


@pytest.mark.parametrize("name", ["OLLAMA_HOST", "OPENAI_BASE_URL"])
async def test_what_is_no_address_is_not_asked(name: str) -> None:
    assert (await chosen(**{name: "http://a b"}))[0] == "demo/demo"


async def test_a_daemon_says_what_was_chosen_and_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with open_llm_server(OllamaWire(), []) as server:
        settings = settings_in(tmp_path, OLLAMA_HOST=server.base_url)
        async with running(settings) as url, plain_client(url) as client:
            listed = await client.call("providers.list")
    why = f"{server.base_url} answers and has it"
    assert listed["why"] == why
    assert [alias["alias"] for alias in listed["aliases"] if alias["active"]] == ["ollama"]
    assert f"the model is ollama: scripted by ollama, as {why}" in caplog.text


async def test_commands_say_it_too(tmp_path: Path) -> None:
    wire: Wire = OllamaWire()
    async with open_llm_server(wire, [Answer("<<SEND[200]:hello to you:SEND")]) as server:
        with opened_home(tmp_path, OLLAMA_HOST=server.base_url) as home:
            done = await trio.to_thread.run_sync(home.plurnk, "run", "hello")
            assert done.stdout == "hello to you\n"
            sentence = f"as {server.base_url} answers and has it; PLURNK_MODEL chooses another"
            assert f"model ollama: scripted by ollama, {sentence} (see docs/models.md)" in done.stderr.splitlines()
            found = await trio.to_thread.run_sync(home.plurnk, "doctor")
            assert re.search(rf"model +ollama: scripted by ollama, {re.escape(sentence)}\n", found.stdout)
    assert _posts(server) == ["/api/chat"]


def _posts(server: LLMServer) -> list[str]:
    return [request.path for request in server.requests if request.method == "POST"]
