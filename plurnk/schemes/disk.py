"""Carrying out an accepted change of files: whole or not at all, together with its row in the log (SPEC 5.2).

What is about to be done is written down first, with what the files hold; then it is done; then the operation's answer
is recorded. That is the moment at which it has happened: whatever ends it before, here or at the next start, undoes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import trio

from plurnk.errors import Malformed, NotFound, OutOfRoom, PlurnkError
from plurnk.files import writing
from plurnk.files.beneath import Root, open_root
from plurnk.files.writing import Step
from plurnk.plugins.api import Accepted, Call, OpResult, Store, Tx
from plurnk.store import file_versions, proposals
from plurnk.store.database import StoreFailed
from plurnk.store.file_versions import Before

logger = logging.getLogger(__name__)

SETTLE_LIMIT_S: float = 10.0
"""How long a change that was cut off may take to be undone or finished; after that the next start does it."""

RETRY_S: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file: what it held when the change was shown, and what it is to hold; None: it is not there.

    ``mode``: of a file that is made; None: what the umask leaves of 0666.
    """

    path: str
    base: bytes | None
    new: bytes | None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    """A step with its content, and what is kept of the file."""

    step: Step
    data: bytes | None
    before: Before


async def carry_out(
    call: Call, accepted: Accepted, changes: Sequence[Change], record: Callable[[Tx], OpResult]
) -> None:
    """Make ``changes`` in their order, and record in one transaction what ``record`` writes and returns.

    Raises:
        Stale: a file is not what it was; nothing has changed.
        PlurnkError: it cannot be written, or ``record`` raised; nothing has changed.

    Cancelled: all of it has happened, or nothing.
    """
    root = call.project_root
    if root is None:
        raise Malformed("session has no project_root; set one with session.set_root")
    planned, files = await trio.to_thread.run_sync(_plan, root, call.hidden, changes)
    async with _alone_with(files):
        await _carry_out(call, accepted, root, planned, record)


async def _carry_out(
    call: Call, accepted: Accepted, root: str, planned: Sequence[_Planned], record: Callable[[Tx], OpResult]
) -> None:
    row_id, store = accepted.log_entry_id, call.store
    steps = [one.step for one in planned]

    def intend(tx: Tx) -> None:
        proposals.intend(tx, row_id, msgspec.json.encode(steps))
        for one in planned:
            file_versions.keep(
                tx, session_id=call.turn.session_id, log_entry_id=row_id, project_root=root, before=one.before
            )

    try:
        await store.write(
            intend, weight_bytes=sum(len(one.before.content.data) for one in planned if one.before.content)
        )
        await trio.to_thread.run_sync(_apply, root, call.hidden, planned)
        await store.write(lambda tx: accepted.record(tx, record(tx)))
    finally:
        # Shield: a file must not stay half way between two contents, nor its temporary copy beside it (SPEC 5.2).
        with trio.move_on_after(SETTLE_LIMIT_S, shield=True):
            await _see_settled(store, row_id, root, call.hidden, steps)


_changing: Final[dict[str, trio.Lock]] = {}
"""The files that are being changed, by their real paths: whichever session, or engine, is about to."""


@asynccontextmanager
async def _alone_with(files: Collection[str]) -> AsyncIterator[None]:
    """Have these files to ourselves: of two changes at once each could take the other's for what was there before."""

    def forget(path: str, lock: trio.Lock) -> None:
        if not lock.locked() and _changing.get(path) is lock:
            del _changing[path]

    async with AsyncExitStack() as held:
        for path in sorted(files):
            lock = _changing.setdefault(path, trio.Lock())
            held.callback(forget, path, lock)
            await held.enter_async_context(lock)
        yield


def _plan(project_root: str, hidden: Sequence[str], changes: Sequence[Change]) -> tuple[list[_Planned], frozenset[str]]:
    """The steps, and the real paths of their files."""
    with open_root(project_root, hidden) as root:
        planned = [_planned(root, change) for change in changes]
        return planned, frozenset(f"{root.path}/{one.step.path}" for one in planned)


def _planned(root: Root, change: Change) -> _Planned:
    base = None if change.base is None else writing.sha256(change.base)
    new = None if change.new is None else writing.sha256(change.new)
    step = writing.plan(root, change.path, base=base, new=new, mode=change.mode)
    kept, mode = None, None
    if change.base is not None and base is not None:
        kept = file_versions.compressed(base, change.base)
        mode = _mode(root, change.path)
    return _Planned(step, change.new, Before(pathname=change.path, content=kept, mode=mode, after_sha256=new))


def _mode(root: Root, path: str) -> int | None:
    """The file's permissions; None: it is gone, which ``apply`` will say."""
    try:
        fd = root.open(path, os.O_PATH)
    except NotFound:
        return None
    try:
        return os.fstat(fd).st_mode & 0o7777
    finally:
        os.close(fd)


def _apply(project_root: str, hidden: Sequence[str], planned: Sequence[_Planned]) -> None:
    with open_root(project_root, hidden) as root:
        for one in planned:
            writing.apply(root, one.step, one.data)


async def _see_settled(
    store: Store, row_id: int, project_root: str, hidden: Sequence[str], steps: Sequence[Step]
) -> None:
    """Settle, once the store can be written. What has happened stays so, whatever comes of that: no error is raised."""
    while True:
        try:
            await _settle(store, row_id, project_root, hidden, steps)
        except (OutOfRoom, StoreFailed) as error:
            failure = error
        except PlurnkError as error:
            logger.error("what an accepted change has left is for the next start: %s", error.detail)  # noqa: TRY400 – its message says all
            return
        else:
            return
        logger.error("what an accepted change has left stays for now: %s; trying again", failure.detail)
        await trio.sleep(RETRY_S)


async def _settle(store: Store, row_id: int, project_root: str, hidden: Sequence[str], steps: Sequence[Step]) -> None:
    """Finish the steps if the operation has happened, undo them if not; then nothing is left to do."""
    # As a write, so after one that was submitted by whoever was cut off.
    recorded = await store.write(lambda tx: proposals.has_happened(tx.db, row_id))
    await trio.to_thread.run_sync(_undo_or_finish, project_root, hidden, steps, recorded)
    await store.write(partial(_forget, row_id, recorded))


def _undo_or_finish(
    project_root: str,
    hidden: Sequence[str],
    steps: Sequence[Step],
    recorded: bool,  # noqa: FBT001 – for a thread
) -> None:
    failures: list[PlurnkError] = []
    with open_root(project_root, hidden) as root:
        for step in reversed(steps):
            try:
                (writing.finish if recorded else writing.undo)(root, step)
            except PlurnkError as error:  # the others can be settled all the same
                failures.append(error)
    if failures:
        raise failures[0]


def _forget(row_id: int, recorded: bool, tx: Tx) -> None:  # noqa: FBT001 – for partial
    if not recorded:
        file_versions.forget(tx, row_id)
    proposals.forget_steps(tx, row_id)


async def settle_all(store: Store, hidden: Sequence[str]) -> list[PlurnkError]:
    """At a start: finish or undo what the last daemon was killed over.

    Returns what could not be; the next start tries again. So it does where the project is not there, for it may lie on
    a disk that is not mounted yet.
    """
    failures: list[PlurnkError] = []
    for left in await store.read(proposals.unfinished):
        try:
            steps = msgspec.json.decode(left.steps, type=list[Step])
            await _settle(store, left.log_entry_id, left.project_root, hidden, steps)
        except PlurnkError as error:
            failures.append(error)
    return failures
