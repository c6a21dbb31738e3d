"""Which directory contains what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.paths import is_within, is_within_any

PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4).map(lambda names: "/" + "/".join(names))


@given(PATHS, st.frozensets(PATHS, max_size=6))
def test_many_directories_are_asked_as_one_by_one(path: str, directories: frozenset[str]) -> None:
    assert is_within_any(path, directories) == is_within(path, directories)


@pytest.mark.parametrize(
    ("path", "expected"), [("/a", True), ("/a/b/c", True), ("/ab", False), ("/", False), ("/b/a", False)]
)
def test_a_directory_contains_itself_and_what_is_beneath_it(path: str, expected: bool) -> None:
    assert is_within_any(path, {"/a"}) is expected
