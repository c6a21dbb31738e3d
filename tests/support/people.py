"""Who may run things: root, who often runs the tests, and somebody ordinary."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.support.source import ROOT

ORDINARY_UID: Final = 12345
"""Without an entry in the list of users: nothing may depend on one."""


@functools.cache
def python() -> str:
    """A Python that everybody can run, in a sandbox, too: the one that runs the tests is often in somebody's home."""
    for program in ("/usr/local/bin/python3", "/usr/bin/python3"):
        check = [program, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if Path(program).exists() and subprocess.run(check, cwd="/", env={}, check=False).returncode == 0:
            return program
    pytest.skip("needs: a Python 3.11 of the system")


def python_path() -> str:
    """For that Python's PYTHONPATH: this checkout, and where trio and what it needs lie, which is no compiled code."""
    return f"{ROOT}:{Path(trio.__file__).parents[1]}"


def as_ordinary_user(*arguments: str) -> list[str]:
    """The command that runs this Python as somebody ordinary: as we are, if that is nobody special."""
    other = ("--reuid", str(ORDINARY_UID), "--regid", str(ORDINARY_UID), "--clear-groups", "--inh-caps=-all", "--")
    who = ("setpriv", *other) if os.geteuid() == 0 else ()
    return [*who, "env", f"PYTHONPATH={python_path()}", "PYTHONDONTWRITEBYTECODE=1", python(), *arguments]
