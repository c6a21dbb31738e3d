"""The façade for scripts, against the real daemon."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plurnk.client import RequestError, Unreachable
from plurnk.client.sync import open_client
from plurnk.wire.answers import LoopRunResult, SessionCreateResult
from plurnk.wire.notifications import LoopProposal, LoopTerminated, StreamConcluded
from plurnk.wire.params import ApprovalAddParams, LoopFlags, LoopRunParams
from tests.support.home import Home, opened_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with opened_home(tmp_path_factory.mktemp("home")) as opened:
        assert opened.plurnk("sessions").returncode == 0
        yield opened


def test_a_script_runs_a_loop_and_hears_of_it(home: Home) -> None:
    before = threading.active_count()
    with open_client(home.socket) as client:
        made: SessionCreateResult = client.call("session.create", {"name": "script"})
        result: LoopRunResult = client.call(
            "loop.run", LoopRunParams(prompt="hello", flags=LoopFlags(no_proposals=True))
        )
        assert result.final_status == 200
        ends = (heard for heard in client.notifications() if isinstance(heard, LoopTerminated))
        assert next(ends).loop_id == result.loop_id
        assert made.run_id == 1
    assert threading.active_count() == before


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs: bubblewrap")
def test_a_script_runs_a_command_and_reads_what_it_writes(home: Home) -> None:
    with open_client(home.socket) as client, ThreadPoolExecutor(1) as elsewhere:
        client.call("session.create", {"name": "commands"})
        asked = elsewhere.submit(client.exec, "echo first; read answer; echo $answer")
        proposal = next(heard for heard in client.notifications() if isinstance(heard, LoopProposal))
        assert [each.log_entry_id for each in client.proposals()] == [proposal.log_entry_id]
        assert client.resolve(proposal.log_entry_id, "accept").status == 102
        started = asked.result()
        assert started.entry is not None
        assert [stream.target for stream in client.subscriptions()] == [started.entry]
        pieces = client.follow(started.entry, "stdout")
        assert next(pieces) == "first\n"
        client.call("op.send", {"status": 200, "recipient": started.entry, "body": "second"})
        assert "".join(pieces) == "second\n"
        ended = next(heard for heard in client.notifications() if isinstance(heard, StreamConcluded))
        assert ended.exit_code == 0
        assert client.cancel_subscription(ended.subscription_id).close_status == 200
        assert client.subscriptions() == ()


def test_a_script_approves_and_goes_back(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n")
    with open_client(home.socket) as client, ThreadPoolExecutor(1) as elsewhere:
        client.call("session.create", {"name": "files", "projectRoot": str(tmp_path)})
        approval = client.add_approval(ApprovalAddParams(op="EDIT", scheme="file", path_glob="a.txt"))
        assert client.approvals() == (approval,)
        assert client.call("op.edit", {"target": "a.txt", "content": "two\n"}).status == 200
        assert [client.remove_approval(approval.id) for _ in range(2)] == [True, False]

        [version] = client.file_history("a.txt")
        assert version.bytes == 4
        asked = elsewhere.submit(client.file_restore, "a.txt", version.version)
        proposals = (heard for heard in client.notifications() if isinstance(heard, LoopProposal))
        open_one = next(told for told in proposals if "+one" in told.body)
        wrong = client.resolve(open_one.log_entry_id, "accept", digest="0" * 64)
        assert (wrong.status, file.read_text()) == (409, "two\n")
        assert client.resolve(open_one.log_entry_id, "accept", digest=open_one.attrs["digest"]).status == 200
        assert asked.result().status == 200
    assert file.read_text() == "one\n"


def test_a_refusal_is_raised_and_the_client_goes_on(home: Home) -> None:
    with open_client((home.state / "daemon.url").read_text().strip()) as client:
        with pytest.raises(RequestError, match="no session 99"):
            client.call("session.attach", {"id": 99})
        client.call("ping")
        inner = client
    with pytest.raises(Unreachable, match="the client is closed"):
        inner.call("ping")


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="nobody answers at"), open_client(tmp_path / "no.sock"):
        raise AssertionError("entered")


def test_the_blocks_own_error_comes_out(home: Home) -> None:
    with pytest.raises(ValueError, match="mine"), open_client(home.socket):
        raise ValueError("mine")
