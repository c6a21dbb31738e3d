"""Files that come with plurnk and are no code: migrations, the default persona, the language card.

A wheel carries the first two in ``plurnk/_data``; a checkout (editable install) keeps them at its root.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parent


def migrations() -> Sequence[tuple[str, str]]:
    """Return ``(file name, SQL)`` of every migration, in the order in which they apply."""
    return [(path.name, path.read_text("utf-8")) for path in sorted((_data() / "migrations").glob("*.sql"))]


def persona() -> str:
    """Return the default persona, Markdown."""
    return (_data() / "persona.md").read_text("utf-8")


def language_card() -> str:
    """Return the description of the language that a model reads, Markdown (SPEC 1.6)."""
    return (_PACKAGE / "prompts" / "language.md").read_text("utf-8")


def _data() -> Path:
    packed = _PACKAGE / "_data"
    return packed if packed.is_dir() else _PACKAGE.parent
