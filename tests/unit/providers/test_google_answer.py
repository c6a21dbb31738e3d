"""Events of streamGenerateContent, added up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plurnk.plugins.api import Delta, Usage
from plurnk.providers.errors import ProviderFailed
from plurnk.providers.google import Answer


def said(*parts: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({} if finish is None else {"finishReason": finish})], **fields}


def added(*events: dict[str, Any]) -> tuple[Answer, list[Delta]]:
    answer = Answer("gemini-x")
    return answer, [delta for event in events for delta in answer.take(json.dumps(event), "")]


def test_an_answer_with_thoughts() -> None:
    counts = {"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "totalTokenCount": 120}
    last = said(
        {"text": "", "thoughtSignature": "c2ln"}, finish="STOP", usageMetadata=counts, modelVersion="gemini-x-1"
    )
    answer, deltas = added(
        said({"text": "Hm.", "thought": True}, usageMetadata={"promptTokenCount": 100, "cachedContentTokenCount": 60}),
        said({"text": "Hel"}, {"text": "lo", "thought": False}, {"functionCall": {"name": "f"}}),
        last,
    )
    assert deltas == [
        Delta(kind="reasoning", text="Hm."),
        Delta(kind="content", text="Hel"),
        Delta(kind="content", text="lo"),
    ]
    completion = answer.completion()
    assert (completion.content, completion.reasoning, completion.finish_reason) == ("Hello", "Hm.", "STOP")
    assert completion.usage == Usage(prompt=100, completion=20, cached=60, reasoning=5)
    assert (completion.model, completion.raw) == ("gemini-x-1", last)


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "SAFETY", "RECITATION", "INVENTED"])
def test_a_reason_is_passed_on_as_it_is(reason: str) -> None:
    answer, _ = added(said({"text": "a"}), {"candidates": [{"finishReason": reason}]})
    assert (answer.completion().content, answer.finish_reason) == ("a", reason)


def test_a_reason_in_every_event_ends_nothing() -> None:
    answer, deltas = added(said({"text": "a"}, finish="STOP"), said({"text": "b"}, finish="STOP"))
    assert (len(deltas), answer.completion().content) == (2, "ab")


def test_what_is_left_out_and_what_is_not_known() -> None:
    other = {"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "STOP"}
    answer, deltas = added(
        {},
        {"candidates": None, "usageMetadata": None, "promptFeedback": {"safetyRatings": []}},
        {"candidates": [{"content": {"role": "model"}}, other], "invented": {"x": 1}},
        {"candidates": [{"content": None, "finishReason": None}]},
    )
    completion = answer.completion()
    assert (deltas, answer.finish_reason, completion.content) == ([], "", "")
    assert (completion.usage, completion.model) == (Usage(), "gemini-x")


def test_a_prompt_that_is_refused() -> None:
    feedback: dict[str, Any] = {
        "blockReason": "PROHIBITED_CONTENT",
        "blockReasonMessage": "not s3cret",
        "safetyRatings": [],
    }
    with pytest.raises(ProviderFailed) as failed:
        Answer("m").take(json.dumps({"promptFeedback": feedback}), "s3cret")
    assert failed.value.detail == "the provider refused the prompt: PROHIBITED_CONTENT: not [key]"
    assert not failed.value.transient
    with pytest.raises(ProviderFailed, match="refused the prompt: OTHER"):
        Answer("m").take('{"promptFeedback":{"blockReason":"OTHER"}}', "")


@pytest.mark.parametrize(
    ("error", "http_status", "transient", "retry_after_s"),
    [
        ({"code": 503, "message": "Bad s3cret", "status": "UNAVAILABLE"}, 503, True, None),
        ({"code": 400, "message": "Bad s3cret", "status": "INVALID_ARGUMENT"}, 400, False, None),
        ({"code": 429, "message": "Bad s3cret", "details": [{"@type": "x"}, {"retryDelay": "7.5s"}]}, 429, True, 7.5),
        ({"message": "Bad s3cret"}, None, True, None),
        ("Bad s3cret", None, True, None),
    ],
)
def test_an_error_in_mid_stream(
    error: Any, http_status: int | None, transient: bool, retry_after_s: float | None
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        Answer("m").take(json.dumps({"error": error}), "s3cret")
    assert failed.value.detail == "the provider reported an error: Bad [key]"
    assert (failed.value.http_status, failed.value.transient) == (http_status, transient)
    assert failed.value.retry_after_s == retry_after_s


@pytest.mark.parametrize("event", ["", "x", "[]", '{"candidates":{}}', '{"candidates":[{"finishReason":7}]}'])
def test_what_cannot_be_read_is_refused(event: str) -> None:
    with pytest.raises(ProviderFailed, match="an event that cannot be read"):
        Answer("m").take(event, "")


def test_an_event_of_any_depth_is_read_or_refused() -> None:
    for depth in range(800, 1100, 3):  # Python's recursion limit is in between, or far above.
        nested = "[" * depth + "]" * depth
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"error":{nested}}}', "")
        with pytest.raises(ProviderFailed):
            Answer("m").take(f'{{"candidates":{nested}}}', "")
