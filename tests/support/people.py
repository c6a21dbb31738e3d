"""Who may run things: root, who often runs the tests, and somebody ordinary."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

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
    import pytest  # noqa: PLC0415 – what somebody ordinary runs imports this module, and has none

    raise pytest.skip.Exception("needs: a Python 3.11 of the system")


@functools.cache
def python_path() -> str:
    """For that Python's PYTHONPATH: this checkout, and where trio and what it needs lie, which is no compiled code.

    If they lie where nobody else may look, in somebody's home say, copies of what is wanted.
    """
    packages = Path(trio.__file__).parents[1]
    if subprocess.run([*_somebody(), "ls", ROOT / "sandbox", packages], capture_output=True, check=False).returncode:
        copies = Path(tempfile.mkdtemp(prefix="for-everybody-", dir="/var/tmp"))
        copies.chmod(0o755)
        atexit.register(shutil.rmtree, copies)
        for name in ("trio", "outcome", "sniffio", "attr", "attrs", "sortedcontainers", "idna"):
            shutil.copytree(packages / name, copies / name)
        shutil.copytree(ROOT / "sandbox", copies / "sandbox")
        shutil.copytree(ROOT / "tests" / "support", copies / "tests" / "support")
        return str(copies)
    return f"{ROOT}:{packages}"


def _somebody() -> list[str]:
    """Before a command: run it as somebody ordinary, as we are if that is nobody special."""
    other = ("--reuid", str(ORDINARY_UID), "--regid", str(ORDINARY_UID), "--clear-groups", "--inh-caps=-all", "--")
    return ["setpriv", *other] if os.geteuid() == 0 else []


def as_ordinary_user(*arguments: str) -> list[str]:
    """The command that runs this Python as somebody ordinary."""
    return [*_somebody(), "env", f"PYTHONPATH={python_path()}", "PYTHONDONTWRITEBYTECODE=1", python(), *arguments]
