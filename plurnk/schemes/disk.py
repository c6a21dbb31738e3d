"""Carrying out an accepted change of files: whole or not at all, together with its row in the log (SPEC 5.2).

What is about to be done is written down first, with what the files hold; then it is done; then the operation's answer
is recorded. That is the moment at which it has happened: whatever ends it before, here or at the next start, undoes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from plurnk.errors import Malformed, NotFound, PlurnkError
from plurnk.files import writing
from plurnk.files.beneath import Root, open_root
from plurnk.files.writing import Step
from plurnk.plugins.api import Accepted, Call, OpResult, Store, Tx
from plurnk.store import file_versions, proposals
from plurnk.store.file_versions import Before

SETTLE_LIMIT_S: float = 10.0
"""How long a change that was cut off may take to be undone or finished; after that the next start does it."""


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
    row_id, store = accepted.log_entry_id, call.store
    planned = await trio.to_thread.run_sync(_plan, root, call.hidden, changes)
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
            await _settle(store, row_id, root, steps)


def _plan(project_root: str, hidden: Sequence[str], changes: Sequence[Change]) -> list[_Planned]:
    with open_root(project_root, hidden) as root:
        return [_planned(root, change) for change in changes]


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


async def _settle(store: Store, row_id: int, project_root: str, steps: Sequence[Step]) -> None:
    """Finish the steps if the operation has happened, undo them if not; then nothing is left to do."""
    # As a write, so after one that was submitted by whoever was cut off.
    recorded = await store.write(lambda tx: proposals.has_happened(tx.db, row_id))
    await trio.to_thread.run_sync(_undo_or_finish, project_root, steps, recorded)
    await store.write(partial(_forget, row_id, recorded))


def _undo_or_finish(project_root: str, steps: Sequence[Step], recorded: bool) -> None:  # noqa: FBT001 – for a thread
    try:
        with open_root(project_root) as root:
            for step in reversed(steps):
                (writing.finish if recorded else writing.undo)(root, step)
    except NotFound:
        pass  # the project is gone, and with it what was left in it


def _forget(row_id: int, recorded: bool, tx: Tx) -> None:  # noqa: FBT001 – for partial
    if not recorded:
        file_versions.forget(tx, row_id)
    proposals.forget_steps(tx, row_id)


async def settle_all(store: Store) -> list[PlurnkError]:
    """At a start: finish or undo what the last daemon was killed over. Returns what could not be."""
    failures: list[PlurnkError] = []
    for left in await store.read(proposals.unfinished):
        try:
            steps = msgspec.json.decode(left.steps, type=list[Step])
            await _settle(store, left.log_entry_id, left.project_root, steps)
        except PlurnkError as error:
            failures.append(error)
    return failures
