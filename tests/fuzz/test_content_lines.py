"""Line markers neither lose nor double a line, on text and on JSON (SPEC 2.5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.content.json_items import edit_items, slice_items
from plurnk.content.lines import Insertion, count_lines, edit_lines, resolve, slice_lines
from plurnk.errors import Malformed, NoSuchRange
from plurnk.language.ast import LineMarker

T = TypeVar("T")

TEXTS = st.text(alphabet="ab\n\r", max_size=12)
MARKERS = st.builds(LineMarker, first=st.integers(-3, 9), last=st.none() | st.integers(-3, 9))
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=8,
)


def split(text: str) -> list[str]:
    """The lines of SPEC 2.5, by its words."""
    return text.removesuffix("\n").split("\n") if text else []


def around(lines: list[T], marker: LineMarker) -> tuple[list[T], list[T], list[T]]:
    """What comes before the marker's selection, the selection, what comes after."""
    selection = resolve(marker, len(lines))
    first, last = (
        (selection.before, selection.before - 1)
        if isinstance(selection, Insertion)
        else (selection.first, selection.last)
    )
    return lines[: first - 1], lines[first - 1 : last], lines[last:]


@pytest.mark.spec("2.5-lines")
@given(TEXTS, MARKERS)
def test_a_slice_is_the_selected_lines(text: str, marker: LineMarker) -> None:
    assert count_lines(text) == len(split(text))
    try:
        _, selected, _ = around(split(text), marker)
    except NoSuchRange as expected:
        with pytest.raises(NoSuchRange, match=expected.detail.replace("(", r"\(").replace(")", r"\)")):
            slice_lines(text, marker)
        return
    found = slice_lines(text, marker)
    assert split(found.text) == selected
    assert found.count == len(selected)


@pytest.mark.spec("2.5-edit-lines")
@given(TEXTS, MARKERS, TEXTS)
def test_an_edit_replaces_the_selected_lines_and_no_other(text: str, marker: LineMarker, body: str) -> None:
    try:
        before, _, after = around(split(text), marker)
    except NoSuchRange:
        with pytest.raises(NoSuchRange):
            edit_lines(text, marker, body)
        return
    edited = edit_lines(text, marker, body)
    lines = split(edited)
    assert lines == before + split(body) + after
    if lines and lines[-1]:
        assert edited.endswith("\n") == text.endswith("\n")


@pytest.mark.spec("2.5-edit-lines")
@given(TEXTS, MARKERS, TEXTS.filter(bool))
def test_what_was_edited_in_is_read_back(text: str, marker: LineMarker, body: str) -> None:
    try:
        before, _, _ = around(split(text), marker)
    except NoSuchRange:
        return
    there = LineMarker(first=len(before) + 1, last=len(before) + len(split(body)))
    assert split(slice_lines(edit_lines(text, marker, body), there).text) == split(body)


def items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return [{name: of} for name, of in value.items()]
    return value if isinstance(value, list) else [value]


@pytest.mark.spec("2.5-json-items")
@given(JSON, MARKERS)
def test_a_json_slice_is_the_selected_items(value: Json, marker: LineMarker) -> None:
    try:
        _, selected, _ = around(items(value), marker)
    except NoSuchRange:
        with pytest.raises(NoSuchRange):
            slice_items(json.dumps(value), marker)
        return
    found = slice_items(json.dumps(value), marker)
    assert json.loads(found.text) == selected
    assert found.count == len(selected)


def merged(pairs: Sequence[Json]) -> dict[str, Json]:
    return {name: value for item in pairs if isinstance(item, dict) for name, value in item.items()}


@pytest.mark.spec("2.5-json-items")
@given(JSON, MARKERS, JSON)
def test_a_json_edit_replaces_the_selected_items_and_no_other(value: Json, marker: LineMarker, body: Json) -> None:
    try:
        before, _, after = around(items(value), marker)
        edited = json.loads(edit_items(json.dumps(value), marker, json.dumps(body)) or "[]")
    except (NoSuchRange, Malformed):
        return
    brought = body if isinstance(body, list) else [body]
    if isinstance(value, dict):
        assert edited == merged(before + after) | merged(brought)
    elif isinstance(value, list):
        assert edited == before + brought + after
    else:
        assert edited == (brought[0] if brought else [])
