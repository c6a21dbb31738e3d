"""``./dev test`` exits 0 when every check passes, and not 0 when any fails; CI knows nothing else of the run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LOCKED = ("pyproject.toml", "requirements.txt", "requirements-dev.txt")
TOOLS = ("ruff", "flake8", "lint-imports", "mypy", "basedpyright", "python")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up, whose tools do nothing: ``X.fails`` lets X exit 1."""
    shutil.copy(TOP / "dev", tmp_path)
    held = hashlib.sha256()
    for name in LOCKED:
        shutil.copy(TOP / name, tmp_path)
        held.update((TOP / name).read_bytes())
    bin_ = tmp_path / ".venv" / "bin"
    bin_.mkdir(parents=True)
    (tmp_path / ".venv" / "stamp").write_text(f"{held.hexdigest()} test\n", "ascii")
    for name in TOOLS:
        tool = bin_ / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*"\n[ ! -e "${{0%/*}}/{name}.fails" ]\n', "ascii")
        tool.chmod(0o755)
    return tmp_path


def checked(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "dev", "test", "tests/unit", "-x"], capture_output=True, text=True, timeout=60, check=False
    )


def test_when_all_checks_pass_it_exits_0(checkout: Path) -> None:
    done = checked(checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tests/unit -x\n" in done.stdout
    assert "== all passed" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_when_a_check_fails_it_does_not_exit_0(checkout: Path, tool: str) -> None:
    (checkout / ".venv" / "bin" / f"{tool}.fails").touch()
    done = checked(checkout)
    assert done.returncode == 1
    assert "failed; " in done.stdout
    assert "all passed" not in done.stdout
