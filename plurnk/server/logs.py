"""What the daemon says of itself: JSON lines on stderr, or plain ones for a person at a terminal (SPEC 7.5)."""

from __future__ import annotations

import logging
import sys

import msgspec

from plurnk.store.clock import utc_now


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": utc_now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up(level: str) -> None:
    """Log to stderr from ``level`` on; called once, when the daemon starts."""
    handler = logging.StreamHandler(sys.stderr)
    if not sys.stderr.isatty():
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Every request at INFO would be a line for each turn, with the provider's address in it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
