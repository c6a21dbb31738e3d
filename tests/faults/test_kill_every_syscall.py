"""An accepted change that is killed, or fails, at any of its calls: the old file or the new one (SPEC 5.2)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import count, product
from pathlib import Path

import pytest

from plurnk.errors import OutOfRoom, PlurnkError
from plurnk.files.beneath import open_root
from plurnk.files.writing import apply, finish, undo
from tests.support.changes import CHANGES, tree
from tests.support.disk_calls import WAYS, Moments, only
from tests.support.source import ROOT

LEAST_CALLS = 5


def killed(directory: Path, change: str, way: str, what: str) -> int:
    """At how many moments."""
    command = [sys.executable, "-m", "tests.support.killed_changes", str(directory), change, way, what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize(("change", "way"), [("create deep", "whole"), *product(["replace", "create", "delete"], WAYS)])
def test_killed_at_any_call_it_has_happened_or_not(tmp_path: Path, change: str, way: str) -> None:
    assert killed(tmp_path, change, way, "kill") > LEAST_CALLS


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize("change", ["replace", "create", "delete"])
def test_what_an_editor_saved_outlives_the_kill(tmp_path: Path, change: str) -> None:
    assert killed(tmp_path, change, "whole", "edit") > LEAST_CALLS


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_call_that_fails_leaves_the_old_file(
    tmp_path: Path, change: str, way: str, number: int, lasting: bool
) -> None:
    """``lasting``: every call after it fails as well, so that only the next start, on a mended disk, can tidy up."""

    def fail(moment: int) -> None:
        if moment == at or (lasting and moment > at):
            raise OSError(number, os.strerror(number))

    for at in count(1):
        project = tmp_path / str(at)
        chosen = CHANGES[change]
        chosen.set_up(project)
        before = tree(project)
        moments = Moments(fail)
        failure: PlurnkError | None = None
        with open_root(str(project)) as root:
            step = chosen.step(root)
            try:
                with only(way), moments.watched():
                    apply(root, step, chosen.new)
            except PlurnkError as error:
                failure = error
            if failure is None:
                finish(root, step)
            elif lasting:
                undo(root, step)
        if failure is None:  # it struck where nothing depends on it (an attribute), or not at all
            assert tree(project) != before
        else:
            assert type(failure) is (OutOfRoom if number == errno.ENOSPC else PlurnkError)
            assert tree(project) == before, at
        if moments.passed < at:
            assert failure is None
            assert at > LEAST_CALLS
            return
