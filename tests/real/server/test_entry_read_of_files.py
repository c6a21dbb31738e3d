"""entry.read of bare paths: the file as it is on disk, without a row in the log (SPEC 6, 5.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import PlainClient, plain_client, running, settings_in
from tests.support.projects import write_tree


@asynccontextmanager
async def attached(home: Path, root: Path | None, **settings: str) -> AsyncIterator[PlainClient]:
    async with running(settings_in(home, **settings)) as url, plain_client(url) as client:
        await client.call("session.create", projectRoot=None if root is None else str(root))
        yield client


async def body_of(client: PlainClient, target: str, **params: Any) -> Any:
    read = await client.call("entry.read", target=target, **params)
    return read["entry"]["channels"]["body"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    write_tree(root, {"a b.md": "naïve\n" * 10, "tool": b"\0\1", "d/x": "x"})
    return root


async def test_it_is_what_is_on_disk_from_a_byte_on(tmp_path: Path, root: Path) -> None:
    async with attached(tmp_path, root) as client:
        read = await client.call("entry.read", target="a b.md")
        text = "naïve\n" * 10
        assert (read["status"], read["entry"]["target"], read["entry"]["scheme"]) == (200, "a b.md", None)
        assert read["entry"]["channels"]["body"] == {
            "content": text,
            "mimetype": "text/markdown",
            "tokens": len(text) // 4,
            "state": "static",
            "length": len(text.encode()),
            "next": len(text.encode()),
        }
        got, at = "", 0
        while at < len(text.encode()):
            body = await body_of(client, "file:///a%20b.md", **{"from": at}, maxBytes=3)
            got, at = got + body["content"], body["next"]
        assert got == text
        (root / "a b.md").write_text("changed")
        again = await client.call("entry.read", target="./d/../a b.md")
        assert again["entry"]["channels"]["body"]["content"] == "changed"
        assert again["entry"]["id"] == read["entry"]["id"]
        assert (await body_of(client, "tool"))["mimetype"] == "application/octet-stream"
        assert (await client.call("log.read"))["entries"] == []


@pytest.mark.spec("5.1-no-existence-oracle")
async def test_what_is_refused_is_a_result(tmp_path: Path, root: Path) -> None:
    (root / "out").symlink_to("/etc/passwd")
    async with attached(tmp_path, root) as client:
        for target, status in {
            "nope": 404,
            "d": 415,
            ".": 415,
            "../x": 403,
            "/etc/passwd": 403,
            "/etc/nope": 403,
            "out": 403,
            "a" * 300: 400,
        }.items():
            read = await client.call("entry.read", target=target)
            assert (read["status"], bool(read["error"])) == (status, True), target
        read = await client.call("entry.read", target="a b.md", channel="other")
        assert (read["status"], read["error"]) == (404, "a b.md has no channel other")


async def test_without_a_project_there_are_no_files(tmp_path: Path) -> None:
    async with attached(tmp_path, None) as client:
        read = await client.call("entry.read", target="a")
        assert (read["status"], read["error"]) == (400, "session has no project_root; set one with session.set_root")


async def test_the_daemons_own_files_are_nobodys(tmp_path: Path) -> None:
    """Also where they are in the project: here the daemon's home is one."""
    (tmp_path / ".env").write_text("PLURNK_MAX_TURNS=7\n")
    (tmp_path / "mine").write_text("x")
    socket = tmp_path / "plurnk.sock"
    async with attached(tmp_path, tmp_path, PLURNK_SOCKET=str(socket)) as client:
        state = "state/plurnk"
        for path in (".env", f"{state}/plurnk.db", f"{state}/plurnk.db-wal", f"{state}/daemon.url", f"{state}/token"):
            assert (await client.call("entry.read", target=path))["status"] == 403, path
            assert (await client.call("op.read", target=path))["status"] == 403, path
        found = await client.call("op.find", scope=".")
        assert found["results"].split("\n") == ["mine"]


async def test_a_configuration_that_is_not_there_is_made_by_nobody(tmp_path: Path) -> None:
    """It could say that there is no sandbox, and the next start would take it from there."""
    settings = settings_in(tmp_path)
    assert not settings.own_file.exists()
    async with running(settings) as url, plain_client(url) as client:
        await client.call("session.create", projectRoot=str(tmp_path))
        path = str(settings.own_file.relative_to(tmp_path))
        assert (await client.call("op.edit", target=path, content="PLURNK_SANDBOX=off"))["status"] == 403


async def test_what_the_kernel_tells_of_the_daemon_is_nobodys(tmp_path: Path) -> None:
    """Its environment has the keys."""
    async with attached(tmp_path, Path("/")) as client:
        for path in ("proc/self/environ", "proc/cpuinfo"):
            assert (await client.call("entry.read", target=path))["status"] == 403, path
            assert (await client.call("op.read", target=path))["status"] == 403, path
