"""Previews of JSON and JSON lines (SPEC 2.8)."""

from __future__ import annotations

import msgspec
import pytest

from plurnk.content.previews.json_shape import json, jsonl

USERS = [{"id": n, "name": "Ann", "tags": ["a", "b"], "at": {"city": "X", "zip": "1"}} for n in range(128)]
DOCUMENT = msgspec.json.encode(
    {"users": USERS, "total": 128, "a b": None, "none": {}, "nil": [], "text": "long " * 20}
).decode()
CHAT = "".join(f'{{"role":"user","content":"{"hello " * 9}","n":{n}}}\n\n' for n in range(40))


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            256,
            (
                '1:\tusers: [{id: 0, name: "Ann", tags: ["a", "b"], at: {city: "X", zip: "1"}}, … 127 more]\n'
                "2:\ttotal: 128\n"
                '3:\t"a b": null\n'
                "4:\tnone: {}\n"
                "5:\tnil: []\n"
                '6:\ttext: "long long long long long long long long…"'
            ),
        ),
        (
            160,
            (
                "1:\tusers: [128 items]\n"
                "2:\ttotal: 128\n"
                '3:\t"a b": null\n'
                "4:\tnone: {}\n"
                "5:\tnil: []\n"
                '6:\ttext: "long long l…"'
            ),
        ),
        (
            120,
            (
                "1:\tusers: [128 items]\n"
                "2:\ttotal: 128\n"
                '3:\t"a b": null\n'
                "4:\tnone: {}\n"
                "5:\tnil: []\n"
                '6:\ttext: "long long l…"'
            ),
        ),
        (60, "1:\tusers: [128 items]\n2:\ttotal: 128\n… 4 more items"),
        (30, "1:\tusers: [128 items]"),
        (8, "1:\tuser…"),
        (0, ""),
    ],
)
def test_all_names_of_an_object_then_what_is_inside(budget_chars: int, expected: str) -> None:
    assert json.preview(DOCUMENT, budget_chars) == expected


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            256,
            (
                '1:\t{role: "user", content: "hello hello hello hello hello hello hel…", n: 0}\n'
                '3:\t{role: "user", content: "hello hello hello hello hello hello hel…", n: 1}\n'
                '5:\t{role: "user", content: "hello hello hello hello hello hello hel…", n: 2}\n'
                "… 37 more items"
            ),
        ),
        (60, "1:\t{role, content, n}\n3:\t{role, content, n}\n… 38 more items"),
        (30, "1:\t{3 keys}\n… 39 more items"),
    ],
)
def test_json_lines(budget_chars: int, expected: str) -> None:
    assert jsonl.preview(CHAT, budget_chars) == expected


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("budget_chars", "expected"),
    [
        (
            256,
            (
                '1:\t{id: 0, name: "Ann", tags: ["a", "b"], at: {city: "X", zip: "1"}}\n'
                '2:\t{id: 1, name: "Ann", tags: ["a", "b"], at: {city: "X", zip: "1"}}\n'
                '3:\t{id: 2, name: "Ann", tags: ["a", "b"], at: {city: "X", zip: "1"}}\n'
                "… 125 more items"
            ),
        ),
        (60, "1:\t{id, name, tags, at}\n… 127 more items"),
        (35, "1:\t{4 keys}\n… 127 more items"),
    ],
)
def test_an_array_shows_what_its_elements_are_like(budget_chars: int, expected: str) -> None:
    assert json.preview(msgspec.json.encode(USERS).decode(), budget_chars) == expected


def test_elements_of_all_kinds() -> None:
    assert json.preview(
        "[" + ", ".join(['1, "a", [1, 2, 3], [[[[[[1]]]]]], {"k": [{"a": [[]]}]}'] * 50) + "]", 140
    ) == (
        "1:\t1\n"
        '2:\t"a"\n'
        "3:\t[1, 2, 3]\n"
        "4:\t[[[[[1 item]]]]]\n"
        "5:\t{k: [{a: [[]]}]}\n"
        "6:\t1\n"
        '7:\t"a"\n'
        "8:\t[1, 2, 3]\n"
        "9:\t[[[[[1 item]]]]]\n"
        "… 241 more items"
    )


@pytest.mark.parametrize("content", ["[1, 2", '"long text"', "{}", "[]", "1e999", "[" * 10_000 + "]" * 10_000])
def test_what_is_broken_or_has_no_items_shows_its_head(content: str) -> None:
    assert json.preview(content, 6) == (content if len(content) <= 6 else f"{content[:5]}…")


def test_a_line_that_is_no_json_shows_the_head() -> None:
    assert jsonl.preview('{"a": 1}\nbroken {\n', 26) == '1:\t{"a": 1}\n2:\tbroken {'
