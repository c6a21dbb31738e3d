"""Which variables a command gets: an allow-list, so that no key comes along (SPEC 4.6 of plurnk)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ALLOWED: Final = frozenset(
    {
        "COLORTERM",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "NO_COLOR",
        "PATH",
        "SHELL",
        "TERM",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)
"""And ``LC_*``. ``TMPDIR`` is set by the sandbox, to where its private /tmp is."""


def allowed(environ: Mapping[str, str]) -> dict[str, str]:
    """What of ``environ`` a command may see."""
    return {name: value for name, value in environ.items() if name in ALLOWED or name.startswith("LC_")}
