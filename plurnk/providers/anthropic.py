"""Anthropic's Messages with server-sent events (SPEC 3.8).

Settings: ``ANTHROPIC_BASE_URL`` (without ``/v1``) and ``ANTHROPIC_API_KEY``; for one alias
``PLURNK_MODEL_<alias>__BASE_URL``, ``__API_KEY_ENV``, ``__CONTEXT`` (tokens; 200000), ``__MAX_TOKENS`` (of an answer
with its reasoning; 32000), ``__TEMPERATURE`` (Claude 4.7 and later refuse one) and ``__PRICES``
(``providers.settings``; the fourth price is for what is written to the cache).

The system text is sent in blocks (``providers.cache_blocks``), so that the vendor's cache finds what has come before.
A model that cannot think is asked again without.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from plurnk.content.tokens import estimate_tokens
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers.answers import AnswerText, counted, linger, overlay
from plurnk.providers.cache_blocks import cut
from plurnk.providers.errors import ProviderFailed, reported
from plurnk.providers.http_provider import HttpProvider
from plurnk.providers.refusals import Refusals
from plurnk.providers.settings import api_key, base_url, context, prices, temperature, tokens

DEFAULT_BASE_URL: Final = "https://api.anthropic.com"
API_VERSION: Final = "2023-06-01"

CONTEXT_TOKENS: Final = 200_000

MAX_TOKENS: Final = 32_000
"""The wire wants a bound. This one is allowed for every model since Claude 4, and no turn's statements are longer."""

MIN_ANSWER_TOKENS: Final = 1024
"""Asked for even if the prompt, whose tokens are an estimate, seems to leave less room."""

MIN_BUDGET_TOKENS: Final = 1024
"""The vendor's own bound for a number of reasoning tokens."""

_VERSION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")

_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error that comes in mid-stream, with status 200, would have had as a status."""


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    """Running totals: what a later event tells, it tells anew, and what it leaves out, stands."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None


class _Piece(msgspec.Struct):
    """A block as it starts, or a delta of one. Those of other kinds (signatures, tools) have neither text."""

    text: str | None = None
    thinking: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    """What is used of the events that are known."""

    type: str
    message: _Message | None = None
    content_block: _Piece | None = None
    delta: _Piece | None = None
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AnthropicProvider(HttpProvider):
    """One model of one server."""

    context_size: int
    max_tokens: int

    def _posting(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        from plurnk.providers.event_stream import open_events  # noqa: PLC0415 – httpx is there by now; a start without it is 140 ms shorter

        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "anthropic-version": API_VERSION,
        }
        if self.key:
            headers["x-api-key"] = self.key
        body = msgspec.json.encode(self._body(request))
        return open_events(self.settings.http(), self.url, headers, body, secret=self.key)

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        system, messages = _split(request)
        room = self.context_size - sum(estimate_tokens(message.content) for message in request.messages)
        max_tokens = min(self.max_tokens, max(room, MIN_ANSWER_TOKENS))
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": max_tokens,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "stream": True,
        }
        if system:
            body["system"] = system
        thinking = _thinking(self.model, max_tokens, request.reasoning_tokens)
        if thinking is not None:
            body["thinking"] = thinking
        elif self.temperature is not None:  # The vendor takes none together with thinking.
            body["temperature"] = self.temperature
        return body

    async def _items(self, events: AsyncIterator[str]) -> AsyncGenerator[Delta | Completion, None]:
        answer = Answer(self.model)
        async for event in events:
            for delta in answer.take(event, self.key):
                yield delta
            if answer.ended:
                break
        if not answer.ended:
            raise ProviderFailed("the provider broke off in mid-answer", transient=True)
        yield answer.completion()
        await linger(events)


class Answer:
    """What the events of one answer add up to; owned by the task that reads them."""

    def __init__(self, model: str) -> None:
        self.ended = False
        self._finish_reason = "stop"
        self._model = model
        self._text = AnswerText()
        self._usage = _Usage()
        self._last: dict[str, Any] = {}

    def take(self, event: str, secret: str) -> list[Delta]:
        """Add one event.

        Raises:
            ProviderFailed: it is an error, or nothing that Messages know, or one too many.
        """
        try:
            said = msgspec.json.decode(event, type=dict[str, Any])
            match said:
                case {"type": "message_start" | "content_block_start" | "content_block_delta" | "message_delta"}:
                    return self._take(msgspec.convert(said, _Event, strict=False), said)
                case {"type": "message_stop"}:
                    self.ended = True
                case {"error": error}:
                    raise reported(error, secret, http_status=_status(error))
                case _:
                    pass  # "ping", the end of a block, and what is still to be invented.
        except (ValueError, RecursionError) as unreadable:
            raise ProviderFailed(f"the provider sent an event that cannot be read: {unreadable}") from None
        return []

    def completion(self) -> Completion:
        return Completion(
            content=self._text.content,
            reasoning=self._text.reasoning,
            usage=_usage(self._usage),
            finish_reason=self._finish_reason,
            model=self._model,
            raw=self._last,
        )

    def _take(self, event: _Event, said: dict[str, Any]) -> list[Delta]:
        message = event.message or _Message()
        self._model = message.model or self._model
        overlay(self._usage, message.usage)
        overlay(self._usage, event.usage)
        if event.type in {"message_start", "message_delta"}:
            self._last = said
        piece = event.delta or event.content_block or _Piece()
        self._finish_reason = piece.stop_reason or self._finish_reason
        return [*self._text.take("reasoning", piece.thinking or ""), *self._text.take("content", piece.text or "")]


def _split(request: GenerateRequest) -> tuple[list[dict[str, Any]], tuple[Message, ...]]:
    """The blocks of the system text, which is no message on this wire, and the messages after it."""
    first, *others = request.messages
    if first.role != "system":
        return [], request.messages
    blocks = [
        {"type": "text", "text": block.text} | ({"cache_control": {"type": "ephemeral"}} if block.remember else {})
        for block in cut(first.content, request.cache_marks)
    ]
    return blocks, tuple(others)


def _thinking(model: str, max_tokens: int, reasoning_tokens: int) -> dict[str, Any] | None:
    """How to ask for reasoning; None: not at all.

    Up to Claude 4.6 by a number of tokens, here at most half of the answer's. From 4.7 on a number is refused; the
    model decides how much, and shows it when asked to. A name without a version is taken for a newer one.
    """
    if reasoning_tokens <= 0:
        return None
    version = _VERSION.search(model)
    if version is None or (int(version[1]), int(version[2] or 0)) >= (4, 7):
        return {"type": "adaptive", "display": "summarized"}
    if max_tokens < 2 * MIN_BUDGET_TOKENS:
        return None
    return {"type": "enabled", "budget_tokens": min(max(reasoning_tokens, MIN_BUDGET_TOKENS), max_tokens // 2)}


def _usage(usage: _Usage) -> Usage:
    """``input_tokens`` are only those that came after what was read from the cache or written to it."""
    read, written = counted(usage.cache_read_input_tokens), counted(usage.cache_creation_input_tokens)
    details = usage.output_tokens_details or _OutputDetails()
    return Usage(
        prompt=counted(usage.input_tokens) + written + read,
        completion=counted(usage.output_tokens),
        cached=read,
        reasoning=counted(details.thinking_tokens),
        cache_written=written,
    )


def _status(error: Any) -> int | None:
    match error:
        case {"type": str(kind)}:
            return _STATUSES.get(kind)
        case _:
            return None


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = True

    def __call__(self, settings: ProviderSettings) -> AnthropicProvider:
        """Make the provider of one alias.

        Raises:
            Malformed: a setting is missing or wrong.
        """
        base = base_url(settings, variable="ANTHROPIC_BASE_URL", default=DEFAULT_BASE_URL)
        return AnthropicProvider(
            settings=settings,
            url=f"{base.removesuffix('/v1')}/v1/messages",
            key=api_key(settings, variable="ANTHROPIC_API_KEY", base_url_variable="ANTHROPIC_BASE_URL"),
            context_size=context(settings, CONTEXT_TOKENS),
            max_tokens=tokens(settings, "MAX_TOKENS", MAX_TOKENS),
            temperature=temperature(settings),
            prices=prices(settings),
            refusals=Refusals(settings, extra="thinking", options=("temperature", "max_tokens")),
        )


provider: Final = _Factory()
