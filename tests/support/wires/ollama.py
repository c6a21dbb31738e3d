"""Ollama's /api/chat, as a server says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.llm_server import Answer, Request, pieces


class OllamaWire:
    base_path = ""
    content_type = "application/x-ndjson"

    def events(self, answer: Answer, request: Request) -> Iterator[bytes]:
        base = {"model": request.body["model"], "created_at": "2026-01-01T00:00:00Z", "done": False}
        for name, text in (("thinking", answer.reasoning), ("content", answer.content)):
            for piece in pieces(text, answer.chunk_chars):
                yield _line(base | {"message": {"role": "assistant", "content": "", name: piece}})
        if answer.error is not None:
            yield _line({"error": answer.error})
        if answer.done and answer.finish_reason is not None:
            end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": answer.finish_reason}
            usage = answer.usage
            counts = {"prompt_eval_count": usage.prompt, "eval_count": usage.completion} if usage else {}
            yield _line(base | end | counts)

    def text_of(self, body: Any) -> str:
        text: str = body["messages"][-1]["content"]
        return text

    def models(self) -> Any:
        return {"models": [{"name": "scripted", "model": "scripted"}]}

    def error(self, status: int, message: str) -> Any:  # noqa: ARG002 – the protocol's name
        return {"error": message}


def _line(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"
