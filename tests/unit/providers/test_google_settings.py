"""The settings of the google provider (SPEC 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, ProviderSettings, Usage
from plurnk.providers.google import GoogleProvider, provider

if TYPE_CHECKING:
    import httpx

DEFAULT = "https://generativelanguage.googleapis.com/v1beta"


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("a factory does no I/O")


def make(model: str = "gemini-x", **env: str) -> GoogleProvider:
    return provider(ProviderSettings(alias="a", provider="google", model=model, env=env, http=_no_http))


def test_defaults() -> None:
    made = make(GEMINI_API_KEY="k1")
    assert provider.contract_version == CONTRACT_VERSION
    assert (made.url, made.key) == (f"{DEFAULT}/models/gemini-x:streamGenerateContent?alt=sse", "k1")
    assert (made.model, made.context_size, made.temperature) == ("gemini-x", 1_048_576, None)
    assert (made.count_tokens("12345"), made.cost_for(Usage(prompt=5))) == (2, 0)


def test_what_an_alias_sets_wins() -> None:
    made = make(
        GEMINI_API_KEY="k1",
        PLURNK_MODEL_a__BASE_URL="http://[::1]:8080/v1beta/",
        PLURNK_MODEL_a__API_KEY_ENV="OTHER_KEY",
        PLURNK_MODEL_a__CONTEXT="32000",
        PLURNK_MODEL_a__TEMPERATURE="0.7",
        PLURNK_MODEL_a__PRICES="1/0.25/10",
        OTHER_KEY=" k2\n",
    )
    assert (made.url, made.key) == ("http://[::1]:8080/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "k2")
    assert (made.context_size, made.temperature) == (32_000, 0.7)
    assert made.cost_for(Usage(prompt=10, cached=4, completion=1)) == 6 * 1_000_000 + 4 * 250_000 + 10_000_000


@pytest.mark.parametrize(
    ("model", "in_path"),
    [
        ("gemini-2.5-pro", "gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("../../x?y#z", "..%2F..%2Fx%3Fy%23z"),
        ("a b:ü%", "a%20b%3A%C3%BC%25"),
    ],
)
def test_a_model_is_one_piece_of_the_path(model: str, in_path: str) -> None:
    made = make(model, GEMINI_API_KEY="k")
    assert made.url == f"{DEFAULT}/models/{in_path}:streamGenerateContent?alt=sse"
    assert made.model == model


@pytest.mark.spec("3.8-key-never-leaks")
def test_the_general_key_goes_to_no_server_that_only_an_alias_names() -> None:
    assert make(GEMINI_API_KEY="k1", PLURNK_MODEL_a__BASE_URL="https://elsewhere.example/v1beta").key == ""


@pytest.mark.spec("3.8-key-never-leaks")
def test_neither_the_url_nor_a_traceback_shows_the_key() -> None:
    made = make(GEMINI_API_KEY="s3cret")
    assert "s3cret" not in repr(made)
    assert "s3cret" not in made.url


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({}, "GEMINI_API_KEY"),
        ({"GEMINI_API_KEY": "s3crét"}, "GEMINI_API_KEY"),
        ({"PLURNK_MODEL_a__API_KEY_ENV": "OTHER_KEY", "GEMINI_API_KEY": "k"}, "OTHER_KEY"),
        ({"PLURNK_MODEL_a__BASE_URL": "nowhere"}, "PLURNK_MODEL_a__BASE_URL"),
        ({"GEMINI_API_KEY": "k", "PLURNK_MODEL_a__CONTEXT": "0"}, "PLURNK_MODEL_a__CONTEXT"),
        ({"GEMINI_API_KEY": "k", "PLURNK_MODEL_a__TEMPERATURE": "hot"}, "PLURNK_MODEL_a__TEMPERATURE"),
        ({"GEMINI_API_KEY": "k", "PLURNK_MODEL_a__PRICES": "cheap"}, "PLURNK_MODEL_a__PRICES"),
    ],
)
def test_a_wrong_setting_is_named_and_no_key_is_shown(env: dict[str, str], variable: str) -> None:
    with pytest.raises(Malformed) as refused:
        make(**env)
    assert variable in refused.value.detail
    assert "s3cr" not in refused.value.detail
