"""Git, asked one thing: what is ignored in a repository.

The repository may be hostile, and its configuration can name programs to run (core.fsmonitor) and places outside to
look at (core.worktree, include.path). So none of it is read: git takes its index from the repository and all that
working trees share (GIT_COMMON_DIR) from a place of ours, empty but for info/exclude. The user's own configuration
counts.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import trio

MAX_RULES_BYTES: Final = 1024 * 1024
"""Of a file with patterns. Real ones have some kilobytes."""

_LIMIT_S: Final = 5.0
"""A repository of 100,000 files takes 0.1 s; a pipe in the place of its index would take for ever."""

_LIMITS: Final = 'ulimit -v 4194304 && ulimit -f 131072 && exec "$@"'
"""KiB of memory, for git reads a .gitignore of any size into it, and 512-byte blocks of answer."""

_COMMAND: Final = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--literal-pathspecs"),
    *("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z", "--"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    directory: str
    """Where its .git is; absolute, or by way of an open descriptor, which has to stay open."""
    exclude: bytes
    """Its info/exclude."""


def repository(directory: str) -> Repository | None:
    """The repository whose working tree begins at ``directory``, that of a submodule or a linked one too; else None."""
    git_dir = f"{directory}/.git"
    if not os.path.lexists(git_dir):  # of nearly all directories
        return None
    if not _is_dir(git_dir):
        said = small_file(git_dir)
        if not said.startswith(b"gitdir: "):
            return None
        git_dir = _joined(directory, said.removeprefix(b"gitdir: "))
    common = _joined(git_dir, small_file(f"{git_dir}/commondir"))
    if not (os.path.lexists(f"{git_dir}/HEAD") and _is_dir(f"{common}/objects")):
        return None
    return Repository(directory=directory, exclude=small_file(f"{common}/info/exclude"))


def small_file(path: str, *, dir_fd: int | None = None) -> bytes:
    """What is in a regular file, whole lines up to MAX_RULES_BYTES; nothing when there is none that can be read."""
    try:
        pinned = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except (OSError, ValueError):  # ValueError: a .git file may say any path, with NUL too
        return b""
    try:
        if not stat.S_ISREG(os.fstat(pinned).st_mode):
            return b""
        with Path(f"/proc/self/fd/{pinned}").open("rb") as file:
            data = file.read(MAX_RULES_BYTES)
    except OSError:
        return b""
    finally:
        os.close(pinned)
    return data if len(data) < MAX_RULES_BYTES else data[: data.rfind(b"\n") + 1]


def ignored(asked: Repository, scope: str) -> frozenset[str] | None:
    """What is there, not tracked and ignored, from the repository's directory on; directories end with ``/``.

    What is in an ignored directory is not named. For a thread of ``trio.to_thread.run_sync``.

    Args:
        asked: the repository.
        scope: only what is at or beneath this path, or leads there; "" for all.

    Returns:
        None: git is not there, or has no answer.

    Cancelled: git was killed and reaped.
    """
    program = shutil.which("git")
    if program is None or not Path(program).is_absolute():  # PATH has ".": the repository itself could bring a "git"
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="plurnk-git-") as ours:
            for name in ("objects", "refs", "info"):
                Path(ours, name).mkdir()
            Path(ours, "info", "exclude").write_bytes(asked.exclude)
            with Path(ours, "answer").open("w+b") as answer:
                if not trio.from_thread.run(_ask, program, asked.directory, scope, ours, answer):
                    return None
                answer.seek(0)
                return frozenset(os.fsdecode(answer.read()).split("\0"))
    except (OSError, ValueError):  # ValueError: a scope with NUL
        return None


async def _ask(program: str, directory: str, scope: str, common_dir: str, answer: IO[bytes]) -> bool:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    told = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_COMMON_DIR": common_dir, "GIT_OPTIONAL_LOCKS": "0"}
    with trio.move_on_after(_LIMIT_S):
        finished = await trio.run_process(
            ["/bin/sh", "-c", _LIMITS, "sh", program, *_COMMAND, *([scope] if scope else [])],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            check=False,
            cwd=directory,
            env=own | told,
        )
        return finished.returncode == 0
    return False


def _is_dir(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 – Path's raises where permission is denied or a name is too long


def _joined(directory: str, said: bytes) -> str:
    return os.path.join(directory, os.fsdecode(said.rstrip(b"\r\n")))  # noqa: PTH118 – keeps ".." behind a link as it is
