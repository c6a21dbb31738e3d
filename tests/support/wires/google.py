"""streamGenerateContent, as Gemini's server says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plurnk.plugins.api import Usage
from tests.support.llm_server import Answer, Request, pieces, sse


class GoogleWire:
    base_path = "/v1beta"
    content_type = "text/event-stream"

    def events(self, answer: Answer, request: Request) -> Iterator[bytes]:
        model = request.path.partition("/models/")[2].partition(":")[0]
        base: dict[str, Any] = {"modelVersion": model, "responseId": "r1"}
        if answer.usage is not None:
            base["usageMetadata"] = {"promptTokenCount": answer.usage.prompt, "totalTokenCount": answer.usage.prompt}
        for text, more in ((answer.reasoning, {"thought": True}), (answer.content, {})):
            for piece in pieces(text, answer.chunk_chars):
                yield sse({"candidates": [_candidate([{"text": piece} | more])]} | base)
        if answer.error is not None:
            yield sse({"error": answer.error})
        if answer.done and answer.finish_reason is not None:
            end = _candidate([{"text": ""}]) | {"finishReason": answer.finish_reason}
            counts = {} if answer.usage is None else {"usageMetadata": _usage(answer.usage)}
            yield sse({"candidates": [end]} | base | counts)

    def text_of(self, body: Any) -> str:
        text: str = body["contents"][-1]["parts"][-1]["text"]
        return text

    def models(self) -> Any:
        return {"models": [{"name": "models/scripted", "displayName": "Scripted"}]}

    def error(self, status: int, message: str) -> Any:
        name = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}.get(status, "INTERNAL")
        return {"error": {"code": status, "message": message, "status": name}}


def _candidate(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"}, "index": 0}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "promptTokenCount": usage.prompt,
        "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.completion - usage.reasoning,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.prompt + usage.completion,
    }
