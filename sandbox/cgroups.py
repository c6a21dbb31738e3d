"""Control groups, version 2 and 1: which of them this process may make groups in, and one group for each command."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from sandbox import names
from sandbox.policy import Limits

logger = logging.getLogger(__name__)

CONTROLLERS: Final = frozenset({"memory", "pids"})

_PROCESSES: Final = "cgroup.procs"
_THREADS: Final = "tasks"
_MYSELF: Final = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A group in which others can be made, and which of ``CONTROLLERS`` it has for them."""

    version: Literal[1, 2]
    directory: Path
    controllers: frozenset[str]


def own_groups(cgroups: str, mounts: str) -> list[Base]:
    """Where the groups of a process are, by its ``/proc/PID/cgroup`` and ``mountinfo``.

    Of version 2 the controllers are left empty: which there are says the file system.
    """
    found: list[Base] = []
    mounted = list(_mounted(mounts))
    for line in cgroups.splitlines():
        _, names_, path = line.split(":", 2)
        version: Literal[1, 2] = 1 if names_ else 2
        controllers = frozenset(names_.split(",")) & CONTROLLERS
        if version == 1 and not controllers:
            continue
        for of_version, options, root, point in mounted:
            if of_version == version and controllers <= options and PurePosixPath(path).is_relative_to(root):
                directory = Path(point, PurePosixPath(path).relative_to(root))
                found.append(Base(version=version, directory=directory, controllers=controllers))
                break
    return found


def _mounted(mounts: str) -> Iterator[tuple[int, frozenset[str], str, str]]:
    """Version, controllers, which group is mounted, and where."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            root, point = (re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), word) for word in before.split()[3:5])
            yield 2 if kind == "cgroup2" else 1, frozenset(options.split(",")), root, point


def probe() -> Maker | None:
    """Find out by making and removing a group beneath our own, or, in version 2, beside it.

    (In version 2 a group that has processes cannot have groups with controllers.) None: we may do neither.
    """
    try:
        own = own_groups(Path("/proc/self/cgroup").read_text("utf-8"), Path("/proc/self/mountinfo").read_text("utf-8"))
    except OSError:
        return None
    return usable(own)


def usable(own: Sequence[Base]) -> Maker | None:
    """Choose among ``own``, and the parents of those of version 2; version 2 is preferred."""
    bases: list[Base] = []
    missing = CONTROLLERS
    for candidate in sorted(own, key=lambda base: -base.version):
        beside = [replace(candidate, directory=candidate.directory.parent)] if candidate.version == 2 else []
        for base in (candidate, *beside):
            offered = base.controllers if base.version == 1 else _enabled(base.directory)
            wanted = replace(base, controllers=offered & missing)
            if wanted.controllers and _works(wanted):
                bases.append(wanted)
                missing -= wanted.controllers
    return Maker(bases) if bases else None


def _enabled(directory: Path) -> frozenset[str]:
    """The controllers that groups in a group of version 2 have, once we have asked for those there are."""
    control = directory / "cgroup.subtree_control"
    with suppress(OSError):
        offered = CONTROLLERS & set((directory / "cgroup.controllers").read_text("ascii").split())
        if not offered <= set(control.read_text("ascii").split()):
            with suppress(OSError):  # it has processes of its own, or is not ours to change
                control.write_text(" ".join(f"+{name}" for name in sorted(offered)), "ascii")
        return CONTROLLERS & set(control.read_text("ascii").split())
    return frozenset()


def _works(base: Base) -> bool:
    # To move a process one must be allowed to write into the group that is above both ends.
    if not os.access(base.directory / _PROCESSES, os.W_OK):
        return False
    try:
        group = Maker([base]).make(names.new_name(), Limits())
    except OSError:
        return False
    try:
        with group.births():
            pass
    except OSError:
        return False
    finally:
        is_gone = group.remove()
    return is_gone


class Maker:
    """Makes groups; ``probe`` finds it."""

    def __init__(self, bases: Iterable[Base]) -> None:
        self.bases = tuple(bases)

    def version(self, controller: str) -> int | None:
        """Of what enforces ``memory`` or ``pids``; None: nothing here."""
        return next((base.version for base in self.bases if controller in base.controllers), None)

    def make(self, name: str, limits: Limits) -> Cgroup:
        """Make an empty group with these limits.

        Raises:
            OSError: it cannot be made; nothing is left.
        """
        group = Cgroup((base, base.directory / name) for base in self.bases)
        try:
            group.create(limits)
        except BaseException:
            group.remove()
            raise
        return group

    def left_over(self) -> Iterator[Cgroup]:
        """The groups that dead daemons have left."""
        found: dict[str, list[tuple[Base, Path]]] = {}
        for base in self.bases:
            for directory in base.directory.glob(f"{names.PREFIX}*"):
                if names.is_left_over(directory.name):
                    found.setdefault(directory.name, []).append((base, directory))
        return map(Cgroup, found.values())


class Cgroup:
    """A group of processes with limits of their own: in one hierarchy, or in one for each controller."""

    def __init__(self, places: Iterable[tuple[Base, Path]]) -> None:
        self._places = tuple(places)

    @property
    def name(self) -> str:
        return self._places[0][1].name

    def create(self, limits: Limits) -> None:
        for base, directory in self._places:
            directory.mkdir()
            for name, value in _settings(base, directory, limits).items():
                _write(directory / name, value)

    @contextmanager
    def births(self) -> Iterator[None]:
        """What this thread starts in the block is born in the group, in the hierarchies of version 1.

        There a thread may go into a group and come back in a tenth of a millisecond, on an event loop, too. To move
        another process the kernel stops all that is born and dies on the machine, and may take 15 ms until it can: so
        it is in version 2, where groups are of whole processes.

        Raises:
            OSError: it cannot be entered.
        """
        entered: list[Base] = []
        try:
            for base, directory in self._places:
                if base.version == 1:
                    _write(directory / _THREADS, _MYSELF)
                    entered.append(base)
            yield
        finally:
            for base in entered:
                try:
                    _write(base.directory / _THREADS, _MYSELF)
                except OSError:
                    logger.exception("%s cannot be left again", self.name)

    def enter(self, pid: int, *, born_here: bool = False) -> None:
        """Move a process in; its children will be born here. Not on the event loop: see ``births``.

        Raises:
            OSError: there is none, or it may not be moved.
        """
        for base, directory in self._places:
            if base.version == 2 or not born_here:
                _write(directory / _PROCESSES, str(pid))

    def pids(self) -> list[int]:
        """Which processes are in it."""
        directory = self._places[0][1]
        with suppress(OSError):
            return [int(line) for line in (directory / _PROCESSES).read_text("ascii").split()]
        return []

    def oom_kills(self) -> int:
        """How many of its processes the kernel has ended for want of memory within the limit."""
        for base, directory in self._places:
            if "memory" in base.controllers:
                events = directory / ("memory.events" if base.version == 2 else "memory.oom_control")
                with suppress(OSError):
                    words = events.read_text("ascii").split()
                    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
        return 0

    def kill(self) -> None:
        """Kill what is in it. For the groups of dead daemons: a live one holds its processes by pidfd."""
        for pid in self.pids():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> bool:
        """Remove it if it is empty; whether it is gone now. May be called again."""
        gone = True
        for _, directory in self._places:
            try:
                directory.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                gone = False
        return gone


def _write(path: Path, text: str) -> None:
    """In one call, as the kernel wants it, and in half the time of ``write_text``."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def _settings(base: Base, directory: Path, limits: Limits) -> dict[str, str]:
    """What to write into which file, in this order."""
    settings: dict[str, str] = {}
    if "pids" in base.controllers:
        settings["pids.max"] = str(limits.processes)
    if "memory" not in base.controllers:
        return settings
    if base.version == 1:
        settings["memory.limit_in_bytes"] = str(limits.memory_bytes)
        swap = {"memory.memsw.limit_in_bytes": str(limits.memory_bytes)}  # memory and swap together
    else:
        settings["memory.max"] = str(limits.memory_bytes)
        settings["memory.oom.group"] = "1"  # half a tree is of no use to anybody
        swap = {"memory.swap.max": "0"}
    return settings | {name: value for name, value in swap.items() if (directory / name).exists()}
