"""Daemons that need not import anything: forked off a process that has done so, for tests that start them by dozens.

``python -m tests.support.forked`` is that process. It is asked over a socket, its standard input, and ends with that.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from tests.support.source import ROOT

_IMPORTED: Final = "plurnk.cli.serve"
_REQUEST_BYTES: Final = 64 * 1024


class Forks:
    """Starts Python's modules as programs, for the length of the block."""

    def __enter__(self) -> Self:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.forked"]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), cwd=ROOT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.wait()

    def start(self, program: Sequence[str], environ: Mapping[str, str]) -> Forked:
        return Forked(self, program, environ)

    def ask(self, request: Mapping[str, Any], fds: Sequence[int] = (), *, timeout_s: float | None = None) -> Any:
        self._socket.settimeout(timeout_s)
        socket.send_fds(self._socket, [json.dumps(request).encode()], list(fds))
        return json.loads(self._socket.recv(_REQUEST_BYTES))


class Forked:
    """One of them; methods are those of ``subprocess.Popen``, as far as they are needed here."""

    def __init__(self, forks: Forks, program: Sequence[str], environ: Mapping[str, str]) -> None:
        self._forks = forks
        self._errors = tempfile.TemporaryFile("r", encoding="utf-8")  # noqa: SIM115 – closed when all was said
        out, theirs = os.pipe()
        self.stdout = os.fdopen(out, encoding="utf-8")
        try:
            request = {"program": list(program), "environ": dict(environ)}
            self.pid: int = forks.ask(request, [theirs, self._errors.fileno()])
        finally:
            os.close(theirs)
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:  # else its number may be another's
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it has said. A second time, nothing."""
        if self.returncode is not None:
            return "", ""
        self.returncode = self._forks.ask({"wait": self.pid}, timeout_s=timeout)
        self._errors.seek(0)
        with self.stdout, self._errors:
            return self.stdout.read(), self._errors.read()


def _become(program: Sequence[str], environ: Mapping[str, str], fds: Sequence[int]) -> None:
    """Be the program, in this process, to its end."""
    status = 1
    try:
        for mine, theirs in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *fds), strict=True):
            os.dup2(theirs, mine)
            os.close(theirs)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = list(program)
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else bool(ended.code)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve() -> None:
    importlib.import_module(_IMPORTED)
    with socket.socket(fileno=os.dup(0)) as requests:
        while True:
            data, fds, _flags, _address = socket.recv_fds(requests, _REQUEST_BYTES, 2)
            if not data:
                return
            request = json.loads(data)
            if "wait" in request:
                answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            else:
                answer = os.fork()
                if answer == 0:
                    requests.close()
                    _become(request["program"], request["environ"], fds)
                for fd in fds:
                    os.close(fd)
            requests.send(json.dumps(answer).encode())


if __name__ == "__main__":
    _serve()
