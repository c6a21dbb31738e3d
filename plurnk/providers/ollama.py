"""Ollama's own wire, ``/api/chat`` with lines of JSON (SPEC 3.8).

Settings: ``OLLAMA_HOST``, in every spelling that ollama takes, or for one alias ``PLURNK_MODEL_<alias>__BASE_URL``;
``__CONTEXT`` (tokens), ``__TEMPERATURE``, ``__PRICES``, and ``__API_KEY_ENV`` for a server behind a proxy that wants a
key. No key is sent otherwise.

The size of the context is said with every request: the server's own is small, and it cuts what does not fit without a
word. Servers from 0.12.6 on are told not to, and refuse. A model that cannot think is asked again without.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.providers.answers import AnswerText, counted, linger
from plurnk.providers.errors import ProviderFailed, reported
from plurnk.providers.http_provider import HttpProvider
from plurnk.providers.refusals import Refusals
from plurnk.providers.settings import api_key, base_url, checked_url, context, prices, temperature

DEFAULT_HOST: Final = "http://127.0.0.1:11434"

DEFAULT_CONTEXT_TOKENS: Final = 16_384
"""The language card, an index and a dozen turns; some 2 GiB beside a model of 8 billion parameters."""

_DEFAULT_PORTS: Final = {"": "11434", "http": "80", "https": "443"}
_ANY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 – a server's, not for listening


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None


class _Line(msgspec.Struct):
    """What is used of a line."""

    message: _Message | None = None
    model: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OllamaProvider(HttpProvider):
    """One model of one server."""

    context_size: int

    @asynccontextmanager
    async def _posting(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[str]]:
        from plurnk.providers.event_stream import JSON_LINES, open_events  # noqa: PLC0415 – httpx is there by now

        options: dict[str, Any] = {"num_ctx": self.context_size}
        if self.temperature is not None:
            options["temperature"] = self.temperature
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "stream": True,
            "options": options,
            "truncate": False,
            "shift": False,
        }
        if request.reasoning_tokens > 0:
            body["think"] = True
        headers = {"content-type": "application/json", "accept": JSON_LINES.content_type, "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        encoded = msgspec.json.encode(body)
        posting = open_events(self.settings.http(), self.url, headers, encoded, secret=self.key, kind=JSON_LINES)
        try:
            async with posting as lines:
                yield lines
        except ProviderFailed as failed:
            if failed.http_status != 404:
                raise
            helped = f"{failed.detail}; is the model there? `ollama pull {self.model}` gets it"
            raise ProviderFailed(helped, http_status=404) from None

    async def _items(self, events: AsyncIterator[str]) -> AsyncGenerator[Delta | Completion, None]:
        text = AnswerText()
        async for raw in events:
            said, line = _read(raw)
            if line.error is not None:
                raise reported(line.error, self.key, http_status=None)
            message = line.message or _Message()
            for delta in text.take("reasoning", message.thinking or ""):
                yield delta
            for delta in text.take("content", message.content or ""):
                yield delta
            if line.done:
                yield Completion(
                    content=text.content,
                    reasoning=text.reasoning,
                    usage=Usage(prompt=counted(line.prompt_eval_count), completion=counted(line.eval_count)),
                    finish_reason=line.done_reason or "stop",
                    model=line.model or self.model,
                    raw=said,
                )
                await linger(events)
                return
        raise ProviderFailed("the provider broke off in mid-answer", transient=True)


def _read(raw: str) -> tuple[dict[str, Any], _Line]:
    try:
        said = msgspec.json.decode(raw, type=dict[str, Any])
        return said, msgspec.convert(said, _Line, strict=False)
    except (ValueError, RecursionError) as error:
        raise ProviderFailed(f"the provider sent a line that cannot be read: {error}") from None


def server_url(given: str) -> str:
    """The URL of the server that ``OLLAMA_HOST`` names, as ollama reads it: no port is 11434, no host is this machine.

    Raises:
        Malformed: it names none.
    """
    named = given.strip(" \t\r\n\"'")
    if re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*", named):
        named = f"[{named}]"  # An IPv6 address may come without brackets, and then without a port.
    match = re.fullmatch(r"(?:(https?)://)?(\[[0-9A-Fa-f:.]+\]|[^:/@\s]*)(?::([0-9]{1,5}))?(/\S*)?", named)
    if match is None:
        raise Malformed(f"OLLAMA_HOST is no address like {DEFAULT_HOST.removeprefix('http://')}")
    scheme, named_host, port, path = (part or "" for part in match.groups())
    host = _ANY_ADDRESS.get(named_host, named_host)
    url = f"{scheme or 'http'}://{host}:{port or _DEFAULT_PORTS[scheme]}{path}"
    return checked_url(url, variable="OLLAMA_HOST", like=DEFAULT_HOST)


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = True

    def __call__(self, settings: ProviderSettings) -> OllamaProvider:
        """Make the provider of one alias.

        Raises:
            Malformed: a setting is wrong.
        """
        base = base_url(settings, variable=None, default=server_url(settings.env.get("OLLAMA_HOST", "")))
        has_key = settings.option("API_KEY_ENV") is not None
        return OllamaProvider(
            settings=settings,
            url=f"{base}/api/chat",
            key=api_key(settings, variable="OLLAMA_API_KEY", base_url_variable=None) if has_key else "",
            context_size=context(settings, DEFAULT_CONTEXT_TOKENS) or DEFAULT_CONTEXT_TOKENS,
            temperature=temperature(settings),
            prices=prices(settings),
            refusals=Refusals(settings, extra="thinking"),
        )


provider: Final = _Factory()
