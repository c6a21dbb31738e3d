"""Names tell whether whoever gave them is still there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sandbox import names


def test_our_own_are_not_left_over_and_never_the_same() -> None:
    given = [names.new_name() for _ in range(3)]
    assert len(set(given)) == 3
    assert all(name.startswith(f"plurnk-sandbox-{os.getpid()}.") for name in given)
    assert not any(map(names.is_left_over, given))


def test_those_of_another_are_once_it_is_gone() -> None:
    script = "from sandbox import names; print(names.new_name()); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not names.is_left_over(name)
        other.communicate("\n")
        assert names.is_left_over(name)


def test_a_later_process_with_the_same_number_is_another() -> None:
    pid, _, rest = names.new_name().removeprefix(names.PREFIX).partition(".")
    started, _, count = rest.partition("-")
    assert names.is_left_over(f"{names.PREFIX}{pid}.{int(started) - 1}-{count}")


@pytest.mark.parametrize(
    "name", ["", "bwrap", "plurnk-sandbox-", "plurnk-sandbox-1-2", "plurnk-sandbox-x.1-2", "plurnk-sandbox-1.1-2/3"]
)
def test_what_is_no_such_name_is_nobodys(name: str) -> None:
    assert not names.is_left_over(name)
