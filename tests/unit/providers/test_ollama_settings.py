"""The settings of the ollama provider (SPEC 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, ProviderSettings, Usage
from plurnk.providers.ollama import DEFAULT_CONTEXT_TOKENS, OllamaProvider, provider, server_url

if TYPE_CHECKING:
    import httpx


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("a factory does no I/O")


def make(**env: str) -> OllamaProvider:
    return provider(ProviderSettings(alias="a", provider="ollama", model="qwen3:8b", env=env, http=_no_http))


def test_defaults() -> None:
    made = make()
    assert provider.contract_version == CONTRACT_VERSION
    assert (made.url, made.key) == ("http://127.0.0.1:11434/api/chat", "")
    assert (made.model, made.context_size, made.temperature) == ("qwen3:8b", DEFAULT_CONTEXT_TOKENS, None)
    assert (made.count_tokens("12345"), made.cost_for(Usage(prompt=5))) == (2, 0)


def test_what_an_alias_sets() -> None:
    made = make(
        OLLAMA_HOST="elsewhere",
        OLLAMA_API_KEY="k1",
        PLURNK_MODEL_a__BASE_URL="https://own.example/ollama/",
        PLURNK_MODEL_a__API_KEY_ENV="OTHER_KEY",
        PLURNK_MODEL_a__CONTEXT="32768",
        PLURNK_MODEL_a__TEMPERATURE="0.7",
        PLURNK_MODEL_a__PRICES="1/1/2",
        OTHER_KEY="k2",
    )
    assert (made.url, made.key) == ("https://own.example/ollama/api/chat", "k2")
    assert (made.context_size, made.temperature, made.cost_for(Usage(completion=1))) == (32768, 0.7, 2_000_000)


@pytest.mark.spec("3.8-key-never-leaks")
def test_a_key_is_sent_only_when_an_alias_names_it() -> None:
    assert make(OLLAMA_API_KEY="k1", OPENAI_API_KEY="k2").key == ""
    assert "s3cret" not in repr(make(PLURNK_MODEL_a__API_KEY_ENV="K", K="s3cret"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        (" \t'\"", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:56", "http://1.2.3.4:56"),
        (":56", "http://127.0.0.1:56"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:56", "http://127.0.0.1:56"),
        ("box.lan", "http://box.lan:11434"),
        ('"box.lan:56/"', "http://box.lan:56"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:56", "http://[::1]:56"),
        ("::", "http://[::1]:11434"),
        ("http://box.lan", "http://box.lan:80"),
        ("https://box.example", "https://box.example:443"),
        ("http://box.lan:56/under/", "http://box.lan:56/under"),
    ],
)
def test_a_host_as_ollama_spells_it(given: str, url: str) -> None:
    assert server_url(given) == url
    assert make(OLLAMA_HOST=given).url == f"{url}/api/chat"


@pytest.mark.parametrize("given", ["a b", "x:99999", "x:0", "x:port", "ftp://x", "http://me:s3cret@x", "x/?a=b", "ü"])
def test_a_host_that_is_none(given: str) -> None:
    with pytest.raises(Malformed, match="OLLAMA_HOST") as refused:
        make(OLLAMA_HOST=given)
    assert "s3cret" not in refused.value.detail


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({"PLURNK_MODEL_a__BASE_URL": "nowhere"}, "PLURNK_MODEL_a__BASE_URL"),
        ({"PLURNK_MODEL_a__API_KEY_ENV": "K"}, "K is not set"),
        ({"PLURNK_MODEL_a__CONTEXT": "0"}, "PLURNK_MODEL_a__CONTEXT"),
        ({"PLURNK_MODEL_a__PRICES": "0"}, "PLURNK_MODEL_a__PRICES"),
    ],
)
def test_a_wrong_setting_is_named(env: dict[str, str], variable: str) -> None:
    with pytest.raises(Malformed) as refused:
        make(**env)
    assert variable in refused.value.detail
