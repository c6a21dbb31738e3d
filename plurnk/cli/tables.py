"""Tables for a terminal, and for pipes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence

from plurnk.cli.rows import printable


def width_of_output() -> int | None:
    """Return how wide a line may be; a pipe takes any."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def laid_out(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[str] = (), width: int | None
) -> str:
    """Lay them out, what is under ``numbers`` to the right; the last column is cut where the line is."""
    cells = [heads, *([printable(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = [
        "  ".join(
            f"{cell:>{wide}}" if head in numbers else f"{cell:{wide}}"
            for head, cell, wide in zip(heads, row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
    if width is not None:
        lines = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    return "".join(f"{line}\n" for line in lines)
