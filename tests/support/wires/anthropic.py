"""Messages, as Anthropic's server says them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plurnk.plugins.api import Usage
from tests.support.llm_server import Answer, Request, pieces, sse


class AnthropicWire:
    base_path = ""
    content_type = "text/event-stream; charset=utf-8"

    def events(self, answer: Answer, request: Request) -> Iterator[bytes]:
        usage = answer.usage
        message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
        counts = {} if usage is None else {"usage": _prompt(usage)}
        yield _said("message_start", message=message | {"model": request.body["model"]} | counts)
        yield _said("ping")
        number = 0
        if answer.reasoning:
            yield from _block(0, {"type": "thinking", "thinking": "", "signature": ""}, "thinking", answer)
            number = 1
        if answer.content:
            yield from _block(number, {"type": "text", "text": ""}, "text", answer)
        if answer.error is not None:
            yield _said("error", error=answer.error, request_id="req_1")
        if answer.finish_reason is not None:
            counts = {} if usage is None else {"usage": _completion(usage)}
            yield _said("message_delta", delta={"stop_reason": answer.finish_reason, "stop_sequence": None}, **counts)
        if answer.done:
            yield _said("message_stop")

    def text_of(self, body: Any) -> str:
        text: str = body["messages"][-1]["content"]
        return text

    def models(self) -> Any:
        return {"data": [{"type": "model", "id": "scripted", "display_name": "Scripted"}], "has_more": False}

    def error(self, status: int, message: str) -> Any:
        kind = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def _block(number: int, start: dict[str, Any], kind: str, answer: Answer) -> Iterator[bytes]:
    text = answer.reasoning if kind == "thinking" else answer.content
    yield _said("content_block_start", index=number, content_block=start)
    for piece in pieces(text, answer.chunk_chars):
        yield _said("content_block_delta", index=number, delta={"type": f"{kind}_delta", kind: piece})
    if kind == "thinking":
        yield _said("content_block_delta", index=number, delta={"type": "signature_delta", "signature": "c2ln"})
    yield _said("content_block_stop", index=number)


def _said(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def _prompt(usage: Usage) -> dict[str, Any]:
    """Some of what was not read from the cache is written to it."""
    written = (usage.prompt - usage.cached) // 2
    return {
        "input_tokens": usage.prompt - usage.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": 1,
    }


def _completion(usage: Usage) -> dict[str, Any]:
    details = {"thinking_tokens": usage.reasoning}
    return {"output_tokens": usage.completion, "output_tokens_details": details}
