"""Exit codes (SPEC 6.7)."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""A command other than ``run`` could not do it all."""
TURN_LIMIT: Final = 2
"""``run``: the loop came to its limit of turns. Also argparse's, for a command line that cannot be read."""
OTHER: Final = 3
"""``run``: any other end."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells report it: 128 + SIGINT."""
