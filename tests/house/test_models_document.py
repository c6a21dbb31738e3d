"""``docs/models.md``: what it says to write does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plurnk.config import load_settings
from plurnk.engine.choosing import choose_model
from plurnk.engine.models import open_models
from plurnk.plugins.registry import ProviderPlugins
from plurnk.providers import anthropic, google, ollama
from tests.support import source

PAGE = (source.ROOT / "docs" / "models.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_makes_the_model_that_it_names(example: str, tmp_path: Path) -> None:
    (tmp_path / "plurnk").mkdir()
    (tmp_path / "plurnk" / "plurnk.env").write_text(example.replace("<key>", "k3y"))
    settings = load_settings({"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}, {}, cwd=tmp_path, config=None)
    assert settings.warnings == ()
    choice = await choose_model(settings.env)
    async with open_models(choice.env, ProviderPlugins(), choice.why) as models:
        assert models.active != "demo"
        for alias in models.aliases:
            assert (await models.provider(alias)).model == models.resolve(alias).model


def test_the_table_of_contexts_is_true() -> None:
    sizes = {
        "anthropic": anthropic.CONTEXT_TOKENS,
        "google": google.CONTEXT_TOKENS,
        "ollama": ollama.DEFAULT_CONTEXT_TOKENS,
    }
    found = re.findall(r"^\| `(\w+)` \|.*\| ([0-9,]+) \|$", PAGE, re.MULTILINE)
    assert {name: int(size.replace(",", "")) for name, size in found} == sizes
