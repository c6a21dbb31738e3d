"""Workers without processes: what is asked is done here, on a thread."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import trio

from plurnk.errors import PlurnkError
from plurnk.workers.pool import WorkerFailed
from plurnk.workers.process import perform
from plurnk.workers.tasks import Task

T = TypeVar("T")


class InlineWorkers:
    """Answers as the pool does, but cannot stop what takes too long. ``asked`` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Task[Any]] = []

    async def ask(self, task: Task[T]) -> T:
        self.asked.append(task)
        try:
            return cast("T", await trio.to_thread.run_sync(perform, task))
        except PlurnkError:
            raise
        except Exception as error:
            raise WorkerFailed(f"{type(error).__name__}: {error}") from error
