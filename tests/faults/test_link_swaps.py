"""While names are swapped for links out without pause, nothing outside is read or written (SPEC 5.1)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from plurnk.errors import PlurnkError
from plurnk.files.beneath import Root, open_root
from tests.support import beneath

TRIES: Final = 10_000
AT_MOST: Final = 100_000
"""As long as one of the outcomes has not been seen, it goes on, up to here."""

FILES: Final = ("d/f", "d/e/f", "f")

# A process of its own: a thread would run only where this one lets it. What is exchanged is never missing, so only what
# is checked before its use is fooled; by the renames ``f`` is missing for moments.
SWAP: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
def exchange(one, other):
    if libc.renameat2(-100, one, -100, other, 2):
        sys.exit("no exchange")
def swap_all():
    for _ in range(3):
        exchange(b"d", b"to-d")
        exchange(b"f", b"to-f")
    os.rename("f", "away")
    os.rename("to-f", "f")
    os.rename("away", "to-f")
swap_all()
print(flush=True)
while os.getppid() == int(sys.argv[2]):
    swap_all()
"""


@pytest.fixture(params=beneath.WAYS)
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Root]:
    beneath.take(request.param, monkeypatch)
    for name in ("ws", "out"):
        (tmp_path / name / "d/e").mkdir(parents=True)
        for file in FILES:
            (tmp_path / name / file).write_text(name)
    (tmp_path / "ws/to-d").symlink_to("../out/d")
    (tmp_path / "ws/to-f").symlink_to(tmp_path / "out/f")
    (tmp_path / "ws/round").symlink_to("d/e/../../d/./e/../f")  # by way of what is swapped, up and down
    with open_root(str(tmp_path / "ws")) as root:
        yield root


@contextmanager
def swapping(ws: str) -> Iterator[None]:
    command = [sys.executable, "-c", SWAP, ws, str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        try:
            if not swapper.stdout.readline():
                pytest.skip("needs: a file system that exchanges names (RENAME_EXCHANGE)")
            yield
            assert swapper.poll() is None
        finally:
            swapper.kill()


def read(root: Root, path: str) -> str:
    fd = root.open(path)
    try:
        return os.read(fd, 10).decode()
    finally:
        os.close(fd)


def write(root: Root, path: str, *, make: bool) -> str:
    with root.place(path, make=make) as place:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        fd = os.open(place.name, flags, dir_fd=place.dir_fd)
        try:
            os.write(fd, b"ws")
        finally:
            os.close(fd)
    return "ws"


def attempt(root: Root, number: int) -> str:
    path = ("d/f", "d/e/f", "f", "round", "d/e/../f")[number % 5]
    try:
        match number % 3:
            case 0:
                return "read " + (read(root, path) or "ws")  # empty: between the truncation and the write of none
            case 1:
                return "wrote " + write(root, path, make=False)
            case _:
                return "wrote " + write(root, path.replace("/f", f"/new-{number % 7}"), make=True)
    except PlurnkError as refused:
        return f"{refused.status}"
    except OSError:
        return "a link at its end"  # as whoever writes has to refuse it


def tree(top: Path) -> dict[str, tuple[int, str]]:
    found = ((path, path.stat().st_mtime_ns) for path in sorted(top.rglob("*")))
    return {str(path): (at, path.read_text() if path.is_file() else "") for path, at in found}


@pytest.mark.spec("5.1-symlink-race")
def test_ten_thousand_tries_while_links_are_swapped(root: Root, tmp_path: Path) -> None:
    before = tree(tmp_path / "out")
    outcomes: Counter[str] = Counter()
    wanted = {"read ws", "wrote ws", "403"}
    with swapping(root.path):
        for number in range(AT_MOST):
            outcomes[attempt(root, number)] += 1
            if number >= TRIES and wanted <= outcomes.keys():
                break
    assert wanted <= outcomes.keys() <= wanted | {"404", "a link at its end"}, outcomes
    assert tree(tmp_path / "out") == before
