"""Where the daemon listens, and where it refuses to."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from plurnk.errors import Conflict, Denied, Malformed
from plurnk.server.access import Gate
from plurnk.server.listener import check_exposure, is_loopback, open_tcp, open_unix, serve_listeners, url_of
from tests.support.desk import MAX_MESSAGE_BYTES, Desk, RawClient, rules, serve_stream


@pytest.mark.spec("6.6-no-plain-remote")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "devbox", "", "localhost.example", "127.1"])
def test_nothing_in_the_clear_beyond_the_loopback(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(Denied, match="PLURNK_TLS_CERT"):
        check_exposure(host, tls=False, insecure=False)
    check_exposure(host, tls=True, insecure=False)
    check_exposure(host, tls=False, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    check_exposure(host, tls=False, insecure=False)


async def test_a_port_that_is_taken() -> None:
    async with open_tcp("127.0.0.1", 0) as (listener,):
        port = int(url_of(listener).rpartition(":")[2])
        assert url_of(listener) == f"ws://127.0.0.1:{port}"
        with pytest.raises(Conflict, match=f"127.0.0.1:{port} is taken"):
            async with open_tcp("127.0.0.1", port):
                pass


async def test_an_address_that_is_not_here() -> None:
    with pytest.raises(Malformed, match=r"cannot listen on 192\.0\.2\.1:0"):
        async with open_tcp("192.0.2.1", 0):
            pass


async def test_the_socket_is_for_us_alone_and_gone_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "plurnk.sock"
    async with open_unix(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()
    assert path.parent.exists()


async def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "plurnk.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with open_unix(path) as listener, await trio.open_unix_socket(path), await listener.accept():
        pass


async def test_a_daemon_that_answers_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "plurnk.sock"
    async with open_unix(path) as listener:
        with pytest.raises(Conflict, match="a daemon answers at"):
            async with open_unix(path):
                pass
        async with await trio.open_unix_socket(path), await listener.accept():
            pass


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plurnk.sock"
    path.write_text("precious")
    with pytest.raises(Conflict, match="is no socket"):
        async with open_unix(path):
            pass
    assert path.read_text() == "precious"


async def test_a_socket_that_replaced_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "plurnk.sock"
    async with open_unix(path):
        path.rename(tmp_path / "old.sock")
        path.touch()
    assert path.exists()


@pytest.fixture
def open_directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o750)
    return tmp_path


async def test_a_directory_that_is_open_to_others(open_directory: Path) -> None:
    with pytest.raises(Denied, match="chmod 700"):
        async with open_unix(open_directory / "plurnk.sock"):
            pass


async def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Malformed, match=r"cannot listen at .*: "):
        async with open_unix(tmp_path / "file" / "plurnk.sock"):
            pass


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="107 bytes"):
        async with open_unix(tmp_path / ("x" * 100)):
            pass


_OPENSSL = [
    *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    *["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
]


async def test_over_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(  # noqa: ASYNC221 – nothing else is running
        [*_OPENSSL, "-keyout", key, "-out", cert],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("needs: openssl")
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(cert, key)
    theirs = ssl.create_default_context(cafile=str(cert))
    gate = Gate(rules(), max_message_bytes=MAX_MESSAGE_BYTES)
    async with open_tcp("127.0.0.1", 0, tls=ours) as (listener,), trio.open_nursery() as peers:
        url = url_of(listener)
        assert url.startswith("wss://127.0.0.1:")
        peers.start_soon(serve_listeners, [listener], peers, partial(serve_stream, gate=gate, desk=Desk()))
        plain = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True) as stream:
            client = RawClient(stream)
            assert (await client.shake_hands()).status == 101
            assert (await client.ask("echo", {"text": "x" * 100_000}))["result"] == {"text": "x" * 100_000}
        # Speaking in the clear ends the caller, not the daemon.
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as plain:
            await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
            while await plain.receive_some():
                pass
        peers.cancel_scope.cancel(reason="the test is over")


async def test_an_error_in_one_stream_ends_that_one_only(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        if await stream.receive_some() == b"bad":
            raise ZeroDivisionError("in a client's task")
        await stream.send_all(b"ok")

    async with open_tcp("127.0.0.1", 0) as (listener,), trio.open_nursery() as peers:
        peers.start_soon(serve_listeners, [listener], peers, serve)
        port = int(url_of(listener).rpartition(":")[2])
        for said, heard in ((b"bad", b""), (b"good", b"ok")):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(said)
                assert await stream.receive_some() == heard
        peers.cancel_scope.cancel(reason="the test is over")
    assert "in a client's task" in caplog.text
