"""What a command may do, as values. Nothing here touches the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Profile: TypeAlias = Literal["read-only", "workspace", "workspace-net", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of all the processes of a command together, but for ``open_files`` and ``file_size_bytes``: each process's."""

    processes: int = 512
    memory_bytes: int = 4 * 1024**3
    open_files: int = 1024
    file_size_bytes: int = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one command may do. All paths are absolute; those of ``root`` and ``writable`` are real (no links).

    ``root`` is the project: writable but in ``read-only``. ``tmp`` is the directory that the command sees as its
    private ``/tmp``; None: an empty one that goes with the command. ``writable`` and ``network`` are granted beyond
    the profile. ``hidden`` files and directories cannot be read whatever else is said here.
    """

    profile: Profile
    root: str
    tmp: str | None = None
    writable: tuple[str, ...] = ()
    network: bool = False
    hidden: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def has_network(self) -> bool:
        return self.network or self.profile in {"workspace-net", "off"}

    @property
    def root_is_writable(self) -> bool:
        return self.profile != "read-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. ``env`` is taken as it is, so it has been through ``environment.allowed`` before.

    ``script`` is put into a private file that only this command can read; its path is added to ``argv``.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    script: bytes | None = None
