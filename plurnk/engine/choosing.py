"""Which model answers when ``PLURNK_MODEL`` does not say: the one that is plainly meant, else the demo (SPEC 3.8).

The one alias that is configured; else the vendor of the one key that is set, with the model of ``DEFAULT_MODELS``;
else a server on ``http://`` that answers: ``OPENAI_BASE_URL``, then ``OLLAMA_HOST``. What is chosen is added to the
environment, as if somebody had written it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11
import msgspec
import trio

from plurnk.engine.models import DEMO, configured_aliases
from plurnk.errors import Malformed
from plurnk.providers.ollama import server_url
from plurnk.providers.settings import checked_url, shown_url

DEFAULT_MODELS: Final[Mapping[str, tuple[str, str]]] = {
    "OPENAI_API_KEY": ("openai", "gpt-5.6-terra"),
    "ANTHROPIC_API_KEY": ("anthropic", "claude-sonnet-5"),
    "GEMINI_API_KEY": ("google", "gemini-flash-latest"),
}
"""By the variable of the key: the vendor, and a model of its middle class, good and not the dearest."""

PROBE_S: Final = 0.3
"""For all servers together. One on this machine answers or refuses in a few ms; where no machine is, nothing comes."""

MAX_LIST_BYTES: Final = 256 << 10
_MAX_ID_CHARS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``env`` says which model is active. ``why`` is a clause, "" when somebody has said so there."""

    env: Mapping[str, str]
    why: str


async def choose_model(env: Mapping[str, str]) -> Choice:
    """Find the model that is meant; ask servers which they have only if nothing else says so, for at most ``PROBE_S``.

    Raises:
        Malformed: an alias is not ``provider/model``.
    """
    return meant(env) or await _by_server(env)


def meant(env: Mapping[str, str]) -> Choice | None:
    """Find the model that is meant; None: servers are to be asked.

    Raises:
        Malformed: an alias is not ``provider/model``.
    """
    if env.get("PLURNK_MODEL"):
        return Choice(env=env, why="")
    names = [alias.name for alias in configured_aliases(env)]
    if len(names) == 1:
        return _alias(env, names[0], "it is the only one that is configured")
    if names:
        return _alias(env, DEMO, f"{_and(names)} are configured and none of them is chosen")
    keys = [name for name in DEFAULT_MODELS if env.get(name, "").strip()]
    elsewhere = "OPENAI_API_KEY" in keys and bool(env.get("OPENAI_BASE_URL"))
    is_local = env.get("OPENAI_BASE_URL", "").strip().startswith("http://")
    if elsewhere and is_local:
        keys.remove("OPENAI_API_KEY")  # It is that server's.
    if len(keys) > 1:
        return _alias(env, DEMO, f"{_and(keys)} are set and nothing says which of them to use")
    if keys and elsewhere and not is_local:
        return _alias(env, DEMO, "nothing says which model of OPENAI_BASE_URL to use")
    if keys:
        return _model(env, *DEFAULT_MODELS[keys[0]], f"{keys[0]} is the only key that is set")
    return None


async def _by_server(env: Mapping[str, str]) -> Choice:
    servers = _servers(env)
    found: dict[str, str] = {}
    with trio.move_on_after(PROBE_S):
        async with trio.open_nursery() as probes:
            for server in servers:
                probes.start_soon(_probe, server, found)
    for server in servers:
        if model := found.get(server.provider):
            return _model(env, server.provider, model, f"{shown_url(server.base)} answers and has it")
    return _alias(env, DEMO, "no key is set and no server on this machine answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """``entries`` and ``name`` say where the list of its models, at ``path``, has their ids."""

    provider: str
    base: str
    path: str
    entries: str
    name: str
    key: str = ""


def _servers(env: Mapping[str, str]) -> Sequence[_Server]:
    """Those that may be asked; an address that is none is found fault with when it is used."""
    servers: list[_Server] = []
    with suppress(Malformed):
        base = checked_url(env.get("OPENAI_BASE_URL", ""), variable="OPENAI_BASE_URL", like="")
        key = env.get("OPENAI_API_KEY", "").strip()
        servers.append(_Server(provider="openai", base=base, path="/models", entries="data", name="id", key=key))
    with suppress(Malformed):
        base = server_url(env.get("OLLAMA_HOST", ""))
        servers.append(_Server(provider="ollama", base=base, path="/api/tags", entries="models", name="name"))
    return [server for server in servers if server.base.startswith("http://")]


async def _probe(server: _Server, found: dict[str, str]) -> None:
    """Note the first model that the server has and that can talk, if it answers."""
    try:
        listed = msgspec.json.decode(await _get(server))
        for entry in listed[server.entries]:
            name = entry[server.name]
            if isinstance(name, str) and name.isprintable() and "embed" not in name and 0 < len(name) <= _MAX_ID_CHARS:
                found[server.provider] = name
                return
    except (OSError, trio.BrokenResourceError, h11.ProtocolError, ValueError, LookupError, TypeError, RecursionError):
        pass  # No server, or not such a one.


async def _get(server: _Server) -> bytes:
    """What a GET brings; without httpx, whose import would be most of a start.

    Raises:
        OSError, trio.BrokenResourceError: no connection, or a broken one.
        h11.ProtocolError: the server speaks no HTTP.
        ValueError: it does not answer 200, or too much.
    """
    parts = urlsplit(server.base)
    headers = [("host", parts.netloc.rpartition("@")[2]), ("accept", "application/json"), ("connection", "close")]
    if server.key:
        headers.append(("authorization", f"Bearer {server.key}"))
    request = h11.Request(method="GET", target=f"{parts.path}{server.path}", headers=headers)
    http = h11.Connection(h11.CLIENT)
    body = bytearray()
    async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 80) as stream:
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        while True:
            match http.next_event():
                case h11.NEED_DATA:
                    http.receive_data(await stream.receive_some())
                case h11.Response(status_code=status) if status != 200:
                    raise ValueError(status)
                case h11.Data(data=data):
                    body += data
                    if len(body) > MAX_LIST_BYTES:
                        raise ValueError(len(body))
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    return bytes(body)
                case _:
                    pass


def _alias(env: Mapping[str, str], name: str, why: str) -> Choice:
    return Choice(env={**env, "PLURNK_MODEL": name}, why=why)


def _model(env: Mapping[str, str], provider: str, model: str, why: str) -> Choice:
    """As ``_alias``, with an alias of the provider's name."""
    return _alias({**env, f"PLURNK_MODEL_{provider}": f"{provider}/{model}"}, provider, why)


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
