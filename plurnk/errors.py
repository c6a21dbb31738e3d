"""The one tree of errors that plurnk raises on purpose.

Each class carries the HTTP-like status that answers it (SPEC 2: a refused operation is a *result*);
``detail`` is one sentence fit to show to a person or a model. Errors of libraries become one of
these at the edge that called the library.
"""

from __future__ import annotations

from typing import ClassVar


class PlurnkError(Exception):
    """Base of the tree. ``status`` is the class's; ``detail`` is shown."""

    status: ClassVar[int] = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(PlurnkError):
    """The request cannot be understood."""

    status = 400


class Denied(PlurnkError):
    """Understood and refused."""

    status = 403


class NotFound(PlurnkError):
    status = 404


class NotEditable(PlurnkError):
    status = 405


class TookTooLong(PlurnkError):
    """A bounded evaluation ran over its bound."""

    status = 408


class Conflict(PlurnkError):
    status = 409


class Stale(Conflict):
    """What was shown is no longer what would be done; the world has changed since."""


class TooLarge(PlurnkError):
    status = 413


class UnsupportedType(PlurnkError):
    status = 415


class NoSuchRange(PlurnkError):
    status = 416


class Unreadable(PlurnkError):
    """The source is not what its type says (broken JSON, XML)."""

    status = 422


class Unsupported(PlurnkError):
    """No such scheme, operation or runtime."""

    status = 501


class UpstreamFailed(PlurnkError):
    """A provider or tool failed."""

    status = 502


class Draining(PlurnkError):
    """The daemon is stopping or busy."""

    status = 503


class Overran(PlurnkError):
    """A process did not do its part in time."""

    status = 504


class OutOfRoom(PlurnkError):
    """The disk is full."""

    status = 507
