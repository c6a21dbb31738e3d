"""The settings of the openai provider (SPEC 3.8)."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, ProviderSettings, Usage
from plurnk.providers.openai import OpenAIProvider, provider

if TYPE_CHECKING:
    import httpx


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("a factory does no I/O")


def make(**env: str) -> OpenAIProvider:
    return provider(ProviderSettings(alias="a", provider="openai", model="org/m", env=env, http=_no_http))


def test_defaults() -> None:
    made = make(OPENAI_API_KEY="k1")
    assert provider.contract_version == CONTRACT_VERSION
    assert (made.url, made.key) == ("https://api.openai.com/v1/chat/completions", "k1")
    assert (made.model, made.context_size, made.temperature) == ("org/m", None, None)
    assert (made.count_tokens("12345"), made.cost_for(Usage(prompt=5))) == (2, 0)


def test_what_an_alias_sets_wins() -> None:
    made = make(
        OPENAI_API_KEY="k1",
        OPENAI_BASE_URL="https://one.example/v1",
        PLURNK_MODEL_a__BASE_URL="http://[::1]:8080/api/",
        PLURNK_MODEL_a__API_KEY_ENV="OTHER_KEY",
        PLURNK_MODEL_a__CONTEXT="128000",
        PLURNK_MODEL_a__TEMPERATURE="0.7",
        OTHER_KEY=" k2\n",
    )
    assert (made.url, made.key) == ("http://[::1]:8080/api/chat/completions", "k2")
    assert (made.context_size, made.temperature) == (128000, 0.7)


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert make(OPENAI_BASE_URL="http://127.0.0.1:1/v1").key == ""
    assert make(OPENAI_BASE_URL="http://127.0.0.1:1/v1", OPENAI_API_KEY="k1").key == "k1"


@pytest.mark.spec("3.8-key-never-leaks")
def test_the_general_key_goes_to_no_server_that_only_an_alias_names() -> None:
    assert make(OPENAI_API_KEY="k1", PLURNK_MODEL_a__BASE_URL="https://elsewhere.example/v1").key == ""


@pytest.mark.spec("3.8-key-never-leaks")
def test_a_provider_shown_in_a_traceback_does_not_show_its_key() -> None:
    assert "s3cret" not in repr(make(OPENAI_API_KEY="s3cret"))


@pytest.mark.parametrize(
    ("env", "variable"),
    [
        ({}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": " "}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "s3cret\nx"}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "s3crét"}, "OPENAI_API_KEY"),
        ({"PLURNK_MODEL_a__API_KEY_ENV": "OTHER_KEY", "OPENAI_API_KEY": "k"}, "OTHER_KEY"),
        ({"OPENAI_BASE_URL": "api.example/v1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "file:///etc"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://[::1/v1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://x:99999/v1"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://x/v1?a=b"}, "OPENAI_BASE_URL"),
        ({"OPENAI_BASE_URL": "http://x y/v1"}, "OPENAI_BASE_URL"),
        ({"PLURNK_MODEL_a__BASE_URL": "nowhere"}, "PLURNK_MODEL_a__BASE_URL"),
        ({"OPENAI_API_KEY": "k", "PLURNK_MODEL_a__CONTEXT": "0"}, "PLURNK_MODEL_a__CONTEXT"),
        ({"OPENAI_API_KEY": "k", "PLURNK_MODEL_a__CONTEXT": "8k"}, "PLURNK_MODEL_a__CONTEXT"),
        ({"OPENAI_API_KEY": "k", "PLURNK_MODEL_a__TEMPERATURE": "hot"}, "PLURNK_MODEL_a__TEMPERATURE"),
        ({"OPENAI_API_KEY": "k", "PLURNK_MODEL_a__TEMPERATURE": "nan"}, "PLURNK_MODEL_a__TEMPERATURE"),
    ],
)
def test_a_wrong_setting_is_named_and_no_key_is_shown(env: dict[str, str], variable: str) -> None:
    with pytest.raises(Malformed) as refused:
        make(**env)
    assert variable in refused.value.detail
    assert "s3cr" not in refused.value.detail


def test_httpx_is_not_imported_before_a_model_is_asked() -> None:
    code = (
        "import plurnk.providers.openai, plurnk.providers.mock, plurnk.providers.demo, sys;"
        "sys.exit('httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
