"""The two ways to open beneath a root: the kernel's (openat2) and our own walk. Tests take both."""

from __future__ import annotations

from typing import Final

import pytest

from plurnk.files import openat2

WAYS: Final = ["kernel", "walk"]


def take(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open by this way until the test ends."""
    if way == "walk":
        monkeypatch.setattr(openat2, "supported", lambda: False)
    elif not openat2.supported():
        pytest.skip("needs: a kernel with openat2")
