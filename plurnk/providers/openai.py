"""Chat Completions with server-sent events: any server that speaks them (SPEC 3.8).

Settings: ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; for one alias ``PLURNK_MODEL_<alias>__BASE_URL``,
``__API_KEY_ENV`` (the name of the variable that holds its key), ``__CONTEXT`` (tokens) and
``__TEMPERATURE``. ``OPENAI_API_KEY`` goes to ``OPENAI_BASE_URL`` only: an alias with a server of its own
gets no key unless it names one, so that a key never reaches a server that it was not meant for.

Reasoning is taken from ``reasoning_content`` or ``reasoning``; a number of reasoning tokens cannot be
asked for on this wire.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import trio

from plurnk.content.tokens import estimate_tokens
from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.providers.errors import ProviderFailed, error_message, excerpt, is_transient

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

MAX_ANSWER_CHARS: Final = 16 << 20
"""Of content and reasoning together: a model that repeats itself for ever must not fill the memory."""

LINGER_S: Final = 1.0
"""How long the end of the response is waited for after its last event, so that the connection can be
used again; what comes late costs a new connection, nothing else."""


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    """What is used of an event; servers add fields of their own and send null for what they lack."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIProvider:
    """One model of one server."""

    settings: ProviderSettings
    url: str
    key: str
    context_size: int | None
    temperature: float | None

    def __repr__(self) -> str:
        """Without the key, which a traceback or a log would show."""
        return f"OpenAIProvider({self.model!r}, {self.url!r})"

    @property
    def model(self) -> str:
        return self.settings.model

    def count_tokens(self, text: str) -> int:
        """An estimate, characters / 4: the vendor's own vocabulary would have to be downloaded."""
        return estimate_tokens(text)

    def cost_for(self, usage: Usage) -> int:  # noqa: ARG002 – the contract's name
        """0: the wire tells no prices."""
        return 0

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        """Ask, as the contract says. No time limit is set here.

        Raises:
            ProviderFailed: from entering the block or from the iterator.
        """
        from plurnk.providers.event_stream import open_events  # noqa: PLC0415 – httpx is there by now; a start without it is 140 ms shorter

        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        posting = open_events(self.settings.http(), self.url, headers, msgspec.json.encode(body), secret=self.key)
        async with posting as events, aclosing(self._items(events)) as items:
            yield items

    async def _items(self, events: AsyncIterator[str]) -> AsyncGenerator[Delta | Completion, None]:
        answer = Answer(self.model)
        async for event in events:
            if event == "[DONE]":
                answer.finish_reason = answer.finish_reason or "stop"
                break
            for delta in answer.take(event, self.key):
                yield delta
        if not answer.finish_reason:
            raise ProviderFailed("the provider broke off in mid-answer", transient=True)
        yield answer.completion()
        with trio.move_on_after(LINGER_S), suppress(ProviderFailed):
            await anext(events, None)


class Answer:
    """What the events of one answer add up to; owned by the task that reads them."""

    def __init__(self, model: str) -> None:
        self.finish_reason = ""
        self._model = model
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._chars = 0
        self._usage = Usage()
        self._last: dict[str, Any] = {}

    def take(self, event: str, secret: str) -> list[Delta]:
        """Add one event.

        Raises:
            ProviderFailed: it is an error, or nothing that Chat Completions know, or one too many.
        """
        try:
            said = msgspec.json.decode(event, type=dict[str, Any])
            chunk = msgspec.convert(said, _Chunk, strict=False)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed(f"the provider sent an event that cannot be read: {error}") from None
        if chunk.error is not None:
            raise _told(chunk.error, secret)
        self._last = said
        self._model = chunk.model or self._model
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        deltas: list[Delta] = []
        for choice in chunk.choices or ():
            if choice.index == 0:
                self.finish_reason = choice.finish_reason or self.finish_reason
                deltas += self._deltas(choice.delta or _Delta())
        return deltas

    def completion(self) -> Completion:
        return Completion(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            usage=self._usage,
            finish_reason=self.finish_reason,
            model=self._model,
            raw=self._last,
        )

    def _deltas(self, delta: _Delta) -> list[Delta]:
        deltas: list[Delta] = []
        reasoning = delta.reasoning_content or delta.reasoning
        if isinstance(reasoning, str) and reasoning:
            self._reasoning.append(reasoning)
            deltas.append(Delta(kind="reasoning", text=reasoning))
        if delta.content:
            self._content.append(delta.content)
            deltas.append(Delta(kind="content", text=delta.content))
        self._chars += sum(len(delta.text) for delta in deltas)
        if self._chars > MAX_ANSWER_CHARS:
            raise ProviderFailed(f"the provider's answer has more than {MAX_ANSWER_CHARS} characters")
        return deltas


def _usage(usage: _Usage) -> Usage:
    prompt_details = usage.prompt_tokens_details or _PromptDetails()
    completion_details = usage.completion_tokens_details or _CompletionDetails()
    return Usage(
        prompt=usage.prompt_tokens or 0,
        completion=usage.completion_tokens or 0,
        cached=prompt_details.cached_tokens or 0,
        reasoning=completion_details.reasoning_tokens or 0,
    )


def _told(error: Any, secret: str) -> ProviderFailed:
    """An error that came as an event. Without a status of its own it is a mishap of the server's."""
    status: int | None = None
    match error:
        case {"code": int(code)} | {"status": int(code)}:
            status = code
        case _:
            pass
    return ProviderFailed(
        f"the provider reported an error: {excerpt(error_message(error), secret)}",
        http_status=status,
        transient=status is None or is_transient(status),
    )


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = True

    def __call__(self, settings: ProviderSettings) -> OpenAIProvider:
        """Make the provider of one alias.

        Raises:
            Malformed: a setting is missing or wrong.
        """
        return OpenAIProvider(
            settings=settings,
            url=_url(settings),
            key=_key(settings),
            context_size=_context(settings),
            temperature=_temperature(settings),
        )


def _url(settings: ProviderSettings) -> str:
    own = settings.option("BASE_URL")
    name = f"PLURNK_MODEL_{settings.alias}__BASE_URL" if own else "OPENAI_BASE_URL"
    base = (own or settings.env.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")
    try:
        parts = urlsplit(base)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        valid = False
    if not valid or not base.isascii() or not base.isprintable() or " " in base:
        raise Malformed(f"{name} is no URL like {DEFAULT_BASE_URL}")
    return f"{base}/chat/completions"


def _key(settings: ProviderSettings) -> str:
    name = settings.option("API_KEY_ENV")
    if name is None:
        if settings.option("BASE_URL"):
            return ""
        name = "OPENAI_API_KEY"
        if not settings.env.get(name) and settings.env.get("OPENAI_BASE_URL"):
            return ""  # Local servers need none.
    key = settings.env.get(name, "").strip()
    if not key:
        raise Malformed(f"{name} is not set; the model {settings.alias!r} needs it")
    if not re.fullmatch(r"[!-~]+", key):
        raise Malformed(f"{name} has characters that no key has")
    return key


def _context(settings: ProviderSettings) -> int | None:
    given = settings.option("CONTEXT")
    if not given:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,11}", given):
        raise Malformed(f"PLURNK_MODEL_{settings.alias}__CONTEXT is {given!r}; it should be a number of tokens")
    return int(given)


def _temperature(settings: ProviderSettings) -> float | None:
    given = settings.option("TEMPERATURE")
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", given):
        raise Malformed(f"PLURNK_MODEL_{settings.alias}__TEMPERATURE is {given!r}; it should be a number like 0.7")
    return float(given)


provider: Final = _Factory()
