"""A growing text cut into blocks, for vendors that remember a prompt up to the end of a block (SPEC 3.8).

What is remembered is found again when the same blocks come again, so where a text is cut must not change as it grows;
and as a vendor looks only some 20 blocks back from where it is told to look, no cut may be put off for long. One block
a turn does both, but there are turns without end. So turns are counted as in a number system with the base GROUP:
whole groups of GROUP x GROUP turns are one block each, then whole groups of GROUP, then single turns. Only when a
group becomes whole do blocks become one, and then what is before that group is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

GROUP: Final = 32
"""So a text of 1,000 turns has at most 64 blocks, and of 32 turns 31 pay for what is new only."""

GROUP_SIZES: Final = (GROUP * GROUP, GROUP, 1)


@dataclass(frozen=True, slots=True)
class Block:
    """``remember``: what comes before the end of it is to be remembered; so have at most four blocks."""

    text: str
    remember: bool = False


def cut(text: str, marks: Sequence[int]) -> list[Block]:
    """Blocks that are ``text`` when put together, with ends at ``marks`` (``GenerateRequest.cache_marks``).

    None of them is empty or blank, which vendors refuse; for a blank text there are none.
    """
    if not text or text.isspace():
        return []
    ends = _ends(text, marks)
    kept, turns = ends[:1], ends[1:]
    remembered = set(kept)
    grouped = 0
    for size in GROUP_SIZES:
        while grouped + size <= len(turns):
            grouped += size
            kept.append(turns[grouped - 1])
        remembered.update(kept[-1:])
    if not kept or kept[-1] < len(text):
        kept.append(len(text))
    return [Block(text[start:end], end in remembered) for start, end in pairwise([0, *kept])]


def _ends(text: str, marks: Sequence[int]) -> list[int]:
    """The marks that have something between them, and after the last of them, nothing or something not blank."""
    ends: list[int] = []
    start = 0
    for mark in marks:
        if start < mark <= len(text) and not text[start:mark].isspace():
            ends.append(mark)
            start = mark
    if ends and text[ends[-1] :].isspace():
        ends.pop()
    return ends
