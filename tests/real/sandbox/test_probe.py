"""A look at the machine never fails: what does not work has its reason."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from sandbox import domain
from sandbox import probe as probing
from sandbox.probe import _landlock, _version, probe


@pytest.fixture
def bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of bubblewrap, to be written; nothing else is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "bwrap"
    path.touch(0o755)
    return path


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo bubblewrap 0.4.1", "bubblewrap 0.4.1 is too old"),
        ("echo who knows", "bubblewrap does not say its version: who knows"),
        ("exit 3", "bubblewrap does not say its version: 3"),
        (
            '[ "$1" = --version ] && echo bubblewrap 0.8.0 || { echo bwrap: No permissions >&2; exit 1; }',
            "bubblewrap 0.8.0 does not work here: No permissions",
        ),
        (
            '[ "$1" = --version ] && echo bubblewrap 0.8.0 || exit 7',
            "bubblewrap 0.8.0 does not work here: exit status 7",
        ),
        ("while :; do :; done", "bubblewrap does not say its version: it has not ended after 0.2 s"),
    ],
)
async def test_a_bubblewrap_that_does_not_work_is_none(
    bwrap: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    _write(bwrap, f"#!/bin/sh\n{program}\n".encode())
    monkeypatch.setattr(probing, "PROBE_LIMIT_S", 0.2)
    host = await probe()
    assert (host.bubblewrap, host.bubblewrap_reason) == (None, reason)


async def test_one_that_is_no_program(bwrap: Path) -> None:
    _write(bwrap, b"\0")
    assert (await probe()).bubblewrap_reason == "bubblewrap does not say its version: Exec format error"


async def test_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await probe()).bubblewrap_reason == "bubblewrap is not installed"


async def test_one_that_works_is_found_with_its_version() -> None:
    path = shutil.which("bwrap")
    if path is None:
        pytest.skip("needs: bubblewrap")
    host = await probe()
    assert host.bubblewrap == path
    assert host.bubblewrap_version >= (0, 5)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSYS, "this kernel has no Landlock: "), (errno.EOPNOTSUPP, "Landlock is not switched on")],
)
def test_a_kernel_without_landlock_says_so(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def refuse() -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(domain, "landlock_abi", refuse)
    abi, said = _landlock()
    assert abi == 0
    assert said.startswith(reason)


def test_versions() -> None:
    assert _version("bubblewrap 0.11.0") == (0, 11, 0)
    assert _version("bubblewrap 0.8") == (0, 8)
    assert _version("bubblewrap") is None
    assert _version("") is None
    assert _version("bubblewrap 1.x") is None


async def test_the_machine_of_the_seccomp_filter_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probing._seccomp("riscv64") == "there is no filter for riscv64"
    monkeypatch.setattr(domain, "has_seccomp", lambda: False)
    assert probing._seccomp("x86_64") == "this kernel has no seccomp filters"
