"""What is installed elsewhere has all that a checkout has."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from plurnk import resources
from tests.support.source import ROOT

_PRINT = """
import importlib.metadata, sys, plurnk.resources as r
print(r.__file__)
print([name for name, _ in r.migrations()], len(r.persona()), len(r.language_card()))
(plurnk,) = importlib.metadata.distributions(name="plurnk", path=[sys.argv[1]])
print(sorted(f"{point.group}:{point.name}" for point in plurnk.entry_points if point.load()))
"""


def test_a_wheel_carries_migrations_persona_card_and_plugins(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)

    python = [sys.executable, "-P", "-c", _PRINT, str(installed)]
    done = subprocess.run(
        python, cwd=tmp_path, env={"PYTHONPATH": str(installed)}, check=True, capture_output=True, text=True
    )
    where, data, plugins = done.stdout.splitlines()
    assert where == str(installed / "plurnk" / "resources.py")
    names = [name for name, _ in resources.migrations()]
    assert data == f"{names} {len(resources.persona())} {len(resources.language_card())}"
    assert plugins == repr(sorted(f"{group}:{name}" for group, points in _offered().items() for name in points))


def _offered() -> dict[str, dict[str, str]]:
    """The entry points in pyproject.toml, by group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return {"console_scripts": project["scripts"], **project["entry-points"]}


def test_a_checkout_has_them_too() -> None:
    names = [name for name, _ in resources.migrations()]
    assert names[0].startswith("001_")
    assert names == sorted(names)
    assert resources.persona() == (ROOT / "persona.md").read_text("utf-8")
    assert resources.language_card().startswith("# ")
