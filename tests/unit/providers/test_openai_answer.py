"""Events of Chat Completions, added up."""

from __future__ import annotations

import pytest

from plurnk.providers.errors import ProviderFailed
from plurnk.providers.openai import Answer


def test_an_event_of_any_depth_is_read_or_refused() -> None:
    for depth in range(800, 1100, 3):  # Python's recursion limit is in between, or far above.
        nested = "[" * depth + "]" * depth
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"error":{nested}}}', "")
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"choices":{nested}}}', "")


def test_the_last_event_is_kept_as_it_came() -> None:
    answer = Answer("m")
    answer.take('{"choices":[],"x":[1]}', "")
    assert answer.completion().raw == {"choices": [], "x": [1]}
