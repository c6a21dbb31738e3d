"""Faults on purpose: something happens at the Nth step of a task, or the Nth write fails."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from trio.lowlevel import Task

from plurnk.store.database import Store, StoreFailed, Tx

T = TypeVar("T")


async def until_it_misses(attempt: Callable[[int], Awaitable[bool]], *, at_least: int) -> None:
    """Run ``attempt`` with 1, 2, … until it says that the fault of that number no longer struck."""
    for number in itertools.count(1):
        if not await attempt(number):
            assert number > at_least
            return


class AtStep(trio.abc.Instrument):
    """Calls ``happen`` after the ``number``th step (from 1) of the first task that ``chosen`` accepts."""

    def __init__(self, number: int, chosen: Callable[[Task], bool], happen: Callable[[], object]) -> None:
        self._left = number
        self._chosen = chosen
        self._happen = happen
        self._task: Task | None = None

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def after_task_step(self, task: Task) -> None:
        if self._task is None and self._chosen(task):
            self._task = task
        if task is not self._task or self._left <= 0:
            return
        self._left -= 1
        if self._left == 0:
            self._happen()


class FailingWrites:
    """Lets the ``number``th write (from 1) of a store fail as a bad disk would; the others pass."""

    def __init__(self, store: Store, number: int) -> None:
        self._write = store.write
        self._left = number
        store.write = self.write  # type: ignore[method-assign]

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def mend(self) -> bool:
        """Let all writes pass from here on. Whether one has failed."""
        happened = self.happened
        self._left = 0
        return happened

    async def write(self, unit: Callable[[Tx], T], *, weight_bytes: int = 0) -> T:
        self._left -= 1
        if self._left == 0:
            raise StoreFailed("database error: disk I/O error")
        return await self._write(unit, weight_bytes=weight_bytes)
