"""FIND's walk lists the project's own files and nothing outside of it (SPEC 5.1)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from plurnk.errors import Denied, Draining, NotFound, TooLarge
from plurnk.files import walking
from plurnk.files.walking import walk
from tests.support.repositories import fill


async def paths(root: Path, prefix: str = "", hidden: tuple[Path, ...] = ()) -> list[str]:
    return list((await walk(str(root), prefix, [str(path) for path in hidden])).paths)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def ws(tmp_path: Path) -> Path:
    """A root outside of any repository, as far as a test can know."""
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


async def test_files_are_listed_byte_wise_and_nothing_else_is(ws: Path) -> None:
    fill(ws, dict.fromkeys(["b", "a/b", "a-b", "a/é", "a/Z", "d/e/f/g", ".env", ".git/config", "a/.git/x", "é"], ""))
    (ws / "empty").mkdir()
    os.mkfifo(ws / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ws / "socket"))
    assert await paths(ws) == [".env", "a-b", "a/Z", "a/b", "a/é", "b", "d/e/f/g", "é"]


@pytest.mark.spec("5.1-beneath-root")
async def test_links_to_files_beneath_are_files_and_no_other_link_is_followed(ws: Path) -> None:
    fill(ws, {"d/f": "", "e/g": ""})
    fill(ws.parent, {"out/f": ""})
    for name, target in {
        "to-file": "d/f",
        "d/up": "../e/g",
        "absolute": str(ws / "d" / "f"),
        "through": "to-folder/f",
        "to-folder": "d",
        "back": ".",
        "outside": "../out/f",
        "outside-folder": "../out",
        "etc": "/etc/passwd",
        "dangling": "nothing",
        "loop": "loop",
    }.items():
        (ws / name).symlink_to(target)
    assert await paths(ws) == ["absolute", "d/f", "d/up", "e/g", "through", "to-file"]


@pytest.mark.spec("5.1-symlink-race")
async def test_a_folder_that_is_swapped_for_a_link_does_not_lead_out(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws, {"a/f": "", "d/f": ""})
    fill(ws.parent, {"out/secret": ""})
    really = os.open

    def swapped(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "d":
            (ws / "d").rename(ws / "moved")
            (ws / "d").symlink_to("../out")
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapped)
    assert await paths(ws) == ["a/f"]
    assert (ws / "d" / "secret").exists()


async def test_only_what_begins_with_the_prefix_is_listed_and_looked_into(
    ws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ws, dict.fromkeys(["src/plain", "src/pl/a", "src/play/b", "src/q/c", "srcs/x", "lib/y"], ""))
    opened: list[object] = []
    really = os.scandir

    def noted(fd: int) -> Iterator[os.DirEntry[str]]:
        opened.append(Path(f"/proc/self/fd/{fd}").readlink().relative_to(ws).as_posix())
        return really(fd)

    monkeypatch.setattr(os, "scandir", noted)
    assert await paths(ws, "src/pl") == ["src/pl/a", "src/plain", "src/play/b"]
    assert sorted(map(str, opened)) == [".", "src", "src/pl", "src/play"]
    assert await paths(ws, "src/pl/") == ["src/pl/a"]
    assert await paths(ws, "src/pl/a") == ["src/pl/a"]
    assert await paths(ws, "src/pl/a/") == []
    assert await paths(ws, "src") == ["src/pl/a", "src/plain", "src/play/b", "src/q/c", "srcs/x"]


async def test_what_is_hidden_is_left_out_by_whatever_name(ws: Path) -> None:
    fill(ws, dict.fromkeys(["a", "home/db", "home/sub/x", "homely", "d/token"], ""))
    (ws / "to-token").symlink_to("d/token")
    (ws.parent / "link").symlink_to("ws")
    hidden = (ws.parent / "link" / "home", ws / "d" / "token")
    assert await paths(ws, hidden=hidden) == ["a", "homely"]
    assert await paths(ws / "d", hidden=hidden) == []
    assert await paths(ws / "home", hidden=hidden) == []


async def test_names_that_cannot_be_written_are_counted(ws: Path) -> None:
    fill(ws, {"a": "", "src/b": ""})
    for name in (b"\xff", b"new\nline", b"\x1b[31m", "\x85".encode(), b"src/\xfe"):
        (ws / os.fsdecode(name)).touch()
    (ws / os.fsdecode(b"dir\xff")).mkdir()
    (ws / os.fsdecode(b"dir\xff/inside")).touch()
    found = await walk(str(ws))
    assert (found.paths, found.unnamed) == (("a", "src/b"), 6)
    found = await walk(str(ws), "src/")
    assert (found.paths, found.unnamed) == (("src/b",), 1)


async def test_what_lies_too_deep_to_be_named_is_counted(ws: Path) -> None:
    fd = os.open(ws, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    before = open_files()
    found = await walk(str(ws))
    assert len(found.paths) == 255
    assert max(path.count("/") for path in found.paths) == 254
    assert found.unnamed == 2  # the file and the folder in the last one that has a name
    assert open_files() == before


async def test_the_root_may_be_a_link_or_gone(ws: Path) -> None:
    fill(ws, {"a": "", ".gitignore": "b", "b": ""})
    (ws.parent / "link").symlink_to("ws")
    assert await paths(ws.parent / "link") == [".gitignore", "a"]
    with pytest.raises(NotFound):
        await walk(str(ws.parent / "nothing"))
    with pytest.raises(NotFound):
        await walk(str(ws / "a"))


async def test_folders_that_may_not_be_read_are_passed_over(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws, dict.fromkeys(["a", "closed/f", "gone/f", "open/f"], ""))
    refused: dict[str, OSError] = {"closed": PermissionError(13, "no"), "gone": FileNotFoundError(2, "no")}
    really = os.open

    def opened(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path in refused:
            raise refused[path]
        return really(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    assert await paths(ws) == ["a", "open/f"]
    refused["gone"] = OSError(24, "too many open files")
    with pytest.raises(Draining):
        await walk(str(ws))
    refused["."] = PermissionError(13, "no")
    with pytest.raises(Denied):
        await walk(str(ws))


async def test_more_than_the_bound_asks_for_a_narrower_scope(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws, dict.fromkeys(["a/1", "a/2", "b/1"], ""))
    monkeypatch.setattr(walking, "MAX_PATHS", 4)
    with pytest.raises(TooLarge, match="narrower scope"):
        await walk(str(ws))
    assert await paths(ws, "a/") == ["a/1", "a/2"]


async def test_a_cancelled_walk_ends_soon(ws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ws, {f"d{folder}/{name}": "" for folder in range(20) for name in range(100)})
    monkeypatch.setattr(walking, "_CHECK_EVERY", 10)
    looked_at = 0

    def count(name: str) -> bool:
        nonlocal looked_at
        looked_at += 1
        if looked_at == 50:
            trio.from_thread.run_sync(scope.cancel)
        return True

    monkeypatch.setattr(walking, "can_be_written", count)
    before = open_files()
    with trio.CancelScope() as scope:
        await walk(str(ws))
    assert scope.cancelled_caught
    assert 50 <= looked_at <= 60
    assert open_files() == before
