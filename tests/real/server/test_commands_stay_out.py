"""A command that has the machine's network runs as the daemon's user, and is not let in for that (SPEC 6.6)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.support.commander import commander
from tests.support.daemons import DaemonProcess, environment

KNOCK = """
import socket, sys
def request(link):
    link.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                 b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n")
    return link.recv(12).decode()
"""
PLAINLY = "link = socket.create_connection(('127.0.0.1', {port})); print(request(link))"
OVER_IPV6 = "link = socket.create_connection(('::ffff:127.0.0.1', {port})); print(request(link))"
UNDER_WAY = """
here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
link = socket.create_connection(("127.0.0.1", {port}))
socket.send_fds(here, [b"x"], [link.fileno()])
link.close()  # nobody has it open now: it is under way
import time; time.sleep(0.3)
_data, fds, _flags, _address = socket.recv_fds(there, 1, 1)
print(request(socket.socket(fileno=fds[0])))
"""
HANDED_ON = """
import os
link = socket.create_connection(("127.0.0.1", {port}))
for _ in range(50):  # from child to child, each new to whoever has a list
    if os.fork():
        os._exit(0)
print(request(link), flush=True)
"""


def knock(way: str, url: str) -> str:
    return KNOCK + way.replace("{port}", url.rpartition(":")[2])


@pytest.mark.spec("6.6-commands-refused")
@pytest.mark.parametrize("way", [PLAINLY, OVER_IPV6, UNDER_WAY])
async def test_a_command_cannot_come_in(tmp_path: Path, way: str) -> None:
    (tmp_path / "project").mkdir()
    with DaemonProcess(environment(tmp_path, PLURNK_SANDBOX="workspace-net")) as daemon:
        text = knock(way, daemon.url)
        async with commander(daemon.url, tmp_path / "project") as client:
            with trio.fail_after(60):
                _concluded, channels = await client.run(text, "python")
                assert channels["stdout"]["content"] == "HTTP/1.1 403\n", channels["stderr"]["content"]
                # The same is let in from outside, while such a command is live, too.
                live = await client.exec("sleep 1000")
                outside = await trio.to_thread.run_sync(from_outside, knock(PLAINLY, daemon.url))
                assert outside == "HTTP/1.1 101\n"
                assert (await client.asker.call("subscription.cancel", target=live["entry"]))["status"] == 200


def from_outside(text: str) -> str:
    return subprocess.run([sys.executable, "-c", text], stdout=subprocess.PIPE, check=True, text=True).stdout


async def test_a_command_that_hands_its_socket_on_cannot_come_in_either(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with DaemonProcess(environment(tmp_path, PLURNK_SANDBOX="workspace-net")) as daemon:
        text = knock(HANDED_ON, daemon.url) + "\nos._exit(0)"
        async with commander(daemon.url, tmp_path / "project") as client:
            with trio.fail_after(60):
                # A shell waits for all that hold the pipe, as the command's own process is the first to end.
                script = f"python3 - <<'END' | cat\n{text}\nEND"
                _concluded, channels = await client.run(script)
                assert channels["stdout"]["content"] == "HTTP/1.1 403\n", channels["stderr"]["content"]
