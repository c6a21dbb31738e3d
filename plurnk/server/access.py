"""Who may come in (SPEC 6.6): the rules, the decision, and the gate where it is made."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from plurnk.errors import Denied
from plurnk.server.callers import Caller, identify, read_address
from plurnk.server.websocket import BadHandshake, Handshake, Request, Vanished, WebSocket

MAX_CLIENTS: Final = 256
# Those who are being let in or refused count here, too; of more than this the gate takes no notice.
MAX_CALLERS: Final = 2 * MAX_CLIENTS
HANDSHAKE_S: Final = 10.0

_ROOT: Final = 0
_BEARER: Final = "bearer."
_PROTOCOL: Final = "plurnk"
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``uid`` is the daemon's; ``hosts`` are names, in lower case, by which it may be called besides the
    loopback's, such as the one that it was told to bind; ``token`` None: none is asked for.
    """

    uid: int
    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, and why in one sentence."""

    status: int
    text: str


def decide(rules: Rules, caller: Caller, request: Request) -> Refusal | None:
    """Return why the caller may not come in; None if it may.

    On this machine it has to be a process of the daemon's user, or root's. A token, where one is asked for,
    is asked for over TCP only: a Unix socket's permissions and credentials say as much.
    """
    if caller.is_local and caller.uid not in {rules.uid, _ROOT}:
        return Refusal(403, "this daemon works for its own user only")
    if caller.is_command:
        return Refusal(403, "a command may not steer the daemon that runs it")
    if not rules.origins.issuperset(request.values(b"origin")):
        return Refusal(403, "web pages are not let in but for those in PLURNK_ALLOWED_ORIGINS")
    if not all(_is_us(host, rules, caller) for host in request.values(b"host") or [""]):
        return Refusal(403, "the Host header names no address of this daemon")
    if rules.token is not None and caller.own is not None and not _shows(rules.token, request):
        return Refusal(401, "a token is needed: Authorization: Bearer, or Sec-WebSocket-Protocol: bearer.<token>")
    if request.path.partition("?")[0] != "/":
        return Refusal(404, "the WebSocket is at /")
    return None


def _is_us(host: str, rules: Rules, caller: Caller) -> bool:
    """Tell whether ``host`` names this daemon. The port may be another's: a forwarded one is as good as ours."""
    if not host:
        return caller.own is None
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match[1].strip("[]")
    if name == "localhost" or name in rules.hosts:
        return True
    try:
        address = read_address(name)
    except ValueError:
        return False
    return address.is_loopback or address == caller.own


def _shows(token: str, request: Request) -> bool:
    shown = [word.removeprefix(_BEARER) for word in _offered(request) if word.startswith(_BEARER)]
    for value in request.values(b"authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            shown.append(credentials.strip())
    return any(hmac.compare_digest(word.encode(), token.encode()) for word in shown)


def _offered(request: Request) -> list[str]:
    return request.words(b"sec-websocket-protocol")


def _chosen(request: Request) -> str | None:
    """Return the subprotocol to accept: a browser that offered some takes none for a refusal."""
    offered = _offered(request)
    return _PROTOCOL if _PROTOCOL in offered else next((word for word in offered if word.startswith(_BEARER)), None)


def load_token(path: Path) -> str:
    """Return the token in ``path``, which is made, mode 0600, if it is not there. Blocking; for the start.

    Raises:
        Denied: the file is not ours alone, or empty, or cannot be had.
    """
    try:
        with suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as new:
                new.write(secrets.token_urlsafe(32))
        with path.open() as file:
            status = os.fstat(file.fileno())
            token = file.read().strip()
    except OSError as error:
        raise Denied(f"the token in {path} cannot be had: {error.strerror}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise Denied(f"{path} has to belong to this user and be closed to all others (chmod 600)")
    if not token:
        raise Denied(f"{path} is empty; without it a new token is made")
    return token


class Gate:
    """Lets callers in, and knows how many clients there are."""

    def __init__(
        self, rules: Rules, *, max_message_bytes: int, may_be_command: Callable[[], bool] = lambda: False
    ) -> None:
        """``may_be_command`` tells whether a command is live that shares the machine's network."""
        self._rules = rules
        self._may_be_command = may_be_command
        self._max_message_bytes = max_message_bytes
        self.callers = 0
        self._inside: set[trio.abc.Stream] = set()

    @property
    def clients(self) -> int:
        return len(self._inside)

    @asynccontextmanager
    async def admit(self, stream: trio.abc.Stream) -> AsyncIterator[WebSocket | None]:
        """Give the WebSocket that ``stream`` becomes; None if the caller is refused, too slow, or gone.

        The client's place is free when the block is left. Closing ``stream`` is its owner's business.
        """
        socket = None
        self.callers += 1
        try:
            if self.callers <= MAX_CALLERS:
                with trio.move_on_after(HANDSHAKE_S):
                    socket = await self._shake_hands(stream)
            yield socket
        finally:
            self.callers -= 1
            self._inside.discard(stream)

    async def _shake_hands(self, stream: trio.abc.Stream) -> WebSocket | None:
        handshake = Handshake(stream)
        try:
            caller = await identify(stream, may_be_command=self._may_be_command())
            request = await handshake.receive()
            refusal = decide(self._rules, caller, request)
            if refusal is None and self.clients >= MAX_CLIENTS:
                refusal = Refusal(429, f"{MAX_CLIENTS} clients are here already")
            if refusal is None:
                self._inside.add(stream)
                return await handshake.accept(max_message_bytes=self._max_message_bytes, protocol=_chosen(request))
            await handshake.refuse(refusal.status, refusal.text)
        except BadHandshake as error:
            await handshake.refuse(error.status, error.text, error.headers)
        except Vanished:
            return None
        return None
