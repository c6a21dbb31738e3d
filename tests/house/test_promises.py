"""Every promise of SPEC.md is held by a test, and every mark names a promise (SPEC 7.6)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.support import source

# Promises that have no test yet. It may only shrink: an entry that a test holds, or that SPEC.md does not make,
# fails below.
PROMISED_LATER: Final = frozenset(
    {
        "7.4-asyncio-plugin",
    }
)


def _promises() -> set[str]:
    text = (source.ROOT / "SPEC.md").read_text("utf-8")
    return set(re.findall(r"\{§(\d+\.\d+-[a-z0-9-]+)\}", text))


def _marks() -> Iterator[tuple[str, str]]:
    """Yield ``(promise, file:line)`` for each argument of each ``pytest.mark.spec(…)``."""
    for name, tree in source.modules("tests"):
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="pytest"), attr="mark"), attr="spec")
                ):
                    for argument in node.args:
                        promise = argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
                        yield str(promise), f"{name}:{node.lineno}"
                case _:
                    pass


def test_every_mark_names_a_promise() -> None:
    promises = _promises()
    strange = [f"{where}: {promise}" for promise, where in _marks() if promise not in promises]
    assert not strange


def test_every_promise_has_a_test() -> None:
    held = {promise for promise, _ in _marks()}
    broken = sorted(_promises() - held - PROMISED_LATER)
    assert not broken


def test_promised_later_only_shrinks() -> None:
    held = {promise for promise, _ in _marks()}
    assert sorted(PROMISED_LATER & held) == [], "held by a test now: remove them from the list"
    assert sorted(PROMISED_LATER - _promises()) == [], "no promises of SPEC.md"
