"""What holds the processes of a command within their limits: control groups where we may make them, else rlimits."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sandbox import cgroups
from sandbox.cgroups import Maker
from sandbox.policy import Limits

Enforcer: TypeAlias = Literal["cgroup v2", "cgroup v1", "rlimit (per process)", "rlimit (per command)", "none"]

_GROUPS: Final[Mapping[int | None, Enforcer]] = {1: "cgroup v1", 2: "cgroup v2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsReport:
    """What enforces the limits of all processes together; open files and file sizes are rlimits everywhere."""

    memory: Enforcer
    processes: Enforcer


def probe_limits() -> tuple[Maker | None, LimitsReport]:
    """Look once, at start: who can make groups, and what enforces the limits. Takes some milliseconds: no loop."""
    maker = cgroups.probe()
    return maker, report(maker, is_root=os.geteuid() == 0)


def report(maker: Maker | None, *, is_root: bool) -> LimitsReport:
    """What enforces what.

    Without a group memory is limited for each process alone (RLIMIT_AS). RLIMIT_NPROC counts the processes of one
    user within one user namespace (Linux 5.14), so within one command of bubblewrap; the user root is not bound by it.
    """
    memory = maker.version("memory") if maker else None
    processes = maker.version("pids") if maker else None
    return LimitsReport(
        memory=_GROUPS.get(memory, "rlimit (per process)"),
        processes=_GROUPS.get(processes, "none" if is_root else "rlimit (per command)"),
    )


def rlimits(limits: Limits, maker: Maker | None) -> dict[int, int]:
    """The rlimits that are wanted beside the groups of ``maker``."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_size_bytes,
    }
    if maker is None or maker.version("memory") is None:
        wanted[resource.RLIMIT_AS] = limits.memory_bytes
    if maker is None or maker.version("pids") is None:
        wanted[resource.RLIMIT_NPROC] = limits.processes
    return wanted


def confine(pid: int, wanted: Mapping[int, int]) -> None:
    """Set the limits of a process that has no children yet: they will inherit them.

    Raises:
        OSError: a limit could not be set.
    """
    for kind, value in wanted.items():
        _, hard = resource.prlimit(pid, kind)
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)  # to raise it takes a capability
        resource.prlimit(pid, kind, (lower, lower))
