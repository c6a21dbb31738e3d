"""What a client can come to besides the daemon's own refusals (``plurnk.wire.problems.RequestError``)."""

from __future__ import annotations


class ClientError(Exception):
    """Base. The message is one sentence fit to show."""


class Unreachable(ClientError):
    """Nobody answers, or the daemon does not let this client in; the client is of no more use."""


class Refused(Unreachable):
    """Somebody is there and lets this client not in."""


class Disconnected(ClientError):
    """The link broke while a request was under way: it may or may not have been carried out. Others go on."""
