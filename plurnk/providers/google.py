"""Gemini's streamGenerateContent with server-sent events (SPEC 3.8).

Settings: ``GEMINI_API_KEY``; for one alias ``PLURNK_MODEL_<alias>__BASE_URL`` (with the version of the API, such as
``https://generativelanguage.googleapis.com/v1beta``), ``__API_KEY_ENV``, ``__CONTEXT`` (tokens; 1048576),
``__TEMPERATURE`` and ``__PRICES`` (``providers.settings``).

What has come before the vendor's cache finds by itself. A model that cannot think is asked again without.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec
import trio

from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, Message, ProviderSettings, Usage
from plurnk.providers.answers import AnswerText, counted, overlay
from plurnk.providers.errors import ProviderFailed, excerpt, reported
from plurnk.providers.http_provider import HttpProvider
from plurnk.providers.refusals import Refusals
from plurnk.providers.settings import api_key, base_url, context, prices, temperature

DEFAULT_BASE_URL: Final = "https://generativelanguage.googleapis.com/v1beta"

CONTEXT_TOKENS: Final = 1_048_576

MIN_BUDGET_TOKENS: Final = 512
MAX_BUDGET_TOKENS: Final = 24_576
"""Numbers of reasoning tokens that each Gemini 2.5 takes; some take less, or more."""

MORE_S: Final = 5.0
"""How long more is waited for once it was said why the answer ended. The wire has no mark of its end but that of the
response, and some servers say "STOP" in every event; but others keep the response open."""

_TAKES_BUDGET: Final = re.compile(r"gemini-[12]\b")


class _Part(msgspec.Struct):
    """Part of an answer; those of other kinds (calls, signatures) have no text."""

    text: str | None = None
    thought: bool | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Usage(msgspec.Struct, rename="camel"):
    """Running totals: what a later event tells, it tells anew, and what it leaves out, stands."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    """What is used of an event."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None
    error: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GoogleProvider(HttpProvider):
    """One model of one server."""

    context_size: int

    def _posting(self, request: GenerateRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        from plurnk.providers.event_stream import open_events  # noqa: PLC0415 – httpx is there by now; a start without it is 140 ms shorter

        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        if self.key:
            headers["x-goog-api-key"] = self.key
        body = msgspec.json.encode(self._body(request))
        return open_events(self.settings.http(), self.url, headers, body, secret=self.key)

    def _body(self, request: GenerateRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"contents": [_turn(each) for each in request.messages if each.role != "system"]}
        system = [{"text": each.content} for each in request.messages if each.role == "system"]
        if system:
            body["systemInstruction"] = {"parts": system}
        config: dict[str, Any] = {}
        if self.temperature is not None:
            config["temperature"] = self.temperature
        if request.reasoning_tokens > 0:
            config["thinkingConfig"] = _thinking(self.model, request.reasoning_tokens)
        return body | ({"generationConfig": config} if config else {})

    async def _items(self, events: AsyncIterator[str]) -> AsyncGenerator[Delta | Completion, None]:
        answer = Answer(self.model)
        while (event := await _next(events, MORE_S if answer.finish_reason else math.inf)) is not None:
            for delta in answer.take(event, self.key):
                yield delta
        if not answer.finish_reason:
            raise ProviderFailed("the provider broke off in mid-answer", transient=True)
        yield answer.completion()


async def _next(events: AsyncIterator[str], patience_s: float) -> str | None:
    """The next event; None when there is none, or does not come."""
    with trio.move_on_after(patience_s):
        return await anext(events, None)
    return None


class Answer:
    """What the events of one answer add up to; owned by the task that reads them."""

    def __init__(self, model: str) -> None:
        self.finish_reason = ""
        self._model = model
        self._text = AnswerText()
        self._usage = _Usage()
        self._last: dict[str, Any] = {}

    def take(self, event: str, secret: str) -> list[Delta]:
        """Add one event.

        Raises:
            ProviderFailed: it is an error or a refusal, or nothing that Gemini says, or one too many.
        """
        try:
            said = msgspec.json.decode(event, type=dict[str, Any])
            chunk = msgspec.convert(said, _Chunk, strict=False)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed(f"the provider sent an event that cannot be read: {error}") from None
        if chunk.error is not None:
            raise reported(chunk.error, secret, http_status=_status(chunk.error))
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            raise _blocked(chunk.prompt_feedback, secret)
        self._last = said
        self._model = chunk.model_version or self._model
        overlay(self._usage, chunk.usage_metadata)
        deltas: list[Delta] = []
        for candidate in chunk.candidates or ():
            if candidate.index == 0:
                self.finish_reason = candidate.finish_reason or self.finish_reason
                for part in (candidate.content or _Content()).parts or ():
                    deltas += self._text.take("reasoning" if part.thought else "content", part.text or "")
        return deltas

    def completion(self) -> Completion:
        usage = self._usage
        thoughts = counted(usage.thoughts_token_count)
        return Completion(
            content=self._text.content,
            reasoning=self._text.reasoning,
            usage=Usage(
                prompt=counted(usage.prompt_token_count),
                completion=counted(usage.candidates_token_count) + thoughts,
                cached=counted(usage.cached_content_token_count),
                reasoning=thoughts,
            ),
            finish_reason=self.finish_reason,
            model=self._model,
            raw=self._last,
        )


def _turn(message: Message) -> dict[str, Any]:
    return {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}


def _thinking(model: str, reasoning_tokens: int) -> dict[str, Any]:
    """How to ask for reasoning. From Gemini 3 on a number of tokens cannot be said: the model decides how much."""
    if not _TAKES_BUDGET.search(model):
        return {"includeThoughts": True}
    budget = min(max(reasoning_tokens, MIN_BUDGET_TOKENS), MAX_BUDGET_TOKENS)
    return {"includeThoughts": True, "thinkingBudget": budget}


def _blocked(feedback: _Feedback, secret: str) -> ProviderFailed:
    """The prompt itself was refused; asking again would not help."""
    said = ": ".join(filter(None, [feedback.block_reason, feedback.block_reason_message]))
    return ProviderFailed(f"the provider refused the prompt: {excerpt(said, secret)}")


def _status(error: Any) -> int | None:
    match error:
        case {"code": int(code)}:
            return code
        case _:
            return None


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = True

    def __call__(self, settings: ProviderSettings) -> GoogleProvider:
        """Make the provider of one alias.

        Raises:
            Malformed: a setting is missing or wrong.
        """
        base = base_url(settings, variable=None, default=DEFAULT_BASE_URL)
        model = quote(settings.model.removeprefix("models/"), safe="")
        return GoogleProvider(
            settings=settings,
            url=f"{base}/models/{model}:streamGenerateContent?alt=sse",
            key=api_key(settings, variable="GEMINI_API_KEY", base_url_variable=None),
            context_size=context(settings, CONTEXT_TOKENS),
            temperature=temperature(settings),
            prices=prices(settings),
            refusals=Refusals(settings, extra="thinking"),
        )


provider: Final = _Factory()
