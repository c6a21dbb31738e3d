"""The runtimes that come with plurnk: sh, bash, python, node (SPEC 4.2).

Each program takes a command as an argument, and a long one from a file; never through a second shell.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from plurnk.plugins.discovery import CONTRACT_VERSION


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A program that runs text. ``programs`` are its names, best first; ``inline`` comes before a text."""

    name: str
    programs: tuple[str, ...]
    inline: str
    contract_version: int = CONTRACT_VERSION

    def program(self, path: str) -> str | None:
        """As ``plugins.api.Executor`` says."""
        found = (shutil.which(program, path=path) for program in self.programs)
        return next((program for program in found if program is not None), None)

    def argv(self, program: str, command: str | None) -> tuple[str, ...]:
        """As ``plugins.api.Executor`` says."""
        return (program,) if command is None else (program, self.inline, command)


sh = Interpreter("sh", ("sh",), "-c")
bash = Interpreter("bash", ("bash",), "-c")
python = Interpreter("python", ("python3", "python"), "-c")
node = Interpreter("node", ("node", "nodejs"), "-e")
