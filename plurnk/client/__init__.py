"""A typed async client of the daemon (SPEC 6.7); ``plurnk.client.sync`` is the same for scripts without trio."""

from plurnk.client.client import Client, open_client
from plurnk.client.errors import ClientError, Disconnected, Refused, Unreachable
from plurnk.client.inbox import Heard, Resync
from plurnk.wire.problems import RequestError

__all__ = [
    "Client",
    "ClientError",
    "Disconnected",
    "Heard",
    "Refused",
    "RequestError",
    "Resync",
    "Unreachable",
    "open_client",
]
