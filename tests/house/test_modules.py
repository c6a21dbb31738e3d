"""The house has rooms: who is how large, and who may import what."""

from __future__ import annotations

import ast
from typing import Final

from tests.support import source

MAX_LINES: Final = 400
PURE: Final = ("plurnk/language", "plurnk/content", "plurnk/wire", "plurnk/rules")
IMPURE: Final = frozenset({"trio", "apsw", "socket", "subprocess", "threading", "asyncio"})


def test_a_module_has_one_subject() -> None:
    long = {
        name: lines
        for path in source.files()
        if (name := path.relative_to(source.ROOT).as_posix()).startswith(("plurnk/", "sandbox/"))
        and path.suffix == ".py"
        and (lines := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }
    assert not long


def test_only_the_store_knows_sqlite() -> None:
    strangers = [
        name
        for name, tree in source.modules("plurnk", "sandbox")
        if not name.startswith("plurnk/store/") and {"apsw", "sqlite3"} & _roots(tree)
    ]
    assert not strangers


def test_pure_rooms_do_no_io() -> None:
    offences = {name: bad for name, tree in source.modules(*PURE) if (bad := sorted(IMPURE & _roots(tree)))}
    assert not offences


def _roots(tree: ast.Module) -> set[str]:
    return {name.split(".")[0] for name in source.imported(tree)}
