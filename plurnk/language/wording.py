"""How an error shows what was found: short, quoted, on one line (SPEC 1.5)."""

from __future__ import annotations

from typing import Final

END_OF_INPUT: Final = "end of input"

_SHOWN_CHARS = 32
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clip(text: str) -> str:
    """``text``, or its first 32 characters and an ellipsis; what does not print is shown by number."""
    shown = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else _ESCAPES.get(c, f"U+{ord(c):04X}") for c in shown)


def quote(text: str) -> str:
    """``clip(text)`` in single quotes."""
    return f"'{clip(text)}'"
