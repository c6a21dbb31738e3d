"""``plurnk serve`` that kills itself: ``python -m tests.support.killable_daemon FROM MOMENT``.

From its first accepted change of files on (FROM is ``accept``), or the first that its start undoes or finishes
(``start``), the moments before each call that changes files, and before and after each commit, are counted; at that of
this number (from 1) it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from plurnk.cli.app import main
from plurnk.schemes import disk
from plurnk.store import database
from tests.support.disk_calls import Moments, in_place_of


class Bomb:
    def __init__(self, moment: int) -> None:
        self._left = moment
        self._is_armed = False

    def tick(self, _moment: int = 0) -> None:
        if self._is_armed:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def arming(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def armed(*args: Any) -> Any:
            self._is_armed = True
            return call(*args)

        return armed

    def around(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self.tick()
            committed = commit(*args)
            self.tick()
            return committed

        return watched


FROM: Final = {"accept": "_plan", "start": "_settle"}


def serve(begin: str, moment: int) -> int:
    bomb = Bomb(moment)
    with (
        in_place_of(disk, FROM[begin], bomb.arming(getattr(disk, FROM[begin]))),
        in_place_of(database._Writer, "_commit", bomb.around(database._Writer._commit)),
        Moments(bomb.tick).watched(),
    ):
        return main(["serve"])


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], int(sys.argv[2])))
