"""What of a git repository a command may not change: what makes git run programs, for whoever uses it later.

Those are ``hooks``, ``config`` and ``config.worktree``; and ``commondir``, which leads to another ``config``. They
are held read-only, and what contains them is bound onto itself, as a mount point cannot be renamed and replaced.

What bubblewrap cannot do is keep a name free: a mount needs something to lie upon. So:

- no ``hooks``: an empty directory of that name is made (``git init`` makes it, too) and held empty.
- no ``config``, or a link in its place or in that of ``hooks``; ``extensions.worktreeConfig`` without a
  ``config.worktree``; a ``commondir`` where none belongs; more submodules than MANY: the whole is read-only.
- a ``commondir`` that appears in the meantime is taken away afterwards, by ``without_redirections``.

Not held: a ``.git`` that a command itself makes (one that it exchanges for a link while others start is not bound,
either: ``mounts`` sees that), repositories beneath the root other than submodules, a ``.git``
that is a symbolic link, and scripts in the working tree that the configuration names (``core.hooksPath``).
"""

# Paths are words of a command line here, so they stay text; some hundred are looked at for each command.
# ruff: noqa: PTH118, PTH119, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sandbox.links import open_real, real
from sandbox.paths import contains, is_beneath

Access: TypeAlias = Literal["writable", "read-only", "empty"]

MANY: Final = 16
"""Submodules or linked worktrees: each costs about half a millisecond at every start."""

_READ_BYTES: Final = 64 * 1024

_SECTION: Final = re.compile(r"^\s*\[\s*(\w+)[^\]]*\]")
_KEY: Final = re.compile(r"^\s*(?:\[[^\]]*\]\s*)?(\w+)\s*(?:=\s*(.*?)\s*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One path and what may be done with it. ``empty`` is a directory that is not there, or is to seem empty."""

    path: str
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What is held; and files that are not there, and have to go again if they are there afterwards."""

    held: tuple[Held, ...] = ()
    absent: tuple[str, ...] = ()


NONE: Final = Repository()


def look(top: str) -> Repository:
    """The repository of the working tree (or the bare repository) at ``top``, a real path. Reads a few small files."""
    dot_git = f"{top}/.git"
    mode = _mode(dot_git)
    if stat.S_ISDIR(mode):
        return _directory(dot_git)
    if stat.S_ISREG(mode):
        return _pointed_to(top, dot_git)
    if stat.S_ISLNK(mode):
        git = real(dot_git)
        return _directory(git) if contains(top, git) and _is_git_directory(git) else NONE
    return _inside(top) if _is_git_directory(top) and _is_file(f"{top}/config") else NONE


def look_above(root: str, home: str | None) -> Repository:
    """The repository that ``root`` is a subdirectory of, to be seen and not to be touched.

    One in ``home`` itself (people keep their dotfiles so) is left hidden.
    """
    for directory in _above(root):
        mode = _mode(f"{directory}/.git")
        if not mode or directory == home:
            continue
        if stat.S_ISDIR(mode) and _is_git_directory(f"{directory}/.git"):
            return Repository(held=(Held(path=f"{directory}/.git", access="read-only"),))
        if stat.S_ISREG(mode):
            found = _pointed_to(directory, f"{directory}/.git")
            paths = [held.path for held in found.held]
            tops = (path for path in paths if not any(is_beneath(path, other) for other in paths))
            return Repository(held=tuple(Held(path=path, access="read-only") for path in tops))
        return NONE
    return NONE


def without_redirections(absent: tuple[str, ...]) -> tuple[str, ...]:
    """Remove what has appeared of ``absent`` (a Repository's), and say what that was.

    Their directory is opened without following any link, as it is in the reach of commands.
    """
    removed: list[str] = []
    for path in absent:
        directory, name = os.path.split(path)
        try:
            descriptor = open_real(directory, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            continue
        except OSError:
            removed.append(f"{path} (it cannot be removed)")
        else:
            removed.append(path)
        finally:
            os.close(descriptor)
    return tuple(removed)


def _directory(git: str) -> Repository:
    """A ``.git`` directory: a mount point of its own, and what is in it."""
    if _entries(git) == []:
        return Repository(held=(Held(path=git, access="writable"),))
    inside = _inside(git)
    if inside.held[:1] == (Held(path=git, access="read-only"),):
        return inside
    return Repository(held=(Held(path=git, access="writable"), *inside.held), absent=inside.absent)


def _inside(git: str, *, linked: bool = False) -> Repository:
    """What is held in the git directory ``git``. ``linked``: it is that of a linked worktree or a submodule."""
    whole = Repository(held=(Held(path=git, access="read-only"),))
    config, hooks = f"{git}/config", f"{git}/hooks"
    worktree_config = f"{git}/config.worktree"
    if not _is_file(config) or _mode(f"{git}/commondir") or not (_is_directory(hooks) or not _mode(hooks)):
        return whole
    held = [
        Held(path=config, access="read-only"),
        Held(path=hooks, access="read-only" if _is_directory(hooks) else "empty"),
    ]
    if _is_file(worktree_config):
        held.append(Held(path=worktree_config, access="read-only"))
    elif _mode(worktree_config) or "true" in _values(config, "extensions", "worktreeconfig"):
        return whole
    absent = [f"{git}/commondir"]
    for found in () if linked else (_submodules(f"{git}/modules"), _worktrees(f"{git}/worktrees")):
        held += found.held
        absent += found.absent
    return Repository(held=tuple(held), absent=tuple(absent))


def _submodules(modules: str) -> Repository:
    """Their git directories, whose names may have slashes: all of the directories on the way are held in place."""
    if not _mode(modules):
        return NONE
    whole = Repository(held=(Held(path=modules, access="read-only"),))
    if not _is_directory(modules):
        return whole
    held, absent = [Held(path=modules, access="writable")], list[str]()
    waiting = [modules]
    while waiting:
        paths = _entries(waiting.pop())
        if paths is None:
            return whole
        for path in paths:
            if not _is_directory(path) or len(held) > MANY * 4:
                return whole
            if not _is_git_directory(path) and not _is_file(f"{path}/config"):
                held.append(Held(path=path, access="writable"))
                waiting.append(path)
                continue
            inside = _directory(path)
            held += inside.held
            absent += inside.absent
    return Repository(held=tuple(held), absent=tuple(absent))


def _worktrees(worktrees: str) -> Repository:
    """The git directories of linked worktrees, held in place for their ``commondir``."""
    if not _mode(worktrees):
        return NONE
    whole = Repository(held=(Held(path=worktrees, access="read-only"),))
    paths = _entries(worktrees) if _is_directory(worktrees) else None
    if paths is None:
        return whole
    held = [Held(path=worktrees, access="writable")]
    for path in paths:
        if not _is_directory(path) or len(held) > MANY * 4:
            return whole
        held += _linked(path)
    return Repository(held=tuple(held))


def _linked(git: str) -> Iterator[Held]:
    yield Held(path=git, access="writable")
    for name in ("commondir", "config.worktree", "gitdir"):
        if _is_file(f"{git}/{name}"):
            yield Held(path=f"{git}/{name}", access="read-only")


def _pointed_to(top: str, dot_git: str) -> Repository:
    """A ``.git`` file, and the git directory that it names if that one names it, too.

    The file is in reach of every earlier command, so it is believed only as far as the git directory, which was
    not, agrees: else it could name somebody's home directory, which would be bound, and writable.
    """
    pointer = Held(path=dot_git, access="read-only")
    text = _text(dot_git)
    if not text.startswith("gitdir:"):
        return Repository(held=(pointer,))
    git = _resolved(top, text.removeprefix("gitdir:"))
    common = os.path.dirname(os.path.dirname(git))
    if (
        os.path.basename(os.path.dirname(git)) == "worktrees"
        and _resolved(git, _text(f"{git}/gitdir")) == real(dot_git)
        and _resolved(git, _text(f"{git}/commondir")) == common
        and _is_git_directory(common)
    ):
        found = _directory(common)
        own = () if Held(path=git, access="writable") in found.held else tuple(_linked(git))
        return Repository(held=(pointer, *found.held, *own), absent=found.absent)
    trees = _values(f"{git}/config", "core", "worktree")
    if _is_git_directory(git) and [_resolved(git, tree) for tree in trees] == [top]:
        found = _directory(git)
        return Repository(held=(pointer, *found.held), absent=found.absent)
    return Repository(held=(pointer,))


def _values(config: str, section: str, key: str) -> list[str]:
    """The values of ``section.key`` in a git configuration, read plainly: no includes, no continued lines."""
    values: list[str] = []
    current = ""
    for line in _text(config).splitlines():
        if header := _SECTION.match(line):
            current = header[1].lower()
        if current == section and (found := _KEY.match(line)) and found[1].lower() == key:
            values.append("true" if found[2] is None else found[2].strip('"'))
    return [("true" if value.lower() in {"true", "yes", "on", "1"} else value) for value in values]


def _entries(directory: str) -> list[str] | None:
    """What is in it, sorted; None when it cannot be read."""
    try:
        return sorted(f"{directory}/{name}" for name in os.listdir(directory))
    except OSError:
        return None


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = str(os.path.dirname(path))
        yield path


def _resolved(directory: str, text: str) -> str:
    # Git sees a text up to its first NUL, and Python takes no path with one.
    return real(os.path.join(directory, text.partition("\0")[0].strip()))


def _is_git_directory(path: str) -> bool:
    return _is_file(f"{path}/HEAD") and _is_directory(f"{path}/objects") and _is_directory(f"{path}/refs")


def _is_file(path: str) -> bool:
    return stat.S_ISREG(_mode(path))


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(_mode(path))


def _mode(path: str) -> int:
    """0: nothing there, or out of reach."""
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return 0


def _text(path: str) -> str:
    """The beginning of a regular file; nothing of what is none or out of reach."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return file.read(_READ_BYTES).decode("utf-8", "surrogateescape") if is_file else ""
    except (OSError, ValueError):
        return ""
