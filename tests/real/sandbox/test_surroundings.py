"""What is found of a machine: a home, its tools, what must stay hidden."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox import surroundings
from sandbox.policy import Policy
from sandbox.surroundings import Bound, Hidden, Surroundings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path.resolve() / "home"
    home.mkdir()
    return home


def _look(home: Path, env: Mapping[str, str] | None = None, **more: Any) -> Surroundings:
    root = more.pop("root", str(home.parent))
    return surroundings.look(Policy(profile="workspace", root=root, **more), {"HOME": str(home), **(env or {})})


def _make(path: Path, text: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def _tools(found: Surroundings, home: Path) -> list[str]:
    return [os.path.relpath(tool.path, home) for tool in found.tools if tool.path.startswith(f"{home}/")]


def test_of_a_home_only_tools_are_found(home: Path) -> None:
    for name in (".ssh/id", ".cargo/bin/cargo", ".cargo/credentials.toml", ".config/git/config", ".pyenv/x", ".netrc"):
        _make(home / name)
    (home / "elsewhere").mkdir()
    (home / ".nvm").symlink_to("elsewhere")
    (home / ".rustup").symlink_to("gone")
    found = _look(home, root="/nonexistent")
    assert found.home == str(home)
    assert str(home) in found.covered
    assert _tools(found, home) == [".cargo/bin", ".config/git/config", ".nvm", ".pyenv"]
    assert Bound(path=f"{home}/.nvm", source=f"{home}/elsewhere") in found.tools
    assert found.missing == ("/nonexistent",)


def test_what_path_and_virtual_env_name_is_found_with_what_they_need(home: Path) -> None:
    for name in ("node-1/bin/node", "node-1/lib/x", "plain/x", "py/bin/python", "py/lib/x", "venv/lib/x", ".ssh/bin/x"):
        _make(home / name)
    _make(home / "venv" / "pyvenv.cfg", f"home = {home}/py/bin\nversion = 3\n")
    named = [
        home / "node-1" / "bin",
        home / "plain",
        home,
        home / ".ssh" / "bin",
        home / "gone",
        home.parent,
        "relative",
    ]
    env = {"PATH": ":".join(map(str, [*named, "/", "/usr/bin"])), "VIRTUAL_ENV": str(home / "venv")}
    assert _tools(_look(home, env, root="/usr"), home) == ["node-1", "plain", "py", "venv"]


def test_a_directory_that_brings_more_than_tools_is_not_bound(home: Path) -> None:
    _make(home / ".local" / "bin" / "x")
    _make(home / ".local" / "lib" / "x")
    _make(home / ".local" / "share" / "keyrings" / "x")
    env = {"PATH": f"{home}/.local/bin:{home}/.local:{home}/.config"}
    _make(home / ".config" / "x")
    assert _tools(_look(home, env, root="/usr"), home) == [".local/bin", ".local/lib"]


def test_what_is_in_the_project_is_there_anyway_and_is_not_believed(home: Path) -> None:
    _make(home / "project" / ".venv" / "pyvenv.cfg", f"home = {home}/private/bin\n")
    _make(home / "private" / "bin" / "x")
    env = {"PATH": f"{home}/project/.venv", "VIRTUAL_ENV": f"{home}/project/.venv"}
    assert _tools(_look(home, env, root=str(home / "project")), home) == []


@pytest.mark.spec("4.6-secrets-hidden")
def test_secrets_are_named_where_the_home_is_the_project(home: Path) -> None:
    _make(home / ".ssh" / "id")
    _make(home / ".netrc")
    expected = {Hidden(path=f"{home}/.ssh", kind="directory"), Hidden(path=f"{home}/.netrc", kind="file")}
    assert expected <= set(_look(home, root=str(home)).hidden)
    assert expected <= set(_look(home).hidden)
    assert not expected & set(_look(home, root="/usr").hidden)
    assert expected & set(_look(home, root=str(home / ".ssh")).hidden) == set()


def test_what_is_hidden_is_found_behind_links_and_only_if_it_is_there(home: Path) -> None:
    token = _make(home.parent / "state" / "token")
    (home.parent / "link").symlink_to("state")
    found = _look(home, root="/usr", hidden=(f"{home.parent}/link/token", f"{home.parent}/gone"))
    assert Hidden(path=token, kind="file") in found.hidden
    assert not [hidden for hidden in found.hidden if "gone" in hidden.path]


def test_what_is_granted_must_be_there_under_its_real_name(home: Path) -> None:
    (home.parent / "link").symlink_to("home")
    found = _look(home, writable=(str(home), f"{home.parent}/link"), tmp=f"{home.parent}/gone")
    assert found.missing == (f"{home.parent}/link", f"{home.parent}/gone")


@pytest.mark.parametrize("name", ["", "/", "relative", "/nonexistent", "/usr", "/usr/bin", "/etc", "/proc/self"])
def test_a_home_that_nothing_would_work_without_is_none(name: str) -> None:
    found = surroundings.look(Policy(profile="workspace", root="/usr"), {"HOME": name})
    assert name not in found.covered
    assert found.home != name


def test_the_real_home_is_covered_whatever_the_environment_says(home: Path) -> None:
    own = os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111 – the text of it
    assert {own, str(home)} <= set(_look(home).covered)


def test_where_names_are_resolved_is_kept_for_the_network_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = home.parent / "resolv.conf"
    link.symlink_to(resolver := _make(home / "of-the-machine" / "resolv.conf"))
    monkeypatch.setattr(surroundings, "_RESOLVER", str(link))
    bound = Bound(path=resolver, source=resolver)
    assert bound in _look(home, root="/usr", network=True).tools
    assert bound not in _look(home, root="/usr").tools
