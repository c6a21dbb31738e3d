"""Frames to requests, answers to frames."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from plurnk.wire import jsonrpc, problems
from plurnk.wire.jsonrpc import Answer, Call, Event, Fault
from plurnk.wire.params import LoopRunParams, NoParams
from plurnk.wire.problems import Kind, RequestError


def one(text: str | bytes) -> jsonrpc.Item:
    incoming = jsonrpc.decode(text.encode() if isinstance(text, str) else text)
    assert not incoming.batch
    (item,) = incoming.items
    return item


def fault(text: str | bytes) -> tuple[int, str, bytes]:
    item = one(text)
    assert isinstance(item, Fault)
    return item.problem.code, item.problem.message, bytes(item.id)


def test_a_request() -> None:
    item = one('{"jsonrpc":"2.0","id":"a","method":"ping","params":{"x":1}}')
    assert isinstance(item, Call)
    assert (item.method, bytes(item.params)) == ("ping", b'{"x":1}')
    assert item.id is not None
    assert bytes(item.id) == b'"a"'


@pytest.mark.spec("6.1-string-ids")
@pytest.mark.parametrize("text", ['"a"', '""', '"\\u0041"', "0", "-1", "18446744073709551616", "9" * 400, "null"])
def test_ids_are_echoed_as_they_were_sent(text: str) -> None:
    item = one(f'{{"jsonrpc":"2.0","id": {text} ,"method":"ping"}}')
    assert isinstance(item, Call)
    assert item.id is not None
    assert jsonrpc.encode_result(item.id, None) == f'{{"jsonrpc":"2.0","id":{text},"result":{{}}}}'.encode()


def test_without_an_id_it_is_a_notification() -> None:
    assert one('{"jsonrpc":"2.0","method":"ping"}') == Call("ping", Raw(b"{}"), None)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("5", "request: expected object, got int"),
        ("null", "request: expected object, got null"),
        ('"a"', "request: expected object, got str"),
        ('{"id":1,"method":"a"}', "jsonrpc: expected '2.0', got nothing"),
        ('{"jsonrpc":"1.0","id":1,"method":"a"}', "jsonrpc: expected '2.0', got '1.0'"),
        ('{"jsonrpc":"2.0","id":1}', "method: expected str, got nothing"),
        ('{"jsonrpc":"2.0","id":1,"result":{}}', "method: expected str, got nothing"),
        ('{"jsonrpc":"2.0","id":1,"method":1}', "method: expected str, got int"),
        ('{"jsonrpc":"2.0","id":1.5,"method":"a"}', "id: expected int | str | null, got float"),
        ('{"jsonrpc":"2.0","id":{},"method":"a"}', "id: expected int | str | null, got object"),
    ],
)
def test_json_that_is_no_request(text: str, detail: str) -> None:
    code, message, call_id = fault(text)
    assert (code, message) == (-32600, detail)
    assert call_id == (b"1" if re.search(r'"id":1[,}]', text) else b"null")


@pytest.mark.spec("6.1-bad-frame-survives")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"\xff",
        b"nonsense",
        b'{"jsonrpc":"2.0","id":1,"method":"a"} trailing',
        b'{"jsonrpc":"2.0","id":1,"method":5} trailing',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":"\xff","method":"a"}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","params":tru}',
        b"[",
        b"[1,",
        b'[{"jsonrpc":"2.0"}',
        b"[" + b"0," * 1000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_is_told_with_id_null(text: bytes) -> None:
    assert fault(text)[::2] == (-32700, b"null")


def test_batches() -> None:
    incoming = jsonrpc.decode(b' [ {"jsonrpc":"2.0","id":1,"method":"a"}, 7, {"jsonrpc":"2.0","method":"b"} ] ')
    assert incoming.batch
    first, second, third = incoming.items
    assert isinstance(first, Call)
    assert isinstance(second, Fault)
    assert isinstance(third, Call)
    assert third.id is None
    assert jsonrpc.encode_batch([b"1", b"{}"]) == b"[1,{}]"


def test_an_empty_batch_is_one_invalid_request() -> None:
    assert fault("[ ]") == (-32600, "a batch holds at least one request", b"null")


def test_a_batch_has_a_limit_that_is_found_without_reading_on() -> None:
    assert jsonrpc.decode(b"[" + b"0," * 63 + b"0]").batch
    assert fault(b"[" + b"0," * 64 + b"0]") == (-32600, "a batch holds at most 64 requests", b"null")


LOOP_RUN = msgspec.json.Decoder(LoopRunParams)


@pytest.mark.spec("6.1-params-empty-array")
@pytest.mark.parametrize("text", [b"[]", b"[ \n]", b"{}", b"{ }"])
def test_no_params(text: bytes) -> None:
    assert jsonrpc.decode_params(Raw(text), msgspec.json.Decoder(NoParams)) == NoParams()


@pytest.mark.spec("6.2-invalid-params-named")
@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({}, "prompt: expected str, got nothing"),
        ({"prompt": 1}, "prompt: expected str, got int"),
        ({"prompt": ""}, "prompt: expected str of length >= 1"),
        ({"prompt": "p", "maxTurns": "3"}, "maxTurns: expected int | null, got str"),
        ({"prompt": "p", "maxTurns": 0}, "maxTurns: expected int >= 1"),
        ({"prompt": "p", "wait": None}, "wait: expected bool, got null"),
        ({"prompt": "p", "flags": {"mode": "look"}}, "flags.mode: expected 'act' or 'ask', got 'look'"),
        ({"prompt": "p", "flags": {"yolo": 1}}, "flags.yolo: expected bool, got int"),
        (
            {"prompt": "p", "flags": {"yola": True}},
            "flags.yola: unknown field, expected yolo or mode or noWeb or noInteraction or noProposals",
        ),
        ({"prompt": "p", "flags": []}, "flags: expected object | null, got array"),
        ([1], "params: expected object, got array"),
        ("p", "params: expected object, got str"),
        (None, "params: expected object, got null"),
    ],
)
def test_wrong_params_are_named(params: Any, detail: str) -> None:
    with pytest.raises(RequestError) as raised:
        jsonrpc.decode_params(Raw(json.dumps(params).encode()), LOOP_RUN)
    assert raised.value.problem == problems.problem(Kind.INVALID_PARAMS, detail)


@pytest.mark.parametrize("text", [b'{"prompt":"\\ud800"}', b'{"prompt":"\xff"}', b'{"prompt":' + b"[" * 100_000])
def test_params_that_cannot_be_read(text: bytes) -> None:
    with pytest.raises(RequestError, match=r"^params: not JSON"):
        jsonrpc.decode_params(Raw(text), LOOP_RUN)


def test_an_error_is_written_with_its_data() -> None:
    text = jsonrpc.encode_error(Raw(b"7"), problems.too_many_requests(64))
    assert json.loads(text) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {
            "code": -32008,
            "message": "64 requests are in flight already; wait for an answer",
            "data": {
                "status": 429,
                "type": "too-many-requests",
                "detail": "64 requests are in flight already; wait for an answer",
                "limit": 64,
            },
        },
    }


def test_the_two_halves_understand_each_other() -> None:
    item = one(jsonrpc.encode_request("c1", "loop.run", LoopRunParams(prompt="a\nb", max_turns=3)))
    assert isinstance(item, Call)
    assert item.id is not None
    assert item.method == "loop.run"
    assert jsonrpc.decode_params(item.params, LOOP_RUN) == LoopRunParams(prompt="a\nb", max_turns=3)

    answer = jsonrpc.decode_from_daemon(jsonrpc.encode_result(item.id, {"a": 1}))
    assert isinstance(answer, Answer)
    assert (answer.id, answer.error) == ("c1", None)
    assert answer.result is not None
    assert bytes(answer.result) == b'{"a":1}'
    problem = problems.timeout("loop.run", 5)
    assert jsonrpc.decode_from_daemon(jsonrpc.encode_error(item.id, problem)) == Answer("c1", error=problem)
    event = jsonrpc.decode_from_daemon('{"jsonrpc":"2.0","method":"log/entry","params":{"eventId":4}}')
    assert isinstance(event, Event)
    assert (event.method, bytes(event.params)) == ("log/entry", b'{"eventId":4}')
