"""A person's own programs at work for them: the editor, and the pager."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

_EDITORS: Final = ("VISUAL", "EDITOR")
# To leave at once what fits on the screen, and colours to the terminal.
_LESS_OPTIONS: Final = "FRX"


async def edited(text: str, name: str) -> str:
    """Return what a person makes of ``text`` in their editor, in a file of that name; as it was if that fails.

    Cancelled: the editor is ended, and what was typed is gone.
    """
    editor = _named(*_EDITORS) or shutil.which("vi") or shutil.which("nano")
    if editor is None:
        _say("There is no editor; the variable EDITOR would name one.")
        return text
    with tempfile.TemporaryDirectory(prefix="plurnk-") as folder:
        file = Path(folder) / name
        try:
            # As bytes: the ends of the lines are the person's and the file's business.
            file.write_bytes(text.encode())
            code = await _run([*shlex.split(editor), str(file)])
            result = file.read_bytes().decode()
        except (OSError, ValueError) as error:
            _say(f"{editor} did not work: {_reason(error)}")
            return text
    if code != 0:
        _say(f"{editor} ended with {code}; nothing was changed.")
        return text
    # Editors end the last line; who proposed it may not have.
    return result if not text or text.endswith("\n") else result.removesuffix("\n")


async def paged(text: str) -> None:
    """Show ``text`` in the person's pager, or just print it where there is none.

    Cancelled: the pager is ended.
    """
    pager = _named("PAGER") or shutil.which("less")
    if pager is not None:
        try:
            code = await _run(shlex.split(pager), given=f"{text}\n".encode(), more={"LESS": _LESS_OPTIONS})
        except (OSError, ValueError) as error:
            _say(f"{pager} did not work: {_reason(error)}")
        else:
            if code == 0:
                return
    _say(text)


def _named(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


async def _run(command: Sequence[str], *, given: bytes | None = None, more: Mapping[str, str] | None = None) -> int:
    """Run it on the terminal, which standard error is: standard output may be a pipe. ``more``: unless it is set."""
    done = await trio.run_process(
        command, stdin=given, stdout=sys.stderr, check=False, env={**(more or {}), **os.environ}
    )
    return done.returncode


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
