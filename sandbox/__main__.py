"""``python -m sandbox -- CMD``: run a command in a sandbox, from a shell."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import trio
from trio.lowlevel import FdStream

from sandbox.environment import allowed
from sandbox.host import GAPS, PROFILES, Host
from sandbox.leftovers import open_keeper
from sandbox.policy import Command, Policy
from sandbox.probe import probe
from sandbox.process import NotEnforced, NotStarted, Process, SandboxError
from sandbox.report import report
from sandbox.spawn import open_process

TIMED_OUT: Final = 124
REFUSED: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""As timeout(1), env(1) and the shells have them."""

GRACE_S: Final = 2.0
"""From TERM to KILL."""
DRAIN_S: Final = 0.5
"""For what the pipes still hold when the tree has ended."""
CHUNK_BYTES: Final = 64 * 1024

_EPILOG: Final = """\
profiles:
  read-only      the system and DIR can be read, nothing written but a private /tmp and home; no network
  workspace      DIR can be written, too
  workspace-net  and the network is there
  off            no restriction; but the tree of processes ends with the command, and has limits

exit status:
  that of CMD; 128 + n when signal n ended it; 124 over --timeout; 125 when this machine cannot enforce what is
  asked for; 126 when CMD cannot be run, 127 when there is none. Ctrl-C ends all that CMD started.

examples:
  python -m sandbox -- make test
  python -m sandbox --profile read-only --hide .env -- grep -r TOKEN .
  python -m sandbox --net --writable ~/.cache/pip --timeout 600 -- pip install -r requirements.txt
  python -m sandbox --report
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: {message}; see --help\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for on the command line."""

    policy: Policy
    command: Command
    accept: frozenset[str]
    timeout_s: float


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sandbox",
        description="Run CMD so that it can do what the profile says and no more, and end all that it started.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--profile", choices=PROFILES, default="workspace", help="default: workspace")
    parser.add_argument("--root", metavar="DIR", default=".", help="the project; default: where you are")
    parser.add_argument("--writable", metavar="DIR", action="append", default=[], help="may be written, too")
    parser.add_argument("--net", action="store_true", help="with the network")
    parser.add_argument("--hide", metavar="PATH", action="append", default=[], help="cannot be read")
    parser.add_argument(
        "--accept", metavar="NAMES", default="", help=f"do without what cannot be enforced here: {','.join(GAPS)}"
    )
    parser.add_argument("--timeout", metavar="S", type=float, default=float("inf"), help="end it after S seconds")
    parser.add_argument("--report", action="store_true", help="say what is really enforced on this machine")
    parser.add_argument("command", metavar="-- CMD", nargs=argparse.REMAINDER, help="and its arguments")
    return parser


def parse(arguments: Sequence[str]) -> Order | None:
    """None: the report is asked for.

    Raises:
        SystemExit: 0 for --help, 125 for what cannot be understood.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.report:
        return None
    argv = tuple(options.command[1:] if options.command[:1] == ["--"] else options.command)
    if not argv:
        parser.error("there is no command")
    accept = frozenset(name for name in options.accept.split(",") if name)
    if unknown := sorted(accept - GAPS.keys()):
        parser.error(f"cannot accept {', '.join(unknown)}: there is {', '.join(GAPS)}")
    root = Path(options.root).resolve()
    for directory in (root, *map(Path, options.writable)):
        if not directory.is_dir():
            parser.error(f"{directory} is no directory")
    here = Path.cwd()
    return Order(
        policy=Policy(
            profile=options.profile,
            root=str(root),
            writable=tuple(str(Path(path).resolve()) for path in options.writable),
            network=options.net,
            hidden=tuple(str(Path(path).absolute()) for path in options.hide),
        ),
        command=Command(argv=argv, cwd=str(here if here.is_relative_to(root) else root), env=allowed(os.environ)),
        accept=accept,
        timeout_s=options.timeout,
    )


async def run(order: Order, host: Host) -> int:
    """Run it with our own standard streams; returns the exit status.

    Raises:
        NotEnforced, NotStarted: see ``open_process``.
    """
    told: list[int] = []
    code = REFUSED

    async def obey(process: Process) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                # Who says it twice does not want to wait.
                ending.start_soon(process.end, 0.0 if told else GRACE_S)
                told.append(number)

    async with (
        open_process(order.command, order.policy, host, accept=order.accept) as process,
        trio.open_nursery() as ending,
    ):
        ending.start_soon(obey, process)
        ending.start_soon(_feed, process.stdin)
        async with trio.open_nursery() as draining:
            draining.start_soon(_copy, process.stdout, sys.stdout.fileno())
            draining.start_soon(_copy, process.stderr, sys.stderr.fileno())
            code = await _code(process, order.timeout_s)
            draining.cancel_scope.deadline = trio.current_time() + DRAIN_S
        ending.cancel_scope.cancel(reason="the command has ended")
    return 128 + told[0] if told else code


async def _code(process: Process, timeout_s: float) -> int:
    with trio.move_on_after(timeout_s):
        return (await process.wait()).code
    await process.end(GRACE_S)
    return TIMED_OUT


async def _feed(stdin: FdStream) -> None:
    """Pass our standard input on. In a thread: it may be a file, and it is shared with whoever started us."""
    async with stdin:
        while data := await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), CHUNK_BYTES, abandon_on_cancel=True):
            try:
                await stdin.send_all(data)
            except trio.BrokenResourceError:
                return  # it reads no more


async def _copy(source: FdStream, descriptor: int) -> None:
    async with source:
        async for data in source:
            try:
                await trio.to_thread.run_sync(_write, descriptor, data, abandon_on_cancel=True)
            except BrokenPipeError:
                return  # nobody reads it; the command learns the same way


def _write(descriptor: int, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


async def _main(order: Order | None) -> int:
    host = await probe()
    if order is None:
        sys.stdout.write("".join(f"{line}\n" for line in report(host)))
        return 0
    with open_keeper():
        return await run(order, host)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status; what goes wrong is said on stderr."""
    order = parse(arguments)
    try:
        return trio.run(_main, order)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SandboxError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        if isinstance(error, NotEnforced) or order is None:
            return REFUSED
        return _why_not_started(error, order.command)


def _why_not_started(error: SandboxError, command: Command) -> int:
    if not isinstance(error, NotStarted):
        return REFUSED
    name = command.argv[0]
    if "/" in name:
        is_there = Path(command.cwd, name).exists()
    else:
        is_there = shutil.which(name, path=command.env.get("PATH", os.defpath)) is not None
    return NOT_EXECUTABLE if is_there else NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
