"""The private directory of a command where there are no mounts to give it one: home, tmp, script.

Imported by the supervisor, so ``os`` only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as typing has it, without what it costs
if TYPE_CHECKING:
    from collections.abc import Mapping


def make(parent: str, *, links: Mapping[str, str], script: bytes | None) -> str:
    """A new directory in ``parent`` that only this user can enter; returns its path.

    ``links``: what of the real home the private one leads to, by the name in it (``.cargo/bin``).

    Raises:
        OSError: no room, or no right to write there.
    """
    path = os.path.join(parent, f"sandbox-{os.urandom(8).hex()}")  # noqa: PTH118 – pathlib costs the supervisor 5 ms
    os.mkdir(path, 0o700)  # noqa: PTH102
    try:
        _fill(path, links, script)
    except OSError:
        remove(path)
        raise
    return path


def _fill(path: str, links: Mapping[str, str], script: bytes | None) -> None:
    for name in ("home", "tmp"):
        os.mkdir(f"{path}/{name}", 0o700)  # noqa: PTH102
    for name, target in sorted(links.items()):
        link = f"{path}/home/{name}"
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        os.symlink(target, link)  # noqa: PTH211
    if script is not None:
        descriptor = os.open(f"{path}/script", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(script)


def remove(path: str) -> None:
    """Remove it and all that is in it, however deep and whatever its modes; what cannot be removed stays."""
    try:
        while directories := _without_files(path):
            for directory in directories:
                # Up and out: no path gets longer than the system takes, however deep a command has nested.
                for inner in _without_files(directory):
                    os.rename(inner, f"{path}/{os.urandom(8).hex()}")  # noqa: PTH104
                os.rmdir(directory)  # noqa: PTH106
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        return


def _without_files(path: str) -> list[str]:
    """Remove its files; returns its directories, which can be entered then."""
    directories: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)  # noqa: PTH101
                directories.append(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108
    return directories
