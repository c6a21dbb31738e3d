"""A look at this machine, once, at start: by doing what is wanted, not by asking for versions."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from sandbox import domain, seccomp
from sandbox.host import Host
from sandbox.limits import LimitsReport, probe_limits

PROBE_LIMIT_S: Final = 5.0
"""For bubblewrap to start ``true``, which takes some milliseconds."""

OLDEST_BUBBLEWRAP: Final = (0, 5)
"""The first with ``--perms``."""

_TRIAL: Final = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--perms", "0755", "--tmpfs", "/run"),
    *("--", "/bin/sh", "-c", ":"),
)
"""What every policy needs."""

_NOTHING: Final = LimitsReport(memory="none", processes="none")


@dataclass(frozen=True, slots=True)
class _Found:
    path: str | None
    version: tuple[int, ...]
    reason: str


async def probe() -> Host:
    """Find out what can be enforced here. Raises nothing: what does not work has its reason in the answer.

    Cancelled: nothing is left.
    """
    found = await _bubblewrap()
    abi, landlock_reason = _landlock()
    maker, limits = None, _NOTHING
    with suppress(OSError):  # then it is as if there were none
        maker, limits = await trio.to_thread.run_sync(probe_limits)
    system = os.uname()
    seccomp_reason = _seccomp(system.machine)
    return Host(
        kernel=system.release,
        machine=system.machine,
        is_root=os.geteuid() == 0,
        bubblewrap=found.path,
        bubblewrap_version=found.version,
        bubblewrap_reason=found.reason,
        landlock_abi=abi,
        landlock_reason=landlock_reason,
        has_seccomp=not seccomp_reason,
        seccomp_reason=seccomp_reason,
        limits=limits,
        maker=maker,
    )


async def _bubblewrap() -> _Found:
    path = shutil.which("bwrap")
    if path is None:
        return _Found(None, (), "bubblewrap is not installed")
    code, said = await _run(path, "--version")
    version = _version(said)
    if code != 0 or version is None:
        return _Found(None, (), f"bubblewrap does not say its version: {said or code}")
    named = ".".join(map(str, version))
    if version < OLDEST_BUBBLEWRAP:
        return _Found(None, version, f"bubblewrap {named} is too old")
    # Root mounts without a user namespace, if it has its capabilities; everybody else needs one.
    for user in ((), ("--unshare-user",)) if os.geteuid() == 0 else (("--unshare-user",),):
        code, said = await _run(path, *user, *_TRIAL)
        if code == 0:
            return _Found(path, version, "")
    return _Found(None, version, f"bubblewrap {named} does not work here: {said or f'exit status {code}'}")


async def _run(*argv: str) -> tuple[int, str]:
    """Exit status, and what it said, on one line. -1: it did not end, or could not be started."""
    with trio.move_on_after(PROBE_LIMIT_S):
        try:
            ended = await trio.run_process(
                argv, capture_stdout=True, capture_stderr=True, check=False, env={"PATH": os.defpath, "LC_ALL": "C"}
            )
        except OSError as error:
            return -1, error.strerror or type(error).__name__
        said = (ended.stdout + ended.stderr).decode("utf-8", "replace").split("\n")
        return ended.returncode, said[0].removeprefix("bwrap: ")
    return -1, f"it has not ended after {PROBE_LIMIT_S:g} s"


def _version(said: str) -> tuple[int, ...] | None:
    """Of ``bubblewrap 0.8.0``."""
    word = said.removeprefix("bubblewrap ").strip()
    parts = word.split(".")
    return tuple(map(int, parts)) if parts and all(part.isdecimal() for part in parts) else None


def _landlock() -> tuple[int, str]:
    try:
        return domain.landlock_abi(), ""
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return 0, "Landlock is not switched on in this kernel (lsm=landlock,… at boot does)"
        return 0, f"this kernel has no Landlock: {error.strerror}"


def _seccomp(machine: str) -> str:
    """Why there is no filter; empty when there is one."""
    if seccomp.program(machine) is None:
        return f"there is no filter for {machine}"
    return "" if domain.has_seccomp() else "this kernel has no seccomp filters"
