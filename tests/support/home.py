"""A person's machine in a temporary folder: ``plurnk`` as a process, with its own state, and its daemon ended after."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.source import ROOT

END_S: Final = 20.0


class Home:
    """``env`` is all that the commands see of this machine."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.state = folder / "state" / "plurnk"
        self.socket = self.state / "run" / "plurnk.sock"
        self.work = folder / "work"
        self.work.mkdir()
        self.env: Mapping[str, str] = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "XDG_STATE_HOME": str(folder / "state"),
            "PLURNK_PORT": "0",
            "OLLAMA_HOST": "127.0.0.1:1",  # Refuses: a server that runs on this machine is not to be found.
            **variables,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "plurnk", *arguments]

    def plurnk(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        return subprocess.run(
            self.command(*arguments),
            env=self.env,
            cwd=self.work,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=END_S,
        )

    def daemon(self) -> int | None:
        """Return the pid of the daemon that holds the database, if there ever was one."""
        lock = self.state / "plurnk.db.lock"
        return int(lock.read_text()) if lock.exists() and lock.read_text() else None

    def stop_daemon(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        pid = self.daemon()
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(descriptor, how)
            assert select.select([descriptor], [], [], END_S)[0], "the daemon does not end"
        finally:
            os.close(descriptor)


@contextmanager
def opened_home(folder: Path, **variables: str) -> Iterator[Home]:
    home = Home(folder, **variables)
    try:
        yield home
    finally:
        home.stop_daemon()
