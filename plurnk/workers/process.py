"""The child process: does one task after the other until its pool has gone.

Started as ``python -P -m plurnk.workers.process``, with requests on its standard input and answers
on its standard output. What a kind of task needs is imported when the first of them comes.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import Any, BinaryIO, Final

import msgspec

from plurnk.content.matching.evaluation import has_match, match_rows
from plurnk.errors import PlurnkError, TooLarge
from plurnk.workers.tasks import (
    ERRORS,
    LENGTH_BYTES,
    OUT_OF_TIME,
    WAITING_FACTOR,
    Done,
    Failed,
    MakePreview,
    MatchEach,
    MatchRows,
    Refused,
    Request,
    Task,
)

MEMORY_BYTES: Final = 2 * 1024**3
"""Address space: a channel of 100 MiB as a text of four bytes a character, twice over, and its matches."""

KEEP_BYTES: Final = 128 * 1024**2
"""A worker that holds more memory than this after a task is not kept; a fresh one holds some 30 MiB."""

NICENESS: Final = 10
"""What burns a processor here shall not slow the daemon down."""

DETAIL_CHARS: Final = 500


def perform(task: Task[Any]) -> Any:
    """Do ``task``, and return its answer.

    Raises:
        PlurnkError: as the function says that it asks for.
        Exception: a preview handler failed.
    """
    match task:
        case MatchRows():
            return match_rows(task.matcher, task.subject, task.max_chars)
        case MatchEach():
            return tuple(has_match(task.matcher, subject) for subject in task.subjects)
        case MakePreview():
            # Here, as what finds plugins takes a third of the time in which a worker starts.
            from plurnk.workers.handlers import make_preview  # noqa: PLC0415

            return make_preview(task)
        case _:
            raise TypeError(f"no worker can do {type(task).__name__}")


# -- the process


def main() -> None:
    """Serve until the end of standard input."""
    _confine()
    requests, answers = _private_pipes()
    # Default action: no Python code can run while a regex or a parser burns. Whoever started us may have
    # blocked the signals.
    for out_of_time in OUT_OF_TIME:
        signal.signal(out_of_time, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OUT_OF_TIME)
    decoder = msgspec.msgpack.Decoder(Request)
    while length := int.from_bytes(requests.read(LENGTH_BYTES), "big"):
        request = decoder.decode(requests.read(length))
        task = request.task.with_contents([requests.read(size) for size in request.sizes])
        _set_timers(task.limit_s)
        answer = _answer(task)
        _set_timers(0)
        del request, task
        message = msgspec.msgpack.encode(msgspec.structs.replace(answer, spent=_resident_bytes() > KEEP_BYTES))
        answers.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)
        answers.flush()


def _answer(task: Task[Any]) -> Done | Refused | Failed:
    try:
        return Done(value=msgspec.Raw(msgspec.msgpack.encode(perform(task))))
    except PlurnkError as error:
        known = next(kind for kind in type(error).__mro__ if ERRORS.get(kind.__name__) is kind)
        return Refused(kind=known.__name__, detail=error.detail)
    except MemoryError:
        return Refused(kind=TooLarge.__name__, detail=f"it takes more than {MEMORY_BYTES // 1024**2} MiB of memory")
    except Exception as error:  # noqa: BLE001 – whatever a plugin raises is an answer, too
        return Failed(detail=f"{type(error).__name__}: {error}"[:DETAIL_CHARS])


def _set_timers(limit_s: float) -> None:
    """Have the kernel end this process; 0: not any more."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    signal.setitimer(signal.ITIMER_REAL, WAITING_FACTOR * limit_s)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the pool, out of reach of what a plugin reads and prints."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests, answers


def _confine() -> None:
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    os.nice(NICENESS)


def _limit(what: int, most: int) -> None:
    """Set a limit to ``most``, or to what we may have at most."""
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 – it is read after every task
        return int(statm.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
