"""Streams as ``subscription.list`` shows them, for tests that read them."""

from __future__ import annotations

from typing import Any

from plurnk.wire.answers import SubscriptionView


def subscription_view(**fields: Any) -> SubscriptionView:
    """Make one that is live; only what matters to the test need be given."""
    default: dict[str, Any] = {
        "id": 3,
        "run_id": 1,
        "entry_id": 9,
        "target": "exec://sh-1",
        "scheme": "exec",
        "handle": "make",
        "opened_at": "2026-01-01T00:00:00.000Z",
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "awaiting_input": False,
        "closed_at": None,
        "close_status": None,
        "close_detail": None,
        "exit_code": None,
        "signal": None,
    }
    return SubscriptionView(**(default | fields))
