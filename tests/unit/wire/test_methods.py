"""The table of methods, and the types behind it."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from plurnk.language.ast import LineMarker, Read, UrlTarget
from plurnk.wire.answers import SessionAttachResult
from plurnk.wire.methods import METHODS, Method
from plurnk.wire.params import LineRange, LoopFlags, LoopRunParams, OpDispatchParams, Params, line_marker


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods_keep_to_the_rules_of_the_wire(method: Method) -> None:
    assert METHODS[method.name] is method
    for kind in (method.params, method.result):
        assert kind.__struct_config__.frozen
    assert method.params.__struct_config__.forbid_unknown_fields
    for name in (*method.params.__struct_encode_fields__, *method.result.__struct_encode_fields__):
        assert "_" not in name
        assert name != "path", "target names what is operated on; path never does (6.3)"
    assert issubclass(method.params, Params)


def test_long_running_methods_are_those_of_the_specification() -> None:
    assert {name for name, method in METHODS.items() if method.long_running} == {
        "file.restore",
        "loop.resolve",
        "loop.run",
        "op.copy",
        "op.dispatch",
        "op.edit",
        "op.exec",
        "op.move",
        "op.parse",
        "op.send",
        "subscription.cancel",
    }


def test_methods_that_do_not_need_a_session() -> None:
    assert {name for name, method in METHODS.items() if not method.needs_session} == {
        "ping",
        "discover",
        "daemon.status",
        "session.create",
        "session.list",
        "session.attach",
        "session.runs",
        "session.rename",
        "session.archive",
        "session.delete",
        "providers.list",
    }


def test_params_are_read_as_their_type() -> None:
    raw = Raw(b'{"prompt":"p","flags":{"mode":"ask","noWeb":true},"queue":true}')
    assert METHODS["loop.run"].decode(raw) == LoopRunParams(
        prompt="p", flags=LoopFlags(mode="ask", no_web=True), queue=True
    )


def test_a_statement_may_hold_any_content() -> None:
    target = UrlTarget(raw="known://a)b", scheme="known", pathname="a)b")
    statement = Read(target=target, line_marker=LineMarker(first=1, last=-1))
    raw = Raw(msgspec.json.encode({"statement": statement}))
    assert METHODS["op.dispatch"].decode(raw) == OpDispatchParams(statement=statement)


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ('"7"', LineMarker(first=7)),
        ('"-1"', LineMarker(first=-1)),
        ('"2-5"', LineMarker(first=2, last=5)),
        ('"2,5"', LineMarker(first=2, last=5)),
        ('"-3--1"', LineMarker(first=-3, last=-1)),
        ('{"first":2}', LineMarker(first=2)),
        ('{"first":2,"last":-1}', LineMarker(first=2, last=-1)),
    ],
)
def test_line_ranges(text: str, marker: LineMarker) -> None:
    lines: LineRange = msgspec.json.decode(text, type=LineRange)
    assert line_marker(lines) == marker


def test_no_line_range_is_no_marker() -> None:
    assert line_marker(None) is None


def test_what_is_absent_from_an_answer_is_left_out_and_null_is_not() -> None:
    answer = SessionAttachResult(id=1, name="s", run_id=2, run_name="r", project_root=None, last_event_id=0)
    assert msgspec.to_builtins(answer) == {
        "id": 1,
        "name": "s",
        "runId": 2,
        "runName": "r",
        "projectRoot": None,
        "lastEventId": 0,
    }
    resync = msgspec.structs.replace(answer, resync=True, oldest=5)
    assert msgspec.to_builtins(resync).items() >= {"resync": True, "oldest": 5}.items()
