"""What the processes and control groups of a command are called, so that those of a dead daemon are known."""

from __future__ import annotations

import itertools
import os
from typing import Final

from sandbox import proc

PREFIX: Final = "plurnk-sandbox-"

_count = itertools.count(1)


def own_prefix() -> str:
    """What all names of this process begin with; no other process has had it since the machine was started."""
    own = proc.stat(os.getpid())
    assert own is not None
    return f"{PREFIX}{own.pid}.{own.started_ticks}-"


def new_name() -> str:
    """``plurnk-sandbox-<pid>.<when this process started>-<n>``."""
    return f"{own_prefix()}{next(_count)}"


def is_left_over(name: str) -> bool:
    """Whether whoever gave this name is gone."""
    owner, dash, count = name.removeprefix(PREFIX).partition("-")
    pid, dot, started = owner.partition(".")
    if not (name.startswith(PREFIX) and dash and dot and all(part.isdecimal() for part in (pid, started, count))):
        return False
    found = proc.stat(int(pid))
    return found is None or found.state in {"Z", "X"} or found.started_ticks != int(started)
