"""The whole daemon over its own wire: what a person, an editor and a stranger get."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from tests.support.daemons import (
    DaemonProcess,
    PlainClient,
    Refusal,
    environment,
    plain_client,
    running,
    settings_in,
)
from tests.support.openai_server import Answer, open_openai_server

QUIET = {"noProposals": True}
"""For the demo, whose command nobody here would accept."""

LOG_ENTRY_FIELDS = {
    "id",
    "run_id",
    "loop_id",
    "turn_id",
    "loop_seq",
    "turn_seq",
    "sequence",
    "at",
    "origin",
    "op",
    "suffix",
    "signal",
    "scheme",
    "username",
    "password",
    "hostname",
    "port",
    "pathname",
    "params",
    "fragment",
    "lineMarker",
    "tx",
    "mimetype_tx",
    "rx",
    "mimetype_rx",
    "status_rx",
    "tokens",
    "state",
    "outcome",
}

SCRIPT = (
    "Let me write that down. <<EDIT[fact](known://capital):Paris is the capital of France.:EDIT <<SEND[102]:noted:SEND",
    "<<READ(known://capital)::READ <<SEND[102]:read:SEND",
    "<<SEND[200]:Paris.:SEND",
)


@pytest.mark.spec("3.4-log-row-shape", "3.4-wire-omits-default-channel")
async def test_three_turns_with_a_model_over_http(tmp_path: Path) -> None:
    async with open_openai_server([Answer(text, chunk_chars=3, write_bytes=5) for text in SCRIPT]) as model:
        settings = settings_in(
            tmp_path,
            PLURNK_MODEL="small",
            PLURNK_MODEL_small="openai/tiny",
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="not-a-real-key",
        )
        async with running(settings) as url, plain_client(url) as client:
            with trio.fail_after(20):
                done = await client.call("loop.run", prompt="What is the capital of France?")
            assert (done["finalStatus"], done["reason"], len(done["turnIds"])) == (200, None, 3)
            assert done["usage"] == {"prompt": 300, "completion": 60, "cached": 180, "reasoning": 15, "costPico": 0}
            rows = (await client.call("log.read", loopId=done["loopId"]))["entries"]
            assert [(r["turn_seq"], r["op"], r["status_rx"]) for r in rows if r["origin"] == "model"] == [
                (1, "EDIT", 201),
                (1, "SEND", 200),
                (2, "READ", 200),
                (2, "SEND", 200),
                (3, "SEND", 200),
            ]
            assert [r["signal"] for r in rows if r["op"] == "SEND"] == [102, 102, 200]
            packet = await client.call("packet.read", turnId=done["turnIds"][2])
        # What is stored is what was sent, byte for byte.
        sent = model.requests[2].body["messages"]
        assert packet["rendered"] == f"{sent[0]['content']}\n\n{sent[1]['content']}"
        assert (
            '* {"op":"READ","origin":"model","path":"log://1/2/1/READ","status":200,"target":"known://capital"}\n'
            "<<known://capital:\n1:\tParis is the capital of France.\n:known://capital" in sent[0]["content"]
        )
        assert "not-a-real-key" not in json.dumps(packet)


@pytest.mark.spec("6.4-session-scoped", "3.1-loop-survives-client", "6.4-logentry-shape")
async def test_everybody_of_a_session_sees_all_in_one_order_and_nobody_else_anything(tmp_path: Path) -> None:
    async with (
        running(settings_in(tmp_path)) as url,
        plain_client(url) as one,
        plain_client(url) as two,
        plain_client(url) as stranger,
    ):
        session = (await one.call("session.create", name="ours"))["id"]
        await two.call("session.attach", id=session, since=0)
        await stranger.call("session.create", name="theirs")
        stranger.heard.clear()
        async with plain_client(url) as starter:
            await starter.call("session.attach", id=session)
            loop = await starter.call("loop.run", prompt="hello", flags=QUIET, wait=False)
        # Its client has left; the loop goes on.
        with trio.fail_after(20):
            ended = [await client.hear_until("loop/terminated") for client in (one, two)]
            await one.call("op.edit", target="known://x", content="by hand")
            while len(two.durable()) < len(one.durable()) + 1:
                await two.receive()
        assert [e["loopId"] for e in ended] == [loop["loopId"]] * 2
        assert ended[0]["finalStatus"] == 200
        seqs = [seq for seq, _ in two.durable()]
        assert seqs == list(range(1, len(seqs) + 1))
        assert [e for e in two.heard if e["params"].get("eventId", 0) > 1] == [
            e for e in one.heard if e["params"].get("eventId", 0) > 1
        ][: len(seqs) - 1]
        await stranger.call("ping")
        assert stranger.heard == []
        entry = next(m["params"]["entry"] for m in one.heard if m["method"] == "log/entry")
        assert set(entry) == LOG_ENTRY_FIELDS
        assert entry["tx"] == {"body": "hello"}


@pytest.mark.spec("6.5-replay-no-gap", "6.5-resync-told")
async def test_a_client_that_comes_back_gets_what_it_missed_or_is_told_that_it_is_gone(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path, PLURNK_EVENTS_KEEP="100")) as url:
        async with plain_client(url) as client:
            session = (await client.call("session.create"))["id"]
            for number in range(10):
                await client.call("op.edit", target=f"known://{number}", content="x")
            seen = client.durable()[4][0]
            wanted = [entry for entry in client.durable() if entry[0] > seen]
        async with plain_client(url) as client:
            attached = await client.call("session.attach", id=session, since=seen)
            while len(client.durable()) < attached["lastEventId"] - seen:
                await client.receive()
            assert client.durable()[: len(wanted)] == wanted
            for number in range(200):
                await client.call("op.edit", target=f"known://{number}", content="y")
        async with plain_client(url) as client:
            attached = await client.call("session.attach", id=session, since=seen)
            assert attached["resync"] is True
            assert attached["oldest"] > seen + 1
            again = await client.call("session.attach", id=session, since=attached["oldest"] - 1)
            assert "resync" not in again
            while len(client.durable()) < again["lastEventId"] - attached["oldest"] + 1:
                await client.receive()
            seqs = [seq for seq, _ in client.durable()]
            assert seqs == list(range(attached["oldest"], attached["oldest"] + len(seqs)))


@pytest.mark.spec("6.3-auto-init", "6.2-op-failure-is-result", "6.2-invalid-params-named", "6.1-bad-frame-survives")
async def test_bad_input_gets_its_answer_and_the_daemon_goes_on(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        parsed = await client.call("op.parse", text="<<EDIT(known://a):x:EDIT <<READ(known://a)::READ")
        assert [r["status"] for r in parsed["results"]] == [201, 200]
        assert parsed["results"][1]["content"] == "x"
        names = [s["name"] for s in (await client.call("session.list"))["sessions"]]
        assert names == ["auto-1"]
        broken = await client.call("op.parse", text="<<EDIT(known://a)oops:x:EDIT <<READ(nosuch://a)::READ")
        assert [r["status"] for r in broken["results"]] == [501]
        assert len(broken["errors"]) == 1
        for method, params, code, words in (
            ("op.edit", {"target": "known://a", "content": 5}, -32602, "content: expected str"),
            ("op.edit", {"target": "known://a", "contents": "x"}, -32602, "contents"),
            ("op.edit", {}, -32602, "target"),
            ("no.such", {}, -32601, "no.such"),
            ("session.attach", {"id": 99}, -32001, "no session 99"),
            ("session.attach", {"id": 1, "runName": "nope"}, -32001, "nope"),
            ("session.create", {"name": "auto-1"}, -32602, "auto-1"),
            ("session.create", {"projectRoot": "relative"}, -32602, "projectRoot"),
            ("session.set_root", {"projectRoot": "/no/such/folder"}, -32602, "projectRoot"),
            ("loop.run", {"prompt": "x", "alias": "nope"}, -32602, "nope"),
            ("loop.run", {"prompt": "x", "flags": {"yolo": 1}}, -32602, "flags.yolo"),
            ("packet.read", {"turnId": 99}, -32002, "99"),
        ):
            with pytest.raises(Refusal, match=words) as refused:
                await client.call(method, **params)
            assert refused.value.code == code, method
        missing = await client.call("entry.read", target="known://nothing")
        assert missing["status"] == 404
        await client.socket.send_message("no json at all")
        answer = json.loads(await client.socket.get_message())
        assert (answer["error"]["code"], answer["id"]) == (-32700, None)
        assert await client.call("ping") == {}


@pytest.mark.spec("6.6-origin", "6.6-host")
async def test_strangers_are_refused_and_a_huge_frame_ends_only_its_sender(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"host": "evil.example:3044"}):
            with pytest.raises(ConnectionRejected) as refused:
                async with plain_client(url, **headers):
                    pass
            assert refused.value.status_code == 403
        async with plain_client(url) as giant:
            with pytest.raises((ConnectionClosed, OSError)):
                await giant.call("ping", padding="x" * (20 * 1024 * 1024))
            assert giant.socket.closed is None or giant.socket.closed.code == 1009
        assert await client.call("ping") == {}


async def test_sessions_are_listed_renamed_archived_and_deleted(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        one = await client.call("session.create", projectRoot=str(tmp_path), persona="Be kind.")
        two = await client.call("session.create", name="two")
        assert (one["name"], one["runName"], one["projectRoot"]) == ("session-1", "main", str(tmp_path))
        await client.call("op.edit", target="known://a", content="x")
        assert (await client.call("session.set_root", projectRoot=None))["projectRoot"] is None
        assert (await client.call("session.set_persona", persona="Brief."))["persona"] == "Brief."
        assert (await client.call("session.rename", id=one["id"], name="first"))["name"] == "first"
        assert (await client.call("session.archive", id=one["id"]))["archived"] is True
        listed = (await client.call("session.list", limit=1))["sessions"]
        assert [s["name"] for s in listed] == ["two"]
        older = (await client.call("session.list", before=listed[-1]["id"]))["sessions"]
        assert [(s["name"], s["archived"], s["persona"]) for s in older] == [("first", True, "Be kind.")]
        assert [r["name"] for r in (await client.call("session.runs"))["runs"]] == ["main"]
        await client.call("loop.run", prompt="to be cut", wait=False)
        assert (await client.call("session.delete", id=two["id"]))["deleted"] is True
        with pytest.raises(Refusal) as refused:
            await client.call("session.attach", id=two["id"])
        assert refused.value.code == -32001
        assert [s["name"] for s in (await client.call("session.list"))["sessions"]] == ["first"]


async def test_a_client_of_a_deleted_session_is_told_so_and_can_go_elsewhere(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client, plain_client(url) as other:
        gone = await client.call("session.create")
        await client.call("op.edit", target="known://a", content="x")
        await other.call("session.delete", id=gone["id"])
        for method, params in (
            ("op.read", {"target": "known://a"}),
            ("loop.run", {"prompt": "x"}),
            ("session.set_persona", {"persona": "x"}),
            ("session.runs", {}),
        ):
            with pytest.raises(Refusal) as refused:
                await client.call(method, **params)
            assert refused.value.code == -32001, method
        await client.call("session.create")
        assert (await client.call("op.edit", target="known://a", content="x"))["status"] == 201


@pytest.mark.spec("6.3-auto-init")
async def test_first_requests_at_once_make_one_session(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        for number in range(10):
            request = {"jsonrpc": "2.0", "id": str(number), "method": "op.find", "params": {"scope": "known://"}}
            await client.socket.send_message(json.dumps(request))
        answered: set[str] = set()
        while len(answered) < 10:
            message = await client.receive()
            if "id" in message:
                answered.add(message["id"])
        assert len((await client.call("session.list"))["sessions"]) == 1
        loops = (await client.call("daemon.status"))["counts"]["loops"]
        assert loops == {"102": 1}


async def test_an_entry_is_followed_from_a_byte_on(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as client:
        text = "naïve\n" * 10
        await client.call("op.edit", target="known://a", content=text, tags=["t"])
        entry = (await client.call("entry.read", target="known://a"))["entry"]
        assert (entry["target"], entry["tags"], entry["scheme"]) == ("known://a", ["t"], "known")
        assert entry["channels"]["body"]["content"] == text
        assert entry["channels"]["body"]["length"] == len(text.encode())
        got, at = "", 0
        while at < len(text.encode()):
            # Three bytes at a time: sometimes the middle of a character.
            read = await client.call("entry.read", target="known://a#body", **{"from": at}, maxBytes=3)
            channel = read["entry"]["channels"]["body"]
            got, at = got + channel["content"], channel["next"]
        assert got == text


@pytest.mark.spec("3.1-cancel-is-complete", "3.8-cancel-closes-stream", "6.1-concurrent-requests")
async def test_cancel_answers_the_waiting_run_and_closes_the_providers_socket(tmp_path: Path) -> None:
    async with open_openai_server([Answer("never", failure="stall", fail_after=0)]) as model:
        settings = settings_in(
            tmp_path, PLURNK_MODEL="m", PLURNK_MODEL_m="openai/m", OPENAI_BASE_URL=model.base_url, OPENAI_API_KEY="k"
        )
        async with running(settings) as url, plain_client(url) as runner, plain_client(url) as other:
            session = (await runner.call("session.create"))["id"]
            await other.call("session.attach", id=session)
            results: list[dict[str, object]] = []

            async def run() -> None:
                results.append(await runner.call("loop.run", prompt="x"))

            with trio.fail_after(20):
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(run)
                    request = await model.request(0)
                    cancelled = await other.call("loop.cancel", reason="enough")
                    assert cancelled["cancelled"] is True
                    await request.gone.wait()
            assert [(r["finalStatus"], r["reason"]) for r in results] == [(499, "cancelled")]
            assert (await other.call("loop.cancel"))["cancelled"] is False


@pytest.mark.spec("6.1-vanishing-peer")
async def test_a_client_that_vanishes_leaves_its_loop_closed(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url, plain_client(url) as watcher:
        session = (await watcher.call("session.create"))["id"]
        host, _, port = url.removeprefix("ws://").rpartition(":")
        for goodbye in (True, False):
            async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as tasks:
                client = PlainClient(await wrap_client_stream(tasks, stream, f"{host}:{port}", "/"))
                await client.call("session.attach", id=session)
                await client.call("op.edit", target="known://a", content=str(goodbye))
                if not goodbye:
                    await trio.aclose_forcefully(stream)
                else:
                    await client.socket.aclose()
                tasks.cancel_scope.cancel()
            with trio.fail_after(5):
                ended = await watcher.hear_until("loop/terminated")
            assert (ended["finalStatus"], ended["reason"]) == (200, None)


def test_term_ends_the_daemon_in_good_order(tmp_path: Path) -> None:
    with DaemonProcess(environment(tmp_path)) as daemon:
        code, said = daemon.stop()
    assert code == 0, said
    assert not (tmp_path / "state" / "plurnk" / "daemon.url").exists()
    assert not (tmp_path / "state" / "plurnk" / "plurnk.db-wal").exists()


@pytest.mark.spec("7.2-drain")
async def test_on_term_clients_hear_the_end_of_loops_and_are_told_to_go(tmp_path: Path) -> None:
    async with open_openai_server([Answer("never", failure="stall", fail_after=0)]) as model:
        environ = environment(
            tmp_path,
            PLURNK_MODEL="m",
            PLURNK_MODEL_m="openai/m",
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="k",
            PLURNK_DRAIN_MS="200",
        )
        daemon = await trio.to_thread.run_sync(DaemonProcess, environ)
        with daemon, trio.fail_after(20):
            async with plain_client(daemon.url) as client:
                await client.call("session.create")
                await client.call("loop.run", prompt="x", wait=False)
                await model.request(0)
                os.kill(daemon.pid, signal.SIGTERM)
                ended = await client.hear_until("loop/terminated")
                assert (ended["finalStatus"], ended["reason"]) == (499, "cancelled")
                with pytest.raises(ConnectionClosed) as closed:
                    await client.hear_until("nothing of that name")
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1001
            code, _ = await trio.to_thread.run_sync(daemon.stop)
            assert code == 0


async def _closed_to_newcomers(url: str) -> None:
    """Wait until nobody listens there any more: by then the daemon takes no prompts."""
    host, _, port = url.removeprefix("ws://").rpartition(":")
    with suppress(OSError):
        while True:
            await (await trio.open_tcp_stream(host, int(port))).aclose()


@pytest.mark.spec("7.2-drain")
async def test_while_it_drains_the_daemon_takes_no_prompt_and_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    async with open_openai_server([Answer("never", failure="stall", fail_after=0)]) as model:
        environ = environment(
            tmp_path,
            PLURNK_MODEL="m",
            PLURNK_MODEL_m="openai/m",
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="k",
            PLURNK_DRAIN_MS="600000",
        )
        daemon = await trio.to_thread.run_sync(DaemonProcess, environ)
        with daemon, trio.fail_after(20):
            async with plain_client(daemon.url) as client:
                await client.call("session.create")
                await client.call("loop.run", prompt="x", wait=False)
                await model.request(0)
                os.kill(daemon.pid, signal.SIGTERM)
                await _closed_to_newcomers(daemon.url)
                with pytest.raises(Refusal) as refused:
                    await client.call("loop.run", prompt="y", wait=False)
                assert refused.value.code == -32008
                for text in ("<<EXEC:true:EXEC", "<<READ(known://a)::READ <<EXEC:true:EXEC"):
                    with pytest.raises(Refusal) as refused:
                        await client.call("op.parse", text=text)
                    assert refused.value.code == -32008
                assert (await client.call("op.find", scope="known://"))["status"] == 200
                # The live loop has ten minutes to end its turn; a second signal says that nobody waits.
                os.kill(daemon.pid, signal.SIGTERM)
                ended = await client.hear_until("loop/terminated")
                assert (ended["finalStatus"], ended["reason"]) == (499, "cancelled")
            code, _ = await trio.to_thread.run_sync(daemon.stop)
            assert code == 0


@pytest.mark.spec("7.1-single-owner", "7.3-bad-value-stops")
def test_a_daemon_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    def start(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "plurnk", "serve"],
            env=environment(tmp_path, **more),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    with DaemonProcess(environment(tmp_path)) as daemon:
        second = start()
        assert second.returncode != 0
        assert f"pid {daemon.pid}" in second.stderr
        port = daemon.url.rpartition(":")[2]
        taken = start(PLURNK_PORT=port, PLURNK_DB_PATH=str(tmp_path / "other.db"))
        assert "is taken" in taken.stderr
    for more, words in (
        ({"PLURNK_PORT": "x", "PLURNK_MAX_TURNS": "0"}, ("PLURNK_PORT=x", "PLURNK_MAX_TURNS=0")),
        ({"PLURNK_MODEL_bad": "nomodel"}, ("PLURNK_MODEL_bad",)),
        ({"PLURNK_MODEL": "nope"}, ("nope",)),
        ({"PLURNK_HOST": "0.0.0.0"}, ("PLURNK_TLS_CERT",)),
        ({"PLURNK_PERSONA": "/no/such/file"}, ("PLURNK_PERSONA",)),
    ):
        refused = start(**more)
        assert refused.returncode != 0, more
        for word in words:
            assert word in refused.stderr
        assert "Traceback" not in refused.stderr


async def test_many_clients_running_many_loops_each_see_their_own(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as url:

        async def person(number: int) -> None:
            async with plain_client(url) as client:
                await client.call("session.create", name=f"p{number}")
                for _ in range(3):
                    done = await client.call("loop.run", prompt=f"I am {number}", flags=QUIET)
                    assert done["finalStatus"] == 200
                seqs = [seq for seq, _ in client.durable()]
                assert seqs == list(range(2, len(seqs) + 2))

        with trio.fail_after(60):
            async with trio.open_nursery() as people:
                for number in range(10):
                    people.start_soon(partial(person, number))
