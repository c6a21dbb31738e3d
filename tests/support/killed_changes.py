"""An accept that is killed at each call, and the next start after it.

``python -m tests.support.killed_changes DIRECTORY CHANGE WAY WHAT``: a program of its own, as it forks. WHAT: ``kill``,
or ``edit`` for an editor that saves the file shortly before. It prints at how many moments it killed, and ends with a
traceback where a change was neither whole nor undone.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from shutil import rmtree

from plurnk.files.beneath import open_root
from plurnk.files.writing import Step, apply, finish, undo
from tests.support.changes import CHANGES, Change, Tree, tree
from tests.support.disk_calls import Moments, only

KILLED_AFTER_EDITOR = 5
"""Moments. What an editor did is seen within as many."""

Happen = Callable[[int], object]


def kill(at: int) -> Happen:
    def happen(moment: int) -> None:
        if moment == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return happen


class Accept:
    """One accepted change in a directory of its own, again and again."""

    def __init__(self, directory: Path, change: Change) -> None:
        self._project = directory / "project"
        self._recorded = directory / "recorded"
        self._change = change
        self._fresh()
        self.before = self.tree()
        with open_root(str(self._project)) as root:
            self.step: Step = change.step(root)
        self._accept()
        self.after = self.tree()
        assert self.before != self.after

    def _fresh(self) -> None:
        rmtree(self._project, ignore_errors=True)
        self._recorded.unlink(missing_ok=True)
        self._change.set_up(self._project)

    def tree(self) -> Tree:
        return tree(self._project)

    def is_recorded(self) -> bool:
        return self._recorded.exists()

    def edit(self) -> None:
        """As an editor saves: a new file, renamed over the old one."""
        saved = self._project / "saved"
        saved.write_bytes(b"edited")
        saved.rename(self._project / self._change.path)

    def _accept(self) -> None:
        """As the daemon does it."""
        with open_root(str(self._project)) as root:
            apply(root, self.step, self._change.new)
            os.close(os.open(self._recorded, os.O_CREAT | os.O_WRONLY))
            finish(root, self.step)

    def _settle(self) -> None:
        with open_root(str(self._project)) as root:
            (finish if self.is_recorded() else undo)(root, self.step)

    def accept(self, happen: Happen) -> bool:
        """Whether it came to its end."""
        self._fresh()
        return _forked(self._accept, happen)

    def next_start(self, happen: Happen | None = None) -> bool:
        """Whether it came to its end, as it does where nothing happens: that needs no process of its own."""
        if happen is not None:
            return _forked(self._settle, happen)
        with Moments(lambda _moment: None).watched():
            self._settle()
        return True


def _forked(run: Callable[[], None], happen: Happen) -> bool:
    """Run it in a process of its own; whether it was not killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with Moments(happen).watched():
                run()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in {0, -signal.SIGKILL}, code
    return code == 0


def kill_everywhere(accept: Accept) -> int:
    """Kill the accept at each moment; of each state that this leaves, kill the next start at each moment, too."""
    seen: list[tuple[bool, Tree]] = []
    for at in count(1):
        through = accept.accept(kill(at))
        state = accept.is_recorded(), accept.tree()
        accept.next_start()
        check(accept, at)
        if state not in seen:
            seen.append(state)
            for again in count(1):
                accept.accept(kill(at))
                settled = accept.next_start(kill(again))
                accept.next_start()
                check(accept, at, again)
                if settled:
                    break
        if through:
            assert accept.is_recorded()
            return at
    raise AssertionError


def check(accept: Accept, *moments: int) -> None:
    expected = accept.after if accept.is_recorded() else accept.before
    assert accept.tree() == expected, (moments, accept.is_recorded(), accept.tree())


def kill_after_an_edit(accept: Accept) -> int:
    """Save the file at each moment, and kill the accept soon after."""
    for at in count(1):
        for later in range(KILLED_AFTER_EDITOR):

            def happen(moment: int, edit: int = at, end: int = at + later) -> None:
                if moment == edit:
                    accept.edit()
                if moment == end:
                    os.kill(os.getpid(), signal.SIGKILL)

            through = accept.accept(happen)
            if through and later == 0:
                return at
            accept.next_start()
            assert {path: held for path, (_, held) in accept.tree().items()} == {"file": b"edited"}, (at, later)
    raise AssertionError


def main(directory: str, change: str, way: str, what: str) -> None:
    os.umask(0o022)
    with only(way):
        accept = Accept(Path(directory), CHANGES[change])
        sys.stdout.write(str(kill_everywhere(accept) if what == "kill" else kill_after_an_edit(accept)))


if __name__ == "__main__":
    main(*sys.argv[1:])
