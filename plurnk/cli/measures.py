"""Times and sizes as people read them in a table: two figures say enough."""

from __future__ import annotations

from typing import Final

_STEPS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def span(seconds: float) -> str:
    """Write a length of time: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    rest = int(seconds)
    parts: list[str] = []
    for length, name in _STEPS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {name}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 "))


def size(count: int) -> str:
    """Write a number of bytes: ``0``, ``1,023``, ``1.5 KiB``, ``12 MiB``."""
    if count < 1024:
        return f"{count:,}"
    amount = float(count)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1024 or unit == _UNITS[-1]:
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:,.0f} {unit}"
    raise AssertionError("there is a last unit")
