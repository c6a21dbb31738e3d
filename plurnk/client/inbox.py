"""What the daemon told and nobody has read yet: the durable notifications each once, in order, without a hole."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from plurnk.wire.jsonrpc import Event
from plurnk.wire.notifications import Notification, SessionCreated, SessionLagged
from plurnk.wire.openrpc import notification_types

# More is not kept, and not lost either: it is asked for again once these have been read.
LIMIT: Final = 4096

_TYPES: Final[Mapping[str, type[Notification]]] = {kind.method: kind for kind in notification_types()}


class Resync(msgspec.Struct, frozen=True):
    """Stands where notifications are gone for good: the daemon keeps those from ``oldest`` on."""

    oldest: int


Heard: TypeAlias = Notification | Resync | Event
"""A notification; an ``Event`` is one that this version has no type for."""


class _EventId(msgspec.Struct, rename="camel"):
    event_id: int | None = None


class Inbox:
    """Plain state, no I/O. ``behind`` says that some are missing: attach again with ``since=seen``."""

    def __init__(self) -> None:
        self.waiting: deque[Heard] = deque()
        self.behind = False
        self._session: int | None = None
        self._next: int | None = None  # eventId to come; None: whatever comes first
        self._last_before = 0

    @property
    def seen(self) -> int:
        """The eventId after which to go on."""
        return self._last_before if self._next is None else self._next - 1

    def attached(self, session: int, after: int, *, exact: bool = False, resync: int | None = None) -> None:
        """From here on come the events of ``session`` that follow ``after``; those from ``resync`` on, if given.

        ``exact``: the next one is ``after + 1``, and there is a hole when it is not.
        """
        self.behind = False
        if session != self._session or resync is not None:
            self._session, self._next, self._last_before = session, None, after
        if exact and resync is None and self._next is None:
            self._next = after + 1
        if resync is not None:
            self.waiting.append(Resync(resync))

    def hear(self, event: Event) -> Heard:
        """Take ``event``, unless it came before, or others are missing before it, or there is no room.

        Returns what it is, taken or not.

        Raises:
            msgspec.ValidationError: it is not what its method's type says.
        """
        kind = _TYPES.get(event.method)
        heard: Heard = event if kind is None else msgspec.json.decode(event.params, type=kind)
        number = msgspec.json.decode(event.params, type=_EventId).event_id
        room = len(self.waiting) < LIMIT
        if isinstance(heard, SessionLagged):
            self.behind = True
        elif number is None or (isinstance(heard, SessionCreated) and heard.id != self._session):
            # Not durable; or another session's, whose numbers are its own.
            if room:
                self.waiting.append(heard)
        elif room and self._next in {None, number}:
            self._next = number + 1
            self.waiting.append(heard)
        elif self._next is None or number >= self._next:
            self.behind = True
        return heard
