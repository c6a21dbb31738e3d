"""Chat Completions with server-sent events: any server that speaks them (SPEC 3.8).

Settings: ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; for one alias ``PLURNK_MODEL_<alias>__BASE_URL``,
``__API_KEY_ENV`` (the name of the variable that holds its key), ``__CONTEXT`` (tokens), ``__TEMPERATURE`` and
``__PRICES`` (``providers.settings``).

Reasoning is taken from ``reasoning_content`` or ``reasoning``; a number of reasoning tokens cannot be
asked for on this wire. A server that refuses ``stream_options`` is asked without: it tells its usage without, or not.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.providers.answers import AnswerText, counted, linger
from plurnk.providers.errors import ProviderFailed, reported
from plurnk.providers.http_provider import HttpProvider
from plurnk.providers.refusals import Refusals
from plurnk.providers.settings import api_key, base_url, context, prices, temperature

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OpenAIProvider(HttpProvider):
    """One model of one server."""

    def _posting(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        return self._asking(request, with_usage=True)

    def _plainer(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        return self._asking(request, with_usage=False)

    def _asking(self, request: GenerateRequest, *, with_usage: bool) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        from plurnk.providers.event_stream import open_events  # noqa: PLC0415 – httpx is there by now; a start without it is 140 ms shorter

        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "stream": True,
        }
        if with_usage:
            body["stream_options"] = {"include_usage": True}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        return open_events(self.settings.http(), self.url, headers, msgspec.json.encode(body), secret=self.key)

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
        await linger(events)


class Answer:
    """What the events of one answer add up to; owned by the task that reads them."""

    def __init__(self, model: str) -> None:
        self.finish_reason = ""
        self._model = model
        self._text = AnswerText()
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
            raise reported(chunk.error, secret, http_status=_status(chunk.error))
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
            content=self._text.content,
            reasoning=self._text.reasoning,
            usage=self._usage,
            finish_reason=self.finish_reason,
            model=self._model,
            raw=self._last,
        )

    def _deltas(self, delta: _Delta) -> list[Delta]:
        reasoning = delta.reasoning_content or delta.reasoning
        return [
            *self._text.take("reasoning", reasoning if isinstance(reasoning, str) else ""),
            *self._text.take("content", delta.content or ""),
        ]


def _usage(usage: _Usage) -> Usage:
    prompt_details = usage.prompt_tokens_details or _PromptDetails()
    completion_details = usage.completion_tokens_details or _CompletionDetails()
    return Usage(
        prompt=counted(usage.prompt_tokens),
        completion=counted(usage.completion_tokens),
        cached=counted(prompt_details.cached_tokens),
        reasoning=counted(completion_details.reasoning_tokens),
    )


def _status(error: Any) -> int | None:
    """The status that an error object tells, as a number, as text, or by what kind of error it is."""
    match error:
        case {"code": int(code)} | {"status": int(code)}:
            return code
        case {"code": str(code)} | {"status": str(code)} if re.fullmatch("[1-5][0-9][0-9]", code):
            return int(code)
        case {"type": "invalid_request_error"}:
            return 400
        case _:
            return None


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = True

    def __call__(self, settings: ProviderSettings) -> OpenAIProvider:
        """Make the provider of one alias.

        Raises:
            Malformed: a setting is missing or wrong.
        """
        base = base_url(settings, variable="OPENAI_BASE_URL", default=DEFAULT_BASE_URL)
        return OpenAIProvider(
            settings=settings,
            url=f"{base}/chat/completions",
            key=api_key(settings, variable="OPENAI_API_KEY", base_url_variable="OPENAI_BASE_URL"),
            context_size=context(settings, None),
            temperature=temperature(settings),
            prices=prices(settings),
            refusals=Refusals(settings, extra="stream_options"),
        )


provider: Final = _Factory()
