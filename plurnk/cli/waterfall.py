"""What a person sees while a loop runs: rows as they come, and below them the time, the turn and the cost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from plurnk.cli.money import money
from plurnk.cli.rows import answer_of, broadcast, glyph, printable, row
from plurnk.wire.notifications import LogEntry

_SHOWN_OF_A_SEND_CHARS: Final = 100


class Waterfall(Protocol):
    """Writes to standard error. ``live``: there is a line that moves, and ``tick`` is worth calling."""

    live: bool

    def note(self, text: str) -> None:
        """Say something about the work."""
        ...

    def row(self, entry: LogEntry) -> None: ...

    def tick(self, turn: int, cost_pico: int) -> None:
        """Tell which turn it is and what the loop has cost so far."""
        ...


class Plain:
    """Lines, for pipes and simple terminals. ``rows`` off: notes only."""

    live = False

    def __init__(self, *, rows: bool) -> None:
        self._rows = rows

    def note(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)

    def row(self, entry: LogEntry) -> None:
        if self._rows:
            self.note(f"{glyph(entry.status_rx).sign} {row(entry)}{_said(entry)}")

    def tick(self, turn: int, cost_pico: int) -> None:
        pass


def _said(entry: LogEntry) -> str:
    """Return the first line of a broadcast that is not the answer, as that comes on standard output."""
    text = broadcast(entry)
    if not text or answer_of(entry) is not None:
        return ""
    line = text.strip().partition("\n")[0]
    return ": " + (line if len(line) <= _SHOWN_OF_A_SEND_CHARS else line[: _SHOWN_OF_A_SEND_CHARS - 1] + "…")


@contextmanager
def open_waterfall(*, rows: bool) -> Iterator[Waterfall]:
    """Choose what standard error can show. The moving line is gone when the block is left."""
    if rows and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with _open_rich() as waterfall:
            yield waterfall
    else:
        yield Plain(rows=rows)


@contextmanager
def _open_rich() -> Iterator[Waterfall]:
    # 60 ms that a pipe does not need.
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    started_at = time.monotonic()

    class Rich:
        live = True

        def __init__(self) -> None:
            self._spinner = Spinner("dots")
            self._turn = 0
            self._cost_pico = 0

        def __rich__(self) -> Spinner:
            parts = [f"{time.monotonic() - started_at:.0f} s"]
            parts += [f"turn {self._turn}"] if self._turn else []
            parts += [money(self._cost_pico)] if self._cost_pico else []
            self._spinner.update(text=" · ".join(parts))
            return self._spinner

        def note(self, text: str) -> None:
            console.print(Text(printable(text), "dim"))

        def row(self, entry: LogEntry) -> None:
            sign, style = glyph(entry.status_rx)
            body = Text(row(entry), "dim" if entry.origin == "system" else "")
            console.print(Text.assemble((sign, style), " ", body, (printable(_said(entry)), "dim")))

        def tick(self, turn: int, cost_pico: int) -> None:
            self._turn, self._cost_pico = turn, cost_pico

    waterfall = Rich()
    with Live(
        waterfall, console=console, refresh_per_second=10, transient=True, redirect_stdout=False, redirect_stderr=False
    ):
        yield waterfall
