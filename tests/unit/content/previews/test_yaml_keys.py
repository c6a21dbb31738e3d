"""Previews of YAML (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews.yaml_keys import handler

WORKFLOW = (
    "# settings\n"
    "name: app   # the name\n"
    "on:\n"
    "  push:\n"
    "    branches: [main, dev]\n"
    "jobs:\n"
    "  test:\n"
    "    steps:\n"
    "      - uses: checkout\n"
    "        with: {a: 1}\n"
    "      - run: |\n"
    "          key: not one\n"
    "base: &b\n"
    "  x: 1\n"
    "copy: *b\n"
    "---\n"
    "kind: Second\n"
)


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            500,
            (
                "1:\t# settings\n"
                "2:\tname: app # the name\n"
                "3:\ton:\n"
                "4:\t  push:\n"
                "5:\t    branches: [main, dev]\n"
                "6:\tjobs:\n"
                "7:\t  test:\n"
                "8:\t    steps:\n"
                "9:\t      - uses: checkout\n"
                "10:\t        with: {a: 1}\n"
                "11:\t      - run: |\n"
                "12:\t          key: not one\n"
                "13:\tbase: &b\n"
                "14:\t  x: 1\n"
                "15:\tcopy: *b\n"
                "16:\t---\n"
                "17:\tkind: Second"
            ),
        ),
        (
            160,
            (
                "2:\tname: app # the name\n"
                "3:\ton:\n"
                "4:\t  push:\n"
                "6:\tjobs:\n"
                "7:\t  test:\n"
                "13:\tbase: &b\n"
                "14:\t  x: 1\n"
                "15:\tcopy: *b\n"
                "16:\t---\n"
                "17:\tkind: Second\n"
                "… 5 more"
            ),
        ),
        (
            120,
            (
                "2:\tname: app # the name\n"
                "3:\ton:\n"
                "4:\t  push:\n"
                "6:\tjobs:\n"
                "13:\tbase: &b\n"
                "15:\tcopy: *b\n"
                "16:\t---\n"
                "17:\tkind: Second\n"
                "… 7 more"
            ),
        ),
        (60, "2:\tname: app # the name\n3:\ton:\n6:\tjobs:\n… 12 more"),
    ],
)
def test_the_keys_nested(budget_chars: int, expected: str) -> None:
    assert handler.preview(WORKFLOW, budget_chars) == expected


def test_a_list_is_told_by_the_first_keys_of_its_items() -> None:
    assert handler.preview("- hosts: all\n  tasks:\n    - name: a\n      do: x\n- hosts: web\n- [1, 2]\n", 90) == (
        "1:\t- hosts: all\n2:\t  tasks:\n3:\t    - name: a\n4:\t      do: x\n5:\t- hosts: web\n… 1 more line"
    )


def test_lines_are_counted_by_their_newlines_alone() -> None:
    assert handler.preview("\ufeff# \u2028 \r\na: 1\r\n# é😀\n\nb: 2\n", 19) == "1:\t\n4:\t"


@pytest.mark.parametrize(
    "content", ["a: [1\nb: 2\n", "- one\n- two\n", "{a: 1,\n b: 2}\n", "%%%\n\n\n\n\n", "[" * 10_000]
)
def test_what_is_broken_or_has_no_keys_shows_its_head(content: str) -> None:
    assert handler.preview(content, 7).startswith(f"1:\t{content[:3]}")


def test_an_alias_is_not_followed() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert handler.preview(bomb, 60) == "1:\ta0: &a0 [x, x]\n2:\ta1: &a1 [*a0, *a0]\n… 58 more"
