"""Git repositories for tests, whatever git is told where the tests run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_CONFIG: Final = '[user]\nname = A\nemail = a@example.org\n[protocol "file"]\nallow = always\n'


@contextmanager
def plain_git(home: Path) -> Iterator[None]:
    """Git without anybody's configuration or GIT_* variables (in a hook there are some)."""
    if shutil.which("git") is None:
        pytest.skip("needs: git")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.delenv("XDG_CONFIG_HOME", raising=False)
        patch.setenv("HOME", str(home))
        (home / ".gitconfig").write_text(_CONFIG)
        yield


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=directory, capture_output=True, check=True, text=True).stdout


def repository(directory: Path, files: Mapping[str, str]) -> Path:
    """A new repository with these files, none of them tracked."""
    fill(directory, files)
    git(directory, "init", "--quiet")
    return directory


def fill(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content, encoding="utf-8", newline="")
