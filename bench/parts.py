"""A bench of several parts: each is asked for by its name, and says how much of what it measures."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import trio

Part: TypeAlias = tuple[Callable[[Path, int], Awaitable[None]], str, int]
"""What measures, in an empty folder; the name of the option that says how many; how many if it says nothing."""


def run_parts(about: str | None, parts: Mapping[str, Part]) -> None:
    """Run the parts that the command line asks for, or all."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in {option: default for _, option, default in parts.values()}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--only", choices=parts, action="append")
    options = parser.parse_args()
    for name in options.only or parts:
        part, option, _ = parts[name]
        with tempfile.TemporaryDirectory() as folder:
            trio.run(part, Path(folder), getattr(options, option))
