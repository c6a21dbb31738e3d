"""What providers over HTTP share of their settings: here the prices; the rest is held vendor by vendor."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plurnk.errors import Malformed
from plurnk.plugins.api import ProviderFactory, ProviderSettings, Usage
from plurnk.providers import anthropic, google, ollama, openai
from plurnk.providers.answers import MAX_TOKENS, counted
from plurnk.providers.settings import Prices, prices, shown_url

if TYPE_CHECKING:
    import httpx


def _no_http() -> httpx.AsyncClient:
    raise AssertionError("settings do no I/O")


def priced(given: str) -> Prices:
    env = {"PLURNK_MODEL_a__PRICES": given}
    return prices(ProviderSettings(alias="a", provider="x", model="m", env=env, http=_no_http))


def test_prices_are_exact_pico_usd_a_token() -> None:
    assert priced("3/0.3/15") == Prices(prompt=3_000_000, cached=300_000, completion=15_000_000, cache_write=3_000_000)
    assert priced("0.000001/0/1234.5/3.75") == Prices(
        prompt=1, cached=0, completion=1_234_500_000, cache_write=3_750_000
    )


def test_without_prices_nothing_is_said_to_cost() -> None:
    assert priced("").cost_for(Usage(prompt=10**6, completion=10**6)) == 0


def test_what_an_answer_costs() -> None:
    usage = Usage(prompt=1000, cached=600, completion=20, reasoning=5)  # Reasoning is part of the completion.
    assert priced("3/0.3/15").cost_for(usage) == 400 * 3_000_000 + 600 * 300_000 + 20 * 15_000_000
    assert priced("3/0.3/15/3.75").cost_for(replace(usage, cache_written=100)) == (
        300 * 3_000_000 + 600 * 300_000 + 100 * 3_750_000 + 20 * 15_000_000
    )


def test_more_cached_than_there_was_makes_nothing_cheaper() -> None:
    assert priced("3/0.3/15").cost_for(Usage(prompt=10, cached=20)) == 20 * 300_000


def test_the_dearest_answer_fits_the_books() -> None:
    most = Usage(prompt=MAX_TOKENS, completion=MAX_TOKENS, cached=0)
    assert priced("9999.999999/9999.999999/9999.999999").cost_for(most) < 2**63


@pytest.mark.parametrize(
    "given",
    ["3", "3/15", "3/0.3/15/1/1", "3/-1/15", "3/.3/15", "a/b/c", "3/0.3/1e3", "3/0.3/10000", "3/0.1234567/1", "/"],
)
def test_wrong_prices_are_named(given: str) -> None:
    with pytest.raises(Malformed, match="PLURNK_MODEL_a__PRICES"):
        priced(given)


@pytest.mark.parametrize(("told", "held"), [(None, 0), (-5, 0), (7, 7), (10**30, MAX_TOKENS)])
def test_counts_are_kept_within_what_can_be_kept(told: int | None, held: int) -> None:
    assert counted(told) == held


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize("env", [{}, {"gsk-1234": "not a\nkey"}])
def test_a_key_that_stands_where_its_variable_should_is_not_shown(env: dict[str, str]) -> None:
    env = env | {"PLURNK_MODEL_a__API_KEY_ENV": "gsk-1234"}
    with pytest.raises(Malformed, match="what PLURNK_MODEL_a__API_KEY_ENV names") as failed:
        openai.provider(ProviderSettings(alias="a", provider="openai", model="m", env=env, http=_no_http))
    assert "gsk" not in failed.value.detail


@pytest.mark.spec("3.8-key-never-leaks")
@pytest.mark.parametrize("factory", [anthropic.provider, google.provider, ollama.provider, openai.provider])
def test_a_password_in_an_address_is_not_shown(factory: ProviderFactory) -> None:
    env = {"PLURNK_MODEL_a__BASE_URL": "https://me:s3@cret@h.example/x"}
    made = factory(ProviderSettings(alias="a", provider="x", model="m", env=env, http=_no_http))
    assert "https://h.example/x" in repr(made)
    assert "cret" not in repr(made)


def test_an_address_without_a_password_is_shown_as_it_is() -> None:
    assert shown_url("https://h.example/@x") == "https://h.example/@x"
