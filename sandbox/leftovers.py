"""What a daemon that is killed may leave: who takes it away at once, and who takes away the rest.

The commands themselves end by their parent-death signals. What can be left is a bubblewrap that was just being started
(it runs nothing, and waits for our word for ever), and empty control groups.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sandbox import names, proc
from sandbox.cgroups import Maker
from sandbox.pidfds import send_if
from sandbox.process import KILL_LIMIT_S

_LOOK_AGAIN_S: Final = 0.005

_KEEPER: Final = """
read -r line
for pass in 1 2 3; do
    for process in /proc/[0-9]*; do
        name=
        { read -r name <"$process/cmdline"; } 2>/dev/null
        case $name in "$1"*) kill -KILL "${process#/proc/}" ;; esac
    done
    sleep 0.3
done
"""
"""Three times, as one that dies may just have made another."""


@contextmanager
def open_keeper() -> Iterator[None]:
    """Have a shell wait for the length of the block: should we be killed, it kills what of ours is left.

    One is enough for all commands of a process. It takes a megabyte, and no time.

    Raises:
        OSError: it could not be started.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            keeper = subprocess.Popen(  # noqa: S603 – a constant, and our own name
                ["/bin/sh", "-c", _KEEPER, "keeper", names.own_prefix()],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},
                cwd="/",
                start_new_session=True,  # what is typed at our terminal is not for it
            )
        finally:
            os.close(read)
        try:
            yield
        finally:
            keeper.kill()
            keeper.wait()  # at once: it is a shell that reads
    finally:
        os.close(write)


def sweep(maker: Maker | None) -> list[str]:
    """Kill the trees of dead daemons and remove their groups; the names of those that were found.

    For the start of a daemon. Reads all of /proc and waits for what it has killed: not on the event loop.
    """
    found: set[str] = set()
    for pid in proc.pids():
        name = _left_over(pid)
        if name is not None:
            found.add(name)
            send_if(pid, lambda pid: _left_over(pid) is not None, signal.SIGKILL)
    if maker is not None:
        for group in maker.left_over():
            found.add(group.name)
            group.kill()
            deadline = time.monotonic() + KILL_LIMIT_S
            while not group.remove() and time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN_S)
    return sorted(found)


def _left_over(pid: int) -> str | None:
    """The name of a command of a dead daemon, if this is its bubblewrap."""
    name = next(iter(proc.command_line(pid)), "")
    return name if names.is_left_over(name) else None
