"""What changes files, call by call: something happens before and after each, and file systems that can do less."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, Final

from plurnk.files import renames

WAYS: Final = ("whole", "no exchange", "no links either")
"""What the file system can do: all; neither exchange names nor take only a free one; nor hard links."""

_CALLS: Final = (
    "open", "write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "fchmod", "fchown", "setxattr", "utime",
)  # fmt: skip


@contextmanager
def in_place_of(module: ModuleType | type, name: str, call: Callable[..., Any]) -> Iterator[None]:
    """As unittest.mock has it, which takes a program that forks a thousand times too long to import."""
    real = getattr(module, name)
    setattr(module, name, call)
    try:
        yield
    finally:
        setattr(module, name, real)


def _cannot(*_: object, **__: object) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _no_links(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@contextmanager
def only(way: str) -> Iterator[None]:
    """As if the disk could do no more than ``way`` says."""
    with ExitStack() as stack:
        if way != "whole":
            stack.enter_context(in_place_of(renames, "renameat2", _cannot))
        if way == "no links either":
            stack.enter_context(in_place_of(os, "link", _no_links))
        yield


class Moments:
    """Calls ``happen`` with 1, 2, … before each call. Writes are short, and nothing waits for a disk.

    ``after``: after each call, too. To one who is killed this is the moment before the next.
    """

    def __init__(self, happen: Callable[[int], object], *, after: bool = False) -> None:
        self.passed = 0
        self._happen = happen
        self._after = after
        self._busy = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name in _CALLS:
                stack.enter_context(in_place_of(os, name, self._wrapped(getattr(os, name), name)))
            stack.enter_context(in_place_of(renames, "renameat2", self._wrapped(renames.renameat2, "renameat2")))
            yield

    def _wrapped(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._moment()
            if name == "write":
                fd, data = args
                result = call(fd, data[: (len(data) + 1) // 2])
            else:
                result = None if name == "fsync" else call(*args, **kwargs)
            if self._after:
                self._moment()
            return result

        return watched

    def _moment(self) -> None:
        if self._busy:
            return  # of what happens itself
        self.passed += 1
        self._busy = True
        try:
            self._happen(self.passed)
        finally:
            self._busy = False
