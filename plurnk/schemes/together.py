"""READ over a glob: several resources in one answer, each a block under its address (SPEC 2.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate, takewhile
from typing import TypeAlias, TypeVar

import trio

from plurnk.content import mimetypes
from plurnk.errors import PlurnkError, TookTooLong, UnsupportedType
from plurnk.rules.fences import fenced, shown_lines
from plurnk.wire.results import OpResult

T = TypeVar("T")

MAX_BLOCKS: int = 50
REMARK_CHARS: int = 60
"""Kept free for each remark: in a block where to go on, below all how many are missing."""

INLINE_CHARS: int = 16_384
"""A longer block is put together on a thread: one of 262,144 characters takes up to 60 ms."""

ReadOne: TypeAlias = Callable[[T, int], Awaitable[OpResult]]
"""What READ of that resource alone gives, of at most so many characters."""


async def read_together(
    found: Sequence[T], address: Callable[[T], str], read_one: ReadOne[T], max_chars: int
) -> OpResult:
    """Read each of ``found`` until the answer is full.

    Those that have nothing to show get no block: empty, without a match, of a type that the matcher does
    not apply to. What is wrong with one of the others stands in its block.

    Returns:
        200; 206 when something was cut or left out; 204 when there is nothing. ``matches`` counts rows
        where there is a matcher, else blocks that hold what was read; ``leftOut`` the resources that were not read.

    Raises:
        TookTooLong: the time for matching is over.
    """
    blocks: list[str] = []
    matches, complete, done = 0, True, 0
    room = max_chars - REMARK_CHARS
    for resource in found:
        label = address(resource)
        chars = room - len("\n<<:\n\n:") - 2 * len(label) - REMARK_CHARS
        if len(blocks) == MAX_BLOCKS or chars <= 0:
            break
        done += 1
        result = await _read(resource, read_one, chars)
        if result is None:
            continue
        if len(result.content or "") <= INLINE_CHARS:
            block, whole = _block(label, result, chars, room)
        else:
            block, whole = await trio.to_thread.run_sync(_block, label, result, chars, room)
        blocks.append(block)
        room -= len(block) + 1
        matches += 1 if result.matches is None else result.matches
        complete = complete and whole
    left_out = len(found) - done
    if left_out:
        blocks.append(f"… {left_out} more left out")
    if not blocks:
        return OpResult(status=204, content="", mimetype=mimetypes.PLAIN, matches=0)
    return OpResult(
        status=200 if complete and not left_out else 206,
        content="\n".join(blocks),
        mimetype=mimetypes.PLAIN,
        matches=matches,
        left_out=left_out or None,
    )


async def _read(resource: T, read_one: ReadOne[T], max_chars: int) -> OpResult | None:
    """What there is to show of ``resource``; None when there is nothing."""
    try:
        result = await read_one(resource, max_chars)
    except TookTooLong:
        raise
    except UnsupportedType:
        return None
    except PlurnkError as error:
        if error.status >= 500:
            raise
        return OpResult(status=error.status, error=error.detail, matches=0)
    return result if result.content or result.error else None


def _block(label: str, result: OpResult, max_chars: int, room: int) -> tuple[str, bool]:
    """The block of ``result``, of at most ``room`` characters, and whether it is all there is."""
    body, whole = _body(result, max_chars)
    block = "\n".join(fenced(label, body))
    if len(block) > room:  # Content with so many lines like the closing one that the fence alone is too long.
        return "\n".join(fenced(label, [_remark(result.start_line)])), False
    return block, whole


def _body(result: OpResult, max_chars: int) -> tuple[list[str], bool]:
    """The lines of a block, at most ``max_chars`` but for a remark, and whether they are all there is.

    ``max_chars`` bounds the content already; the numbers before its lines may be too much.
    """
    if result.error is not None:
        return [f"{result.status} {result.error}"[:max_chars]], True
    numbered = result.start_line is not None and mimetypes.is_line_addressed(result.mimetype or mimetypes.PLAIN)
    first = result.start_line if numbered else None
    lines = shown_lines(result.content or "", first)
    if first is not None and (fitting := _how_many_fit(lines, max_chars)) < len(lines):
        shown = lines[:fitting] or [lines[0][:max_chars]]
        return [*shown, _remark(first + fitting)], False
    if result.status == 200:
        return lines, True
    return [*lines, _remark(result.next_line)], False


def _how_many_fit(lines: Sequence[str], max_chars: int) -> int:
    ends = accumulate(len(line) + 1 for line in lines)
    return sum(1 for _ in takewhile(lambda end: end - 1 <= max_chars, ends))


def _remark(go_on: int | None) -> str:
    return "… more, cut" if go_on is None else f"… more: go on with <{go_on},-1>"
