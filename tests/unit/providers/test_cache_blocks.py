"""A growing text in blocks that come again (SPEC 3.8)."""

from __future__ import annotations

from itertools import takewhile

from plurnk.providers.cache_blocks import GROUP, Block, cut

STABLE = "card and persona"


def log(turns: int) -> tuple[str, list[int]]:
    """A system text of so many turns, ended by what is new each time, and its marks."""
    text = STABLE
    marks = [len(text)]
    for turn in range(turns):
        text += f"\n* row of turn {turn}"
        marks.append(len(text))
    return text + f"\n\nturn {turns}", marks


def remembered(blocks: list[Block]) -> list[str]:
    """The beginnings that are to be remembered."""
    return ["".join(b.text for b in blocks[: n + 1]) for n, block in enumerate(blocks) if block.remember]


def found(before: list[Block], now: list[Block], *, look_back: int = 20) -> int:
    """Characters of ``now`` that a vendor finds again: whole blocks up to one that ``before`` had it remember.

    It looks so many blocks back from each that is to be remembered now.
    """
    same = len(list(takewhile(lambda pair: pair[0].text == pair[1].text, zip(before, now, strict=False))))
    ends = [n for n, block in enumerate(now) if block.remember]
    kept = [n for n in range(same) if before[n].remember and any(0 <= end - n < look_back for end in ends)]
    return sum(len(block.text) for block in now[: kept[-1] + 1]) if kept else 0


def test_each_turn_is_a_block_and_the_ends_are_remembered() -> None:
    text, marks = log(2)
    assert cut(text, marks) == [
        Block(STABLE, remember=True),
        Block("\n* row of turn 0"),
        Block("\n* row of turn 1", remember=True),
        Block("\n\nturn 2"),
    ]


def test_nothing_is_lost_and_at_most_four_are_remembered() -> None:
    for turns in (0, 1, GROUP - 1, GROUP, GROUP + 1, 999, GROUP * GROUP, 3 * GROUP * GROUP + 77):
        text, marks = log(turns)
        blocks = cut(text, marks)
        assert "".join(block.text for block in blocks) == text
        assert all(block.text.strip() for block in blocks)
        assert 1 <= len(remembered(blocks)) <= 4
        assert remembered(blocks)[0] == STABLE
        assert remembered(blocks)[-1] == text[: marks[-1]]
        assert len(blocks) <= 2 * GROUP + 2


def test_what_a_turn_had_remembered_the_next_one_finds() -> None:
    before = cut(*log(0))
    for turns in range(1, GROUP * GROUP + 2 * GROUP):
        text, marks = log(turns)
        now = cut(text, marks)
        if turns % (GROUP * GROUP) == 0:
            expected = marks[turns - GROUP * GROUP]
        elif turns % GROUP == 0:
            expected = marks[turns - GROUP]
        else:
            expected = marks[turns - 1]
        assert found(before, now) == expected, turns
        before = now


def test_a_mark_at_the_end_leaves_no_empty_block() -> None:
    assert cut("abcd", [2, 4]) == [Block("ab", remember=True), Block("cd", remember=True)]
    assert cut("abcd", [4]) == [Block("abcd", remember=True)]


def test_without_marks_nothing_is_remembered() -> None:
    assert cut("abcd", []) == [Block("abcd")]


def test_marks_that_make_no_sense_are_passed_over() -> None:
    assert cut("abcd", [0, 2, 2, 1, 9]) == [Block("ab", remember=True), Block("cd")]


def test_no_block_is_blank() -> None:
    assert cut("a\n\nb", [1, 2, 3]) == [Block("a", remember=True), Block("\n\nb")]
    assert cut("a\n\nb", [1, 3, 4]) == [Block("a", remember=True), Block("\n\nb", remember=True)]
    assert cut("ab\n", [1, 2]) == [Block("a", remember=True), Block("b\n")]
    assert cut("\n\nab", [1, 3]) == [Block("\n\na", remember=True), Block("b")]
    assert cut(" \n", [1]) == []
    assert cut("", []) == []
