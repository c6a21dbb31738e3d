"""A daemon that was started before a model was configured: what is said of that (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plurnk.cli.chosen import otherwise
from plurnk.config import load_settings
from plurnk.wire.answers import Alias, ProvidersListResult
from tests.support.home import opened_home

KEYS = {"OPENAI_API_KEY": "a"}
MINE = {"PLURNK_MODEL_mine": "openai/big", "PLURNK_MODEL": "mine"}
Said = Callable[..., str | None]


@pytest.fixture
def said(tmp_path: Path) -> Said:
    """What is said where a daemon has only the demo and ``mine``, which is active if it is asked for."""

    def say(env: dict[str, str], *, active: str = "demo", wanted: str | None = None) -> str | None:
        settings = load_settings({"HOME": str(tmp_path), **env}, {}, cwd=tmp_path, config=None)
        aliases = (
            Alias(alias="demo", provider="demo", model="demo", active=active == "demo"),
            Alias(alias="mine", provider="openai", model="big", active=active == "mine"),
        )
        return otherwise(settings, ProvidersListResult(aliases=aliases), wanted)

    return say


@pytest.mark.parametrize(
    ("env", "active", "wanted"),
    [
        ({}, "mine", None),  # nothing is configured here, as where the daemon is a service
        ({"OPENAI_API_KEY": "a", "GEMINI_API_KEY": "b"}, "mine", None),
        (MINE, "mine", None),
        (MINE, "demo", "mine"),
        ({"PLURNK_MODEL": "nobody"}, "mine", None),
        ({"PLURNK_MODEL_mine": "big"}, "mine", None),  # cannot be read
    ],
)
def test_nothing_is_said_where_nothing_else_is_meant(
    said: Said, env: dict[str, str], active: str, wanted: str | None
) -> None:
    assert said(env, active=active, wanted=wanted) is None


@pytest.mark.parametrize(
    ("env", "active", "wanted", "meant"),
    [
        (KEYS, "demo", None, "gpt-5.6-terra by openai, as OPENAI_API_KEY is the only key that is set; "),
        (MINE, "demo", None, "big by openai; "),
        (MINE | {"PLURNK_MODEL_mine": "openai/other"}, "mine", None, "other by openai; "),
        ({"PLURNK_MODEL": "demo"}, "mine", None, "demo by demo; "),
        ({"PLURNK_MODEL_new": "openai/x"}, "mine", "new", "x by openai; "),
    ],
)
def test_another_model_than_the_daemons_is_named(
    said: Said, env: dict[str, str], active: str, wanted: str | None, meant: str
) -> None:
    told = said(env, active=active, wanted=wanted)
    assert told is not None
    assert told.startswith(f"the daemon was started with other settings than hold here: {meant}")


def test_a_key_that_is_set_while_the_daemon_runs_is_missed_by_nobody(tmp_path: Path) -> None:
    with opened_home(tmp_path) as home:
        assert "! the daemon was" not in home.plurnk("run", "x").stderr
        home.env = {**home.env, **KEYS}
        told = f"gpt-5.6-terra by openai, as OPENAI_API_KEY is the only key that is set; kill {home.daemon()} ends it"
        assert told in home.plurnk("run", "x").stderr
        assert f"! daemon        the daemon was started with other settings than hold here: {told}" in (
            home.plurnk("doctor").stdout
        )
