"""Packages of third parties, really installed: found by the same door as our own, refused when they clash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import pytest

from plurnk.errors import Conflict
from plurnk.plugins.api import ProviderSettings
from plurnk.plugins.discovery import EXECUTORS, MIMETYPES, PROVIDERS, SCHEMES, discover, load_preview_handler
from plurnk.plugins.registry import ProviderPlugins, load_executors, load_schemes, preview_types
from plurnk.workers.pool import open_workers
from plurnk.workers.tasks import MakePreview
from tests.support.home import Home
from tests.support.plugins import HANDLER_TYPES, install, install_handlers, make_importable
from tests.support.source import ROOT

SCHEME: Final = """
    from plurnk.plugins.api import Manifest

    class Scheme:
        handlers = {}

        def __init__(self, **manifest):
            self.manifest = Manifest(channels={}, default_channel=None, writable_by=frozenset(), **manifest)

    weather = Scheme(name="weather")
    stranger = Scheme(name="climate")
    old = Scheme(name="old", contract_version=0)
"""

PROVIDER: Final = """
    class Factory:
        uses_http = False

        def __init__(self, contract_version):
            self.contract_version = contract_version

        def __call__(self, settings):
            return f"a provider of {settings.model}"

    oracle = Factory(1)
    old = Factory(0)
"""


EXECUTOR: Final = """
    class Runtime:
        def __init__(self, name, contract_version=1):
            self.name = name
            self.contract_version = contract_version

        def program(self, path):
            return None

        def argv(self, program, command):
            return (program, "-c", command)

    perl = Runtime("perl")
    stranger = Runtime("pearl")
    old = Runtime("old", 0)
"""


@pytest.mark.spec("7.4-discovery", "4.2-runtimes")
def test_a_runtime_of_a_third_party_is_found_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "perl_runtime", {EXECUTORS: {"perl": "perl"}}, EXECUTOR)
    make_importable(tmp_path, monkeypatch)
    assert list(load_executors()) == ["bash", "node", "perl", "python", "sh"]


@pytest.mark.parametrize(
    ("point", "complaint"),
    [({"perl": "stranger"}, "says that it is 'pearl'"), ({"old": "old"}, "has contract version 0")],
)
def test_a_runtime_that_is_not_what_it_says_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: dict[str, str], complaint: str
) -> None:
    install(tmp_path, "perl_runtime", {EXECUTORS: point}, EXECUTOR)
    make_importable(tmp_path, monkeypatch)
    with pytest.raises(Conflict, match=complaint):
        load_executors()


@pytest.mark.spec("7.4-discovery")
def test_a_scheme_and_a_provider_of_a_third_party_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "weather_scheme", {SCHEMES: {"weather": "weather"}}, SCHEME)
    install(tmp_path, "oracle_provider", {PROVIDERS: {"oracle": "oracle"}}, PROVIDER)
    before, providers = list(load_schemes()), ProviderPlugins().names()
    make_importable(tmp_path, monkeypatch)
    schemes = load_schemes()
    assert list(schemes) == sorted([*before, "weather"])
    assert schemes["weather"].manifest.name == "weather"
    plugins = ProviderPlugins()
    assert plugins.names() == tuple(sorted([*providers, "oracle"]))
    settings = ProviderSettings(alias="o", provider="oracle", model="delphi", env={}, http=httpx.AsyncClient)
    assert plugins.factory("oracle")(settings) == "a provider of delphi"  # type: ignore[comparison-overlap]  # it is a text here


async def test_a_preview_handler_of_a_third_party_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = preview_types()
    assert before.isdisjoint(HANDLER_TYPES)
    install_handlers(tmp_path, monkeypatch)
    assert preview_types() == before | HANDLER_TYPES
    async with open_workers() as workers:
        task = MakePreview(mimetype="text/x-echo", content="inside", budget_chars=10, limit_s=30)
        assert await workers.ask(task) == "6 inside"


CLASHES: Final = {SCHEMES: "known", PROVIDERS: "openai", MIMETYPES: "text/x-twice"}


def _install_clash(folder: Path, group: str) -> tuple[str, str]:
    """Install what clashes with what there is, and return the names of both packages."""
    name = CLASHES[group]
    # Nothing is imported before the clash is found.
    install(folder, "rival", {group: {name: "plugin"}}, "raise AssertionError('imported')")
    if group != MIMETYPES:
        return "plurnk", "rival"
    install(folder, "another_rival", {group: {name: "plugin"}}, "raise AssertionError('imported')")
    return "another_rival", "rival"


@pytest.mark.spec("7.4-collision-stops")
@pytest.mark.parametrize("group", CLASHES)
def test_two_plugins_of_one_name_stop_the_daemon(group: str, tmp_path: Path) -> None:
    first, second = _install_clash(tmp_path / "installed", group)
    home = Home(tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path / 'installed'}")
    refused = home.plurnk("serve")
    assert refused.returncode == 1
    assert f"two packages offer the {group} plugin {CLASHES[group]!r}: {first} and {second}" in refused.stderr
    assert refused.stdout == ""
    assert not home.state.exists()


def _points(group: str, name: str) -> Mapping[str, Mapping[str, str]]:
    return {group: {name: name}}


@pytest.mark.spec("7.4-collision-stops")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stranger", "the plurnk.schemes plugin 'stranger' of bad_scheme says that it is 'climate'"),
        ("old", "the plurnk.schemes plugin 'old' of bad_scheme has contract version 0; this daemon speaks 1"),
    ],
)
def test_a_scheme_that_is_not_what_it_promises_stops_the_daemon(name: str, message: str, tmp_path: Path) -> None:
    install(tmp_path / "installed", "bad_scheme", _points(SCHEMES, name), SCHEME)
    home = Home(tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path / 'installed'}")
    refused = home.plurnk("serve")
    assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr


def test_a_provider_of_another_contract_is_refused_when_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "old_provider", _points(PROVIDERS, "old"), PROVIDER)
    make_importable(tmp_path, monkeypatch)
    with pytest.raises(Conflict) as raised:
        ProviderPlugins().factory("old")
    assert raised.value.detail == (
        "the plurnk.providers plugin 'old' of old_provider has contract version 0; this daemon speaks 1"
    )


@pytest.mark.parametrize(
    ("mimetype", "message"),
    [
        ("text/x-stranger", "the plurnk.mimetypes plugin 'text/x-stranger' of handlers says that it is 'text/x-other'"),
        (
            "text/x-old",
            "the plurnk.mimetypes plugin 'text/x-old' of handlers has contract version 0; this daemon speaks 1",
        ),
    ],
)
async def test_a_handler_that_is_not_what_it_promises_costs_its_previews(
    mimetype: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_handlers(tmp_path, monkeypatch)
    with pytest.raises(Conflict) as here:
        load_preview_handler(discover(MIMETYPES)[mimetype])
    async with open_workers() as workers:
        with pytest.raises(Conflict) as there:
            await workers.ask(MakePreview(mimetype=mimetype, content="", budget_chars=10, limit_s=30))
    assert (here.value.detail, there.value.detail) == (message, message)
