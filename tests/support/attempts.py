"""What a command might try, each attempt alone: a script of the standard library that runs inside and outside.

``python attempts.py FACTS``: FACTS is a JSON object of what there is to try it on. Prints a JSON object: the name
of each attempt and ``done``, or the name of the error that it met.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_PTRACE_SEIZE = 0x4206
_CLONE_NEWUSER = 0x10000000


def _called(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def read_home(facts: dict[str, Any]) -> None:
    Path(facts["home"], ".ssh", "id").read_bytes()


def list_home(facts: dict[str, Any]) -> None:
    if ".ssh" not in os.listdir(facts["home"]):  # noqa: PTH208 – the attempt is the one system call
        raise FileNotFoundError(errno.ENOENT, "")  # another one, which is private


def read_hidden(facts: dict[str, Any]) -> None:
    Path(facts["hidden"], "token").read_bytes()


def read_by_another_name(facts: dict[str, Any]) -> None:
    Path(f"/proc/self/root{facts['hidden']}/token").read_bytes()


def write_outside(facts: dict[str, Any]) -> None:
    Path(facts["outside"], f"new-{os.getpid()}").write_bytes(b"x")


def change_outside(facts: dict[str, Any]) -> None:
    with Path(facts["outside"], "file").open("r+b") as file:
        file.write(b"x")


def truncate_outside(facts: dict[str, Any]) -> None:
    os.truncate(Path(facts["outside"], "file"), 1)


def remove_outside(facts: dict[str, Any]) -> None:
    Path(facts["outside"], "file").unlink()


def change_mode_outside(facts: dict[str, Any]) -> None:
    Path(facts["outside"], "file").chmod(0o640)


def write_root(facts: dict[str, Any]) -> None:
    Path(facts["root"], "made").write_bytes(b"x")


def write_hooks(facts: dict[str, Any]) -> None:
    Path(facts["root"], ".git", "hooks", "pre-commit").write_bytes(b"x")


def write_temporary(_: dict[str, Any]) -> None:
    Path(os.environ["TMPDIR"], "made").write_bytes(b"x")


def connect_tcp(facts: dict[str, Any]) -> None:
    with socket.create_connection(("127.0.0.1", facts["tcp"]), timeout=5):
        pass


def send_udp(facts: dict[str, Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.connect(("127.0.0.1", facts["udp"]))
        sender.send(b"x")
        sender.recv(1)  # the echo: to send alone succeeds on a loopback where nobody listens


def serve_loopback(_: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def connect_path_in_home(facts: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{facts['home']}/socket")


def connect_path_elsewhere(facts: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{facts['outside']}/socket")


def connect_abstract(facts: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{facts['abstract']}")


def signal_outside(facts: dict[str, Any]) -> None:
    os.kill(facts["pid"], 0)


def see_outside(facts: dict[str, Any]) -> None:
    if facts["marker"].encode() not in Path(f"/proc/{facts['pid']}/cmdline").read_bytes():
        raise ProcessLookupError(errno.ESRCH, "")  # another one, of our own PID namespace


def limit_outside(facts: dict[str, Any]) -> None:
    see_outside(facts)
    resource.prlimit(facts["pid"], resource.RLIMIT_CORE, (0, 0))


def read_environment_outside(facts: dict[str, Any]) -> None:
    see_outside(facts)
    Path(f"/proc/{facts['pid']}/environ").read_bytes()


def trace_outside(facts: dict[str, Any]) -> None:
    see_outside(facts)
    _called(_LIBC.ptrace(ctypes.c_long(_PTRACE_SEIZE), ctypes.c_long(facts["pid"]), None, None))


def share_memory(facts: dict[str, Any]) -> None:
    _called(_LIBC.shmget(ctypes.c_int(facts["shm"]), ctypes.c_size_t(1), ctypes.c_int(0)))


def new_user_namespace(_: dict[str, Any]) -> None:
    _called(_LIBC.unshare(ctypes.c_int(_CLONE_NEWUSER)))


def name_the_host(_: dict[str, Any]) -> None:
    socket.sethostname(socket.gethostname())


ATTEMPTS: dict[str, Callable[[dict[str, Any]], None]] = {
    attempt.__name__: attempt
    for attempt in (
        read_home,
        list_home,
        read_hidden,
        read_by_another_name,
        write_outside,
        change_outside,
        truncate_outside,
        change_mode_outside,
        remove_outside,
        write_root,
        write_hooks,
        write_temporary,
        connect_tcp,
        send_udp,
        serve_loopback,
        connect_path_in_home,
        connect_path_elsewhere,
        connect_abstract,
        signal_outside,
        see_outside,
        limit_outside,
        read_environment_outside,
        trace_outside,
        share_memory,
        name_the_host,
        new_user_namespace,  # the last: what it changes holds for those that come after
    )
}


def outcome(attempt: Callable[[dict[str, Any]], None], facts: dict[str, Any]) -> str:
    try:
        attempt(facts)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps({name: outcome(attempt, given) for name, attempt in ATTEMPTS.items()}))
