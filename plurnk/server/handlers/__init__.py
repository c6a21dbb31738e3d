"""What each method does: one function a method, gathered here and checked against the table of methods."""

from __future__ import annotations

from collections.abc import Mapping

from plurnk.server.attachment import Client
from plurnk.server.handlers import files, loops, operations, proposals, reading, runs, sessions, status, streams
from plurnk.server.methods import Handler

HANDLERS: Mapping[str, Handler[Client]] = {
    **status.HANDLERS,
    **sessions.HANDLERS,
    **runs.HANDLERS,
    **loops.HANDLERS,
    **proposals.HANDLERS,
    **streams.HANDLERS,
    **reading.HANDLERS,
    **operations.HANDLERS,
    **files.HANDLERS,
}
