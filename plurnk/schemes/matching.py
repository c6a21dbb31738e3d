"""Matchers at work for an operation: on worker processes, and never longer than the operation may (SPEC 2.6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import trio

from plurnk.content.matching.subject import Rows, Subject
from plurnk.errors import TookTooLong
from plurnk.language.ast import Matcher
from plurnk.plugins.api import Call
from plurnk.store.query import Snapshot
from plurnk.workers.tasks import MatchEach, MatchRows

T = TypeVar("T")

BATCH_BYTES: int = 4 * 1024 * 1024
"""Contents that go to a worker together: as many as reach this, so that many small ones cost few hops."""

BATCH_ITEMS: int = 512

SubjectOf: TypeAlias = Callable[[Snapshot, T], Subject | None]
"""The content of a candidate; None when it has none that could match."""

Load: TypeAlias = Callable[[Sequence[T]], Awaitable[Sequence[Subject | None]]]
"""The contents of the first of the candidates, at least of one: as many as are to be asked about together."""


@contextmanager
def match_limit(call: Call) -> Iterator[None]:
    """Bound the matching of one operation; without a matcher there is nothing to bound.

    Raises:
        TookTooLong: the block took longer than ``call.match_timeout_s``; what it had asked for is stopped.
    """
    if call.statement.body is None:
        yield
        return
    with trio.move_on_after(call.match_timeout_s):
        try:
            yield
        except TookTooLong:
            pass  # the worker's own limit, which is as long, was first
        else:
            return
    raise TookTooLong("matcher ran too long")


async def rows(call: Call, matcher: Matcher, subject: Subject | None, max_chars: int) -> Rows | None:
    """The rows that ``matcher`` finds. To be called within ``match_limit``.

    Raises:
        PlurnkError: as ``content.matching.match_rows``.
    """
    if subject is None:
        return None
    limit_s = call.match_timeout_s
    return await call.workers.ask(MatchRows(matcher=matcher, subject=subject, max_chars=max_chars, limit_s=limit_s))


async def having(call: Call, matcher: Matcher, candidates: Sequence[T], subject_of: SubjectOf[T]) -> list[T]:
    """Those of ``candidates`` whose content has a match, in their order. To be called within ``match_limit``."""
    return await having_loaded(
        call, matcher, candidates, lambda some: call.store.read(partial(_batch, some, subject_of))
    )


async def having_loaded(call: Call, matcher: Matcher, candidates: Sequence[T], load: Load[T]) -> list[T]:
    """The same for contents that do not come from the store."""
    found: list[T] = []
    done = 0
    while done < len(candidates):
        subjects = await load(candidates[done : done + BATCH_ITEMS])
        present = tuple(subject for subject in subjects if subject is not None)
        answers: tuple[bool, ...] = ()
        if present:
            task = MatchEach(matcher=matcher, subjects=present, limit_s=call.match_timeout_s)
            answers = await call.workers.ask(task)
        asked = [candidates[done + n] for n, subject in enumerate(subjects) if subject is not None]
        found += [candidate for candidate, matches in zip(asked, answers, strict=True) if matches]
        done += len(subjects)
    return found


def _batch(candidates: Sequence[T], subject_of: SubjectOf[T], db: Snapshot) -> list[Subject | None]:
    return batch(candidates, partial(subject_of, db))


def batch(candidates: Sequence[T], subject_of: Callable[[T], Subject | None]) -> list[Subject | None]:
    """The subjects of the first candidates, at least of one, until they weigh BATCH_BYTES."""
    subjects: list[Subject | None] = []
    size_bytes = 0
    for candidate in candidates:
        subject = subject_of(candidate)
        subjects.append(subject)
        size_bytes += len(subject.data) if subject is not None else 0
        if size_bytes >= BATCH_BYTES:
            break
    return subjects
