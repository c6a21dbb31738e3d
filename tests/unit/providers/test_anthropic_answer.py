"""Events of Messages, added up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plurnk.plugins.api import Delta, Usage
from plurnk.providers.anthropic import Answer
from plurnk.providers.errors import ProviderFailed

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-20300101",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 20},
            "output_tokens": 1,
        },
    },
}
STOP: dict[str, Any] = {"type": "message_stop"}


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **fields}}


def delta(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **fields}}


def end(stop_reason: str | None, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": usage}


def added(*events: dict[str, Any]) -> tuple[Answer, list[Delta]]:
    answer = Answer("claude-x")
    return answer, [delta for event in events for delta in answer.take(json.dumps(event), "")]


def test_an_answer_with_thinking() -> None:
    last = end("end_turn", output_tokens=50, output_tokens_details={"thinking_tokens": 30})
    answer, deltas = added(
        START,
        {"type": "ping"},
        block("thinking", thinking="", signature=""),
        delta("thinking_delta", thinking="Hm."),
        delta("signature_delta", signature="c2ln"),
        {"type": "content_block_stop", "index": 0},
        block("redacted_thinking", data="eHl6"),
        {"type": "content_block_stop", "index": 1},
        block("text", text=""),
        delta("text_delta", text="Hel"),
        delta("text_delta", text="lo"),
        {"type": "content_block_stop", "index": 2},
        last,
        STOP,
    )
    assert deltas == [
        Delta(kind="reasoning", text="Hm."),
        Delta(kind="content", text="Hel"),
        Delta(kind="content", text="lo"),
    ]
    completion = answer.completion()
    assert answer.ended
    assert (completion.content, completion.reasoning, completion.finish_reason) == ("Hello", "Hm.", "end_turn")
    assert completion.usage == Usage(prompt=123, completion=50, cached=100, reasoning=30, cache_written=20)
    assert (completion.model, completion.raw) == ("claude-x-20300101", last)


def test_several_texts_are_one_and_a_block_may_begin_with_text() -> None:
    answer, _ = added(START, block("text", text="a"), delta("text_delta", text="b"), block("text", text="c"), STOP)
    assert answer.completion().content == "abc"


def test_what_is_not_known_is_passed_over() -> None:
    answer, deltas = added(
        {"type": "invented", "delta": 7, "message": "x"},
        {"type": ["ping"]},
        {},
        block("tool_use", id="t", name="n", input={}),
        delta("input_json_delta", partial_json="{"),
        delta("citations_delta", citation={"cited_text": "x"}),
    )
    assert (deltas, answer.ended, answer.completion().content) == ([], False, "")


def test_totals_that_come_at_the_end_stand() -> None:
    answer, _ = added(START, end(None, output_tokens=2), end("max_tokens", input_tokens=5, output_tokens=7), STOP)
    usage = answer.completion().usage
    assert usage == Usage(prompt=125, completion=7, cached=100, cache_written=20)
    assert answer.completion().finish_reason == "max_tokens"


def test_without_usage_and_without_a_reason() -> None:
    answer, _ = added({"type": "message_start", "message": {}}, delta("text_delta", text="x"), STOP)
    completion = answer.completion()
    assert (completion.usage, completion.finish_reason) == (Usage(), "stop")
    assert completion.model == "claude-x"


@pytest.mark.parametrize(
    ("kind", "http_status", "transient"),
    [
        ("overloaded_error", 529, True),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("timeout_error", 504, True),
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("not_found_error", 404, False),
        ("request_too_large", 413, False),
        ("invented_error", None, True),
        (7, None, True),
    ],
)
def test_an_error_in_mid_stream(kind: Any, http_status: int | None, transient: bool) -> None:
    said = {"type": "error", "error": {"type": kind, "message": "Bad s3cret"}, "request_id": "req_1"}
    with pytest.raises(ProviderFailed) as failed:
        Answer("m").take(json.dumps(said), "s3cret")
    assert failed.value.detail == "the provider reported an error: Bad [key]"
    assert (failed.value.http_status, failed.value.transient) == (http_status, transient)


def test_an_error_of_another_shape() -> None:
    with pytest.raises(ProviderFailed, match="reported an error: lost"):
        Answer("m").take('{"error":"lost"}', "")


@pytest.mark.parametrize("event", ["", "x", "[]", '{"type":"message_delta","delta":[]}', '{"type":"message_start"'])
def test_what_cannot_be_read_is_refused(event: str) -> None:
    with pytest.raises(ProviderFailed, match="an event that cannot be read"):
        Answer("m").take(event, "")


def test_an_event_of_any_depth_is_read_or_refused() -> None:
    for depth in range(800, 1100, 3):  # Python's recursion limit is in between, or far above.
        nested = "[" * depth + "]" * depth
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"error":{nested}}}', "")
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"type":"message_start","message":{nested}}}', "")
