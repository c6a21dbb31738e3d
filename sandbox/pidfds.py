"""A process held by its pidfd: signals cannot hit another one, and its end can be waited for."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress

import trio


class Held:
    """A process that need not be a child. ``close`` lets go of it.

    Raises:
        ProcessLookupError: there is none.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        # Only one task at a time may wait for a descriptor; the next one finds that the process has ended.
        self._waiting = trio.Lock()
        self._closed = False

    @property
    def has_ended(self) -> bool:
        """Ended; of the first process of a PID namespace: and nothing is left in that."""
        asked = select.poll()  # a new one: threads may ask too
        asked.register(self._fd, select.POLLIN)
        return bool(asked.poll(0))

    async def ended(self) -> None:
        """Wait until it has ended. Several tasks may."""
        async with self._waiting:
            while not self.has_ended:
                await trio.lowlevel.wait_readable(self._fd)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    def reap(self) -> None:
        """Take it from the table of processes if it has ended and that is ours to do.

        Else its parent does, sooner or later: until then there is an entry, of something that holds nothing.
        """
        with suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)

    def close(self) -> None:
        """May be called again."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)


def send_if(pid: int, is_meant: Callable[[int], bool], *numbers: signal.Signals) -> None:
    """Send signals to a process that is known by its number alone, if it is the one that is meant.

    The number may have been given to another since it was read: ``is_meant`` is asked once we hold the process.
    """
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            if is_meant(pid):
                for number in numbers:
                    signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
