"""A model that says what a script tells it to, for tests (SPEC 3.8).

``PLURNK_MOCK_SCRIPT`` names a JSON file: a list of turns, each a string (its content) or an object::

    {"content": "…", "reasoning": "…", "usage": {"prompt": 0, "completion": 0, "cached": 0, "reasoning": 0},
     "finish_reason": "stop", "chunk_chars": 10, "delay_ms": 0, "when": "…",
     "fail": {"status": 503, "message": "…", "retry_after_s": 1.5}}

All fields may be missing. The text comes in pieces of ``chunk_chars`` (0: whole), reasoning first, each
after ``delay_ms``. ``fail`` breaks off after what text there is.

Each turn is given once: a request gets the first one left whose ``when`` occurs in its last message, or
that has none. Loops that use one provider at the same time share the script; ``when`` keeps them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Final, TypeAlias

import msgspec
import trio

from plurnk.content.tokens import estimate_tokens
from plurnk.errors import Malformed
from plurnk.plugins.api import CONTRACT_VERSION, Completion, Delta, GenerateRequest, ProviderSettings, Usage
from plurnk.providers.errors import ProviderFailed, may_succeed_later

MAX_REQUESTS: Final = 1000
"""How many requests a provider remembers for those who look: more than a test makes, and not for ever."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class MockFailure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: int
    message: str
    retry_after_s: float | None = None


class MockTurn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer. Without ``usage`` it is estimated from the texts."""

    content: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    finish_reason: str = "stop"
    chunk_chars: Count = 0
    delay_ms: Count = 0
    when: str | None = None
    fail: MockFailure | None = None


class MockProvider:
    """A scripted provider; ``script`` in code, or read from ``script_path`` at the first request."""

    def __init__(
        self,
        script: Sequence[str | MockTurn] = (),
        *,
        script_path: str | None = None,
        model: str = "mock",
        context_size: int | None = None,
    ) -> None:
        self.model = model
        self.context_size = context_size
        self.requests: deque[GenerateRequest] = deque(maxlen=MAX_REQUESTS)
        self._left = [_turn(item) for item in script]
        self._script_path = script_path

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def cost_for(self, usage: Usage) -> int:
        """One pico-USD for each token, so that a cost can be followed through the books."""
        return usage.prompt + usage.completion

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Delta | Completion]]:
        """Give the next turn of the script.

        Raises:
            ProviderFailed: the script cannot be read, has no turn for this request, or says so.
        """
        await self._load()
        turn = self._next(request)
        async with aclosing(self._play(turn, request)) as items:
            yield items

    async def _load(self) -> None:
        path = self._script_path
        if path is None:
            return
        try:
            script = msgspec.json.decode(await trio.Path(path).read_bytes(), type=list[str | MockTurn])
        except OSError as error:
            raise ProviderFailed(f"the mock script {path} cannot be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ProviderFailed(f"the mock script {path} is wrong: {error}") from error
        if self._script_path is not None:  # Else another request was quicker.
            self._script_path = None
            self._left = [_turn(item) for item in script]

    def _next(self, request: GenerateRequest) -> MockTurn:
        self.requests.append(request)
        asked = request.messages[-1].content if request.messages else ""
        for number, turn in enumerate(self._left):
            if turn.when is None or turn.when in asked:
                return self._left.pop(number)
        left = f"none of the {len(self._left)} turns left is for this request" if self._left else "it is used up"
        raise ProviderFailed(f"the mock script has no answer: {left}")

    async def _play(self, turn: MockTurn, request: GenerateRequest) -> AsyncGenerator[Delta | Completion, None]:
        for delta in _deltas(turn):
            await trio.sleep(turn.delay_ms / 1000)
            yield delta
        if not turn.content and not turn.reasoning:
            await trio.sleep(turn.delay_ms / 1000)
        if turn.fail is not None:
            raise ProviderFailed(
                f"the mock provider answered {turn.fail.status}: {turn.fail.message}",
                http_status=turn.fail.status,
                retry_after_s=turn.fail.retry_after_s,
                transient=may_succeed_later(turn.fail.status, {}, None),
            )
        yield Completion(
            content=turn.content,
            reasoning=turn.reasoning,
            usage=turn.usage or self._estimate(turn, request),
            finish_reason=turn.finish_reason,
            model=self.model,
            raw={"mock": True},
        )

    def _estimate(self, turn: MockTurn, request: GenerateRequest) -> Usage:
        reasoning = self.count_tokens(turn.reasoning)
        return Usage(
            prompt=sum(self.count_tokens(message.content) for message in request.messages),
            completion=self.count_tokens(turn.content) + reasoning,
            reasoning=reasoning,
        )


def _turn(item: str | MockTurn) -> MockTurn:
    return MockTurn(content=item) if isinstance(item, str) else item


def _deltas(turn: MockTurn) -> Iterator[Delta]:
    for piece in _pieces(turn.reasoning, turn.chunk_chars):
        yield Delta(kind="reasoning", text=piece)
    for piece in _pieces(turn.content, turn.chunk_chars):
        yield Delta(kind="content", text=piece)


def _pieces(text: str, size: int) -> list[str]:
    size = size or max(len(text), 1)
    return [text[at : at + size] for at in range(0, len(text), size)]


class _Factory:
    contract_version = CONTRACT_VERSION
    uses_http = False

    def __call__(self, settings: ProviderSettings) -> MockProvider:
        """Make the provider of one alias; the script is read at its first request.

        Raises:
            Malformed: ``PLURNK_MOCK_SCRIPT`` is not set.
        """
        path = settings.env.get("PLURNK_MOCK_SCRIPT")
        if not path:
            raise Malformed("PLURNK_MOCK_SCRIPT is not set; it names the script of the mock provider")
        return MockProvider(script_path=path, model=settings.model)


provider: Final = _Factory()
