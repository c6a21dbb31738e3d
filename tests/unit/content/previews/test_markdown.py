"""Previews of Markdown (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.markdown import handler

NOTE = (
    "---\n"
    "title: A note\n"
    "# a comment of YAML\n"
    "---\n"
    "Top\n"
    "===\n"
    "\n"
    "Some *text*.\n"
    "\n"
    "# One #\n"
    "```sh\n"
    "# not a heading\n"
    "```\n"
    "Sub\n"
    "---\n"
    "- item\n"
    "---\n"
    "    # code\n"
    "## C#\n"
    "#hashtag\n"
    "| a |\n"
    "---\n"
    "~~~\n"
    "# nor this\n"
)


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            500,
            (
                "1:\t---\n"
                "2:\ttitle: A note\n"
                "3:\t# a comment of YAML\n"
                "4:\t---\n"
                "5:\t# Top\n"
                "6:\t===\n"
                "8:\tSome *text*.\n"
                "10:\t# One\n"
                "11:\t```sh\n"
                "12:\t# not a heading\n"
                "13:\t```\n"
                "14:\t## Sub\n"
                "15:\t---\n"
                "16:\t- item\n"
                "17:\t---\n"
                "18:\t    # code\n"
                "19:\t## C#\n"
                "20:\t#hashtag\n"
                "21:\t| a |\n"
                "22:\t---\n"
                "23:\t~~~\n"
                "24:\t# nor this\n"
                "… 2 more lines"
            ),
        ),
        (
            120,
            (
                "1:\t---\n"
                "2:\ttitle: A note\n"
                "3:\t# a comment of YAML\n"
                "4:\t---\n"
                "5:\t# Top\n"
                "6:\t===\n"
                "10:\t# One\n"
                "14:\t## Sub\n"
                "19:\t## C#\n"
                "… 15 more lines"
            ),
        ),
        (60, "5:\t# Top\n10:\t# One\n14:\t## Sub\n19:\t## C#\n… 20 more lines"),
        (30, "5:\t# Top\n10:\t# One\n… 2 more"),
        (6, "5:\t# …"),
    ],
)
def test_the_headings_and_lines_of_the_head(budget_chars: int, expected: str) -> None:
    assert handler.preview(NOTE, budget_chars) == expected


def test_front_matter_ends_or_is_none() -> None:
    assert handler.preview("---\n# A\ntext\n", 15) == "2:\t# A"
    assert handler.preview("---\n# A\n...\n# B\ntext\n", 24) == "4:\t# B\n… 4 more lines"
    assert handler.preview("+++\n# A\n+++\n# B\ntext\n", 24) == "4:\t# B\n… 4 more lines"


def test_what_is_no_heading() -> None:
    assert handler.preview("\n#no\n    # no\ntext\n\n---\n> a\n---\n1. a\n---\n", 30) == (
        "1:\t\n2:\t#no\n… 8 more lines"
    )
    assert handler.preview("````\n# no\n```\n# no\n", 20) == "1:\t````\n2:\t# no"
    assert handler.preview("``` a ` b\n# yes\n\nx\n", 18) == "2:\t# yes"
