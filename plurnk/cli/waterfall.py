"""What a person sees while a loop runs: rows as they come; below them the latest line of each command that runs, and a
line that moves (``progress``).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Protocol

from plurnk.cli.progress import Progress
from plurnk.cli.rows import answer_of, broadcast, first_line, glyph, printable, row
from plurnk.wire.notifications import LogEntry, StreamConcluded, TurnDelta

# More would push the rows off the screen.
_TAILS_SHOWN: Final = 4


class Waterfall(Protocol):
    """Writes to standard error. ``live``: there is a line that moves, and ``cost`` and ``delta`` are worth calling."""

    live: bool

    def note(self, text: str) -> None:
        """Say something about the work."""
        ...

    def row(self, entry: LogEntry) -> None: ...

    def conclusion(self, ended: StreamConcluded) -> None:
        """Tell how a stream ended."""
        ...

    def cost(self, pico: int) -> None:
        """Tell what the loop has cost so far."""
        ...

    def delta(self, delta: TurnDelta) -> None:
        """Tell of a piece of the model's answer."""
        ...

    def tail(self, target: str, line: str | None) -> None:
        """Show the latest line of a stream; None: it is over."""
        ...

    def asking(self) -> AbstractContextManager[None]:
        """Leave the last line to a question and its answer for the length of the block."""
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

    def conclusion(self, ended: StreamConcluded) -> None:
        if self._rows:
            self.note(f"{glyph(ended.close_status).sign} {ended.summary}")

    def cost(self, pico: int) -> None:
        pass

    def delta(self, delta: TurnDelta) -> None:
        pass

    def tail(self, target: str, line: str | None) -> None:
        pass

    def asking(self) -> AbstractContextManager[None]:
        return nullcontext()


def _said(entry: LogEntry) -> str:
    """Return the first line of a broadcast that is not the answer, as that comes on standard output."""
    text = broadcast(entry)
    return f": {first_line(text)}" if text and answer_of(entry) is None else ""


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
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    progress = Progress(time.monotonic())

    class Rich:
        live = True

        def __init__(self) -> None:
            self._spinner = Spinner("dots")
            self._tails: dict[str, str] = {}

        def __rich__(self) -> Group:
            self._spinner.update(text=progress.line(time.monotonic()))
            tails = [
                Text(f"{target} │ {line}", "dim", no_wrap=True, overflow="ellipsis")
                for target, line in list(self._tails.items())[-_TAILS_SHOWN:]
            ]
            return Group(*tails, self._spinner)

        def note(self, text: str) -> None:
            progress.heard(time.monotonic())
            console.print(Text(printable(text), "dim"))

        def row(self, entry: LogEntry) -> None:
            progress.heard(time.monotonic())
            progress.row(entry)
            sign, style = glyph(entry.status_rx)
            body = Text(row(entry), "dim" if entry.origin == "system" else "")
            console.print(Text.assemble((sign, style), " ", body, (printable(_said(entry)), "dim")))

        def conclusion(self, ended: StreamConcluded) -> None:
            progress.heard(time.monotonic())
            sign, style = glyph(ended.close_status)
            console.print(Text.assemble((sign, style), " ", printable(ended.summary)))

        def cost(self, pico: int) -> None:
            progress.cost(pico)

        def delta(self, delta: TurnDelta) -> None:
            progress.heard(time.monotonic())
            progress.delta(delta)

        def tail(self, target: str, line: str | None) -> None:
            progress.heard(time.monotonic())
            if line is None:
                self._tails.pop(target, None)
            else:
                self._tails[target] = printable(line).expandtabs(4)

        @contextmanager
        def asking(self) -> Iterator[None]:
            live.stop()
            try:
                yield
            finally:
                live.start()

    waterfall = Rich()
    live = Live(
        waterfall, console=console, refresh_per_second=10, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with live:
        yield waterfall
