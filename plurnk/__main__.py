"""The command ``plurnk``, also as ``python -m plurnk``."""

from __future__ import annotations

import sys

from plurnk.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
