"""How long the daemon takes until clients can come, and what of that is imports.

    python bench/start.py [--rounds N]

Each round starts ``plurnk serve`` on a database of its own or, for the second figure, on one that is there.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.daemons import DaemonProcess, environment


def ready_ms(home: Path) -> float:
    """Start a daemon in ``home`` and end it again; the time to its URL on stdout."""
    started = time.perf_counter()
    with DaemonProcess(environment(home)):
        return (time.perf_counter() - started) * 1000


def python_ms(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for name, run in (
        ("bare interpreter", lambda: python_ms("pass")),
        ("import of what serve needs", lambda: python_ms("import plurnk.cli.serve")),
    ):
        print(f"{name:34} {statistics.median(run() for _ in range(rounds)):6.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        fresh = statistics.median(ready_ms(Path(folder) / str(number)) for number in range(rounds))
        again = statistics.median(ready_ms(Path(folder) / "0") for _ in range(rounds))
    print(f"{'ready, new database':34} {fresh:6.0f} ms")
    print(f"{'ready, database that is there':34} {again:6.0f} ms")


if __name__ == "__main__":
    main()
