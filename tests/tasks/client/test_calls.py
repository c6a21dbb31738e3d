"""Proposals, approvals and files, asked for by name, against a fake daemon over memory streams."""

from __future__ import annotations

import pytest
import trio

from plurnk.client import open_client
from plurnk.wire.answers import ApprovalView, FileVersion
from plurnk.wire.params import ApprovalAddParams
from tests.support.fake_daemon import FakeDaemon
from tests.support.wire import Wire


@pytest.fixture
async def wire(nursery: trio.Nursery) -> Wire:
    return Wire(FakeDaemon(), nursery)


async def test_an_answer_names_what_it_is_an_answer_to(wire: Wire) -> None:
    wire.daemon.handlers["loop.resolve"] = lambda _peer, _params: {"status": 409, "logEntryId": 4, "error": "another"}
    async with open_client(wire.address) as client:
        resolved = await client.resolve(4, "accept", digest="ab")
        assert (resolved.status, resolved.error) == (409, "another")
    assert dict(wire.daemon.requests)["loop.resolve"]["digest"] == "ab"


async def test_approvals_and_files_are_asked_for_by_name(wire: Wire) -> None:
    daemon = wire.daemon
    approval = {"id": 3, "op": "EDIT", "scheme": "file", "pathGlob": "a", "commandPrefix": None}
    approval |= {"sandboxProfile": None, "createdAt": "T"}
    version = {"version": 2, "at": "T", "logEntryId": 7, "sha256": None, "bytes": None, "afterSha256": "ab"}
    daemon.handlers |= {
        "approval.add": lambda _peer, _params: approval,
        "approval.list": lambda _peer, _params: {"approvals": [approval]},
        "approval.remove": lambda _peer, params: {"id": params["id"], "removed": params["id"] == 3},
        "file.history": lambda _peer, params: {"target": params["target"], "versions": [version]},
        "file.restore": lambda _peer, _params: {"status": 200},
    }
    held = FileVersion(version=2, at="T", log_entry_id=7, sha256=None, bytes=None, after_sha256="ab")
    async with open_client(wire.address) as client:
        added = await client.add_approval(ApprovalAddParams(op="EDIT", scheme="file", path_glob="a"))
        assert isinstance(added, ApprovalView)
        assert added.path_glob == "a"
        assert await client.approvals() == (added,)
        assert [await client.remove_approval(which) for which in (3, 4)] == [True, False]
        assert await client.file_history("a") == (held,)
        assert (await client.file_restore("a", 2)).status == 200
    assert [(method, {k: v for k, v in params.items() if v}) for method, params in daemon.requests] == [
        ("approval.add", {"op": "EDIT", "scheme": "file", "pathGlob": "a"}),
        ("approval.list", {}),
        ("approval.remove", {"id": 3}),
        ("approval.remove", {"id": 4}),
        ("file.history", {"target": "a"}),
        ("file.restore", {"target": "a", "version": 2}),
    ]
