"""The settings of the anthropic provider (SPEC 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, ProviderSettings, Usage
from plurnk.providers.anthropic import AnthropicProvider, provider

if TYPE_CHECKING:
    import httpx


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("a factory does no I/O")


def make(**env: str) -> AnthropicProvider:
    return provider(ProviderSettings(alias="a", provider="anthropic", model="claude-x", env=env, http=_no_http))


def test_defaults() -> None:
    made = make(ANTHROPIC_API_KEY="k1")
    assert provider.contract_version == CONTRACT_VERSION
    assert (made.url, made.key) == ("https://api.anthropic.com/v1/messages", "k1")
    assert (made.model, made.context_size, made.max_tokens, made.temperature) == ("claude-x", 200_000, 32_000, None)
    assert (made.count_tokens("12345"), made.cost_for(Usage(prompt=5))) == (2, 0)


def test_what_an_alias_sets_wins() -> None:
    made = make(
        ANTHROPIC_API_KEY="k1",
        ANTHROPIC_BASE_URL="https://one.example",
        PLURNK_MODEL_a__BASE_URL="http://[::1]:8080/api/",
        PLURNK_MODEL_a__API_KEY_ENV="OTHER_KEY",
        PLURNK_MODEL_a__CONTEXT="1000000",
        PLURNK_MODEL_a__MAX_TOKENS="64000",
        PLURNK_MODEL_a__TEMPERATURE="0.7",
        OTHER_KEY=" k2\n",
    )
    assert (made.url, made.key) == ("http://[::1]:8080/api/v1/messages", "k2")
    assert (made.context_size, made.max_tokens, made.temperature) == (1_000_000, 64_000, 0.7)


def test_a_url_may_have_the_version_or_not() -> None:
    for base in ("http://x.example", "http://x.example/", "http://x.example/v1", "http://x.example/v1/"):
        assert make(ANTHROPIC_API_KEY="k", ANTHROPIC_BASE_URL=base).url == "http://x.example/v1/messages"


def test_what_is_written_to_the_cache_has_its_own_price() -> None:
    made = make(ANTHROPIC_API_KEY="k", PLURNK_MODEL_a__PRICES="3/0.3/15/3.75")
    usage = Usage(prompt=100, cached=60, cache_written=30, completion=20)
    assert made.cost_for(usage) == 10 * 3_000_000 + 60 * 300_000 + 30 * 3_750_000 + 20 * 15_000_000


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert make(ANTHROPIC_BASE_URL="http://127.0.0.1:1").key == ""


@pytest.mark.spec("3.8-key-never-leaks")
def test_the_general_key_goes_to_no_server_that_only_an_alias_names() -> None:
    assert make(ANTHROPIC_API_KEY="k1", PLURNK_MODEL_a__BASE_URL="https://elsewhere.example").key == ""


@pytest.mark.spec("3.8-key-never-leaks")
def test_a_provider_shown_in_a_traceback_does_not_show_its_key() -> None:
    assert "s3cret" not in repr(make(ANTHROPIC_API_KEY="s3cret"))


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({}, "ANTHROPIC_API_KEY"),
        ({"ANTHROPIC_API_KEY": "s3crét"}, "ANTHROPIC_API_KEY"),
        ({"OPENAI_API_KEY": "k"}, "ANTHROPIC_API_KEY"),
        ({"PLURNK_MODEL_a__API_KEY_ENV": "OTHER_KEY", "ANTHROPIC_API_KEY": "k"}, "OTHER_KEY"),
        ({"ANTHROPIC_BASE_URL": "api.example"}, "ANTHROPIC_BASE_URL"),
        ({"PLURNK_MODEL_a__BASE_URL": "nowhere"}, "PLURNK_MODEL_a__BASE_URL"),
        ({"ANTHROPIC_API_KEY": "k", "PLURNK_MODEL_a__CONTEXT": "0"}, "PLURNK_MODEL_a__CONTEXT"),
        ({"ANTHROPIC_API_KEY": "k", "PLURNK_MODEL_a__MAX_TOKENS": "8k"}, "PLURNK_MODEL_a__MAX_TOKENS"),
        ({"ANTHROPIC_API_KEY": "k", "PLURNK_MODEL_a__TEMPERATURE": "hot"}, "PLURNK_MODEL_a__TEMPERATURE"),
        ({"ANTHROPIC_API_KEY": "k", "PLURNK_MODEL_a__PRICES": "cheap"}, "PLURNK_MODEL_a__PRICES"),
    ],
)
def test_a_wrong_setting_is_named_and_no_key_is_shown(env: dict[str, str], variable: str) -> None:
    with pytest.raises(Malformed) as refused:
        make(**env)
    assert variable in refused.value.detail
    assert "s3cr" not in refused.value.detail
