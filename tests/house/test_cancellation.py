"""Shields end by themselves, and nobody swallows what they do not understand."""

from __future__ import annotations

import ast

from tests.support import source

BOUNDED = ("move_on_after", "move_on_at", "fail_after", "fail_at")


def _is_named_limit(call: ast.Call) -> bool:
    """Tell whether ``call`` is e.g. ``trio.move_on_after(CLEANUP_GRACE_S, …)``."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return function in BOUNDED and any(
        isinstance(part, ast.Name | ast.Attribute) and (getattr(part, "id", "") or getattr(part, "attr", "")).isupper()
        for argument in call.args[:1]
        for part in ast.walk(argument)
    )


def _unbounded_shields(tree: ast.Module) -> list[int]:
    lines: list[int] = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=keywords) if any(word.arg == "shield" for word in keywords):
                if not _is_named_limit(node):
                    lines.append(node.lineno)
            case ast.Assign(targets=[ast.Attribute(attr="shield")]):
                lines.append(node.lineno)
            case _:
                pass
    return sorted(lines)


def test_every_shield_has_a_named_limit() -> None:
    found = {name: lines for name, tree in source.modules("plurnk", "sandbox") if (lines := _unbounded_shields(tree))}
    assert not found


def test_the_shield_rule_sees_an_unbounded_shield() -> None:
    sample = "with CancelScope(shield=True): pass\nscope.shield = True\nwith move_on_after(2, shield=True): pass"
    assert _unbounded_shields(ast.parse(sample)) == [1, 2, 3]
    assert _unbounded_shields(ast.parse("with trio.move_on_after(GRACE_S, shield=True): pass")) == []


def _swallows(handler: ast.ExceptHandler) -> bool:
    broad = handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}
    return broad and all(isinstance(step, ast.Pass | ast.Continue | ast.Constant) for step in handler.body)


def test_nobody_swallows_every_error() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in source.modules("plurnk", "sandbox", "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _swallows(node)
    ]
    assert not found
