"""How fast the parser is on texts made to be slow: MB/s at 1 and at 10 MiB, and the ratio of the two.

Linear work is a ratio around 1; twice the time for each character would be 0.5 at ten times the size.
Started as ``python bench/parse.py [--quick]`` from the root; quick is 0.1 and 1 MiB.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from plurnk.language import Parser

MEBI: Final = 2**20
WORTH_TIMING_S: Final = 0.1


def _again(piece: str, *, before: str = "") -> Callable[[int], str]:
    return lambda size: before + piece * (size // len(piece))


# Name, the size of the chunks (0: all at once), the text.
CASES: Final[Mapping[str, tuple[int, Callable[[int], str]]]] = {
    "<<EDIT( again and again": (0, _again("<<EDIT(")),
    "<<EDIT[ again and again": (0, _again("<<EDIT[")),
    "<<EDI again and again": (0, _again("<<EDI")),
    "one body of :EDI": (0, _again(":EDI", before="<<EDIT(a):")),
    "one body of :EDITx": (0, _again(":EDITx", before="<<EDIT(a):")),
    "one body of colons": (0, _again(":", before="<<EDIT(a):")),
    "one body, never closed": (0, _again("x", before="<<EDIT(a)::EDI")),
    "one suffix": (0, _again("x", before="<<EDIT")),
    "text": (0, _again("a line of text, as it comes\n")),
    "small statements": (0, _again("<<EDIT[a](known://b)<1-2>:text:EDIT\n")),
    "broken statements": (0, _again("<<SEND[x]:text:SEND\n")),
    "statements with regexes": (0, _again("<<READ(a):/(?<n>[a-z]+) \\d{1,3}/g:READ\n")),
    "text by 64 KiB": (65536, _again("a line of text, as it comes\n")),
    "one body by 64 KiB": (65536, _again("x", before="<<EDIT(a):")),
    "<<EDIT( by 64 KiB": (65536, _again("<<EDIT(")),
    "one body of :EDI by 7": (7, _again(":EDI", before="<<EDIT(a):")),
    "one body of :EDI by 1": (1, _again(":EDI", before="<<EDIT(a):")),
    "small statements by 1": (1, _again("<<EDIT[a](known://b)<1-2>:text:EDIT\n")),
}


def seconds(text: str, chunk: int) -> float:
    """The least time that parsing ``text`` takes, of runs for a tenth of a second; its items are thrown away."""
    step = chunk or len(text)
    runs: list[float] = []
    while sum(runs) < WORTH_TIMING_S:
        gc.collect()
        start = time.perf_counter()
        parser = Parser()
        for at in range(0, len(text), step):
            parser.feed(text[at : at + step])
        parser.close()
        runs.append(time.perf_counter() - start)
    return min(runs)


def main() -> None:
    options = argparse.ArgumentParser(description="Time the parser on texts made to be slow.")
    options.add_argument("--quick", action="store_true", help="a tenth of the size")
    small = MEBI // 10 if options.parse_args().quick else MEBI
    print(f"{'':26}{small / MEBI:8.1f} MiB{10 * small / MEBI:8.1f} MiB   ratio")
    for name, (chunk, text) in CASES.items():
        rates = [size / 1e6 / seconds(text(size), chunk) for size in (small, 10 * small)]
        print(f"{name:26}{rates[0]:7.1f} MB/s{rates[1]:7.1f} MB/s{rates[1] / rates[0]:8.2f}")


if __name__ == "__main__":
    main()
