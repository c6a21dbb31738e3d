"""Chat Completions, as a server says them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plurnk.plugins.api import Usage
from tests.support.llm_server import Answer, Request, pieces, sse


class OpenAIWire:
    base_path = "/v1"
    content_type = "text/event-stream; charset=utf-8"

    def events(self, answer: Answer, request: Request) -> Iterator[bytes]:
        base: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": request.body["model"]}
        if answer.usage is not None:
            base["usage"] = None  # So say all events but the last one, when usage was asked for.
        start = {"role": "assistant", "content": "", "refusal": None}
        yield sse(base | {"choices": [{"index": 0, "delta": start, "logprobs": None, "finish_reason": None}]})
        for name, text in (("reasoning_content", answer.reasoning), ("content", answer.content)):
            for piece in pieces(text, answer.chunk_chars):
                yield sse(base | {"choices": [{"index": 0, "delta": {name: piece}, "finish_reason": None}]})
        if answer.error is not None:
            yield sse({"error": answer.error})
        if answer.finish_reason is not None:
            yield sse(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
        if answer.usage is not None:
            yield sse(base | {"choices": [], "usage": _usage(answer.usage)})
        if answer.done:
            yield b"data: [DONE]\n\n"

    def text_of(self, body: Any) -> str:
        text: str = body["messages"][-1]["content"]
        return text

    def models(self) -> Any:
        return {"object": "list", "data": [{"id": "scripted", "object": "model"}]}

    def error(self, status: int, message: str) -> Any:
        kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
