"""Handlers behind their methods."""

from __future__ import annotations

import pytest
import trio
from msgspec import Raw

from plurnk.server.methods import Methods, only_leaf
from plurnk.wire.answers import Empty
from plurnk.wire.jsonrpc import NULL, Call
from plurnk.wire.methods import METHODS, Method
from plurnk.wire.params import NoParams


async def nothing(peer: str, params: NoParams) -> None:
    await trio.lowlevel.checkpoint()


def test_every_method_has_a_handler_and_every_handler_a_method() -> None:
    with pytest.raises(ValueError, match=r"methods and handlers differ: .*ping.*unheard"):
        Methods({**dict.fromkeys(METHODS.keys() - {"ping"}, nothing), "unheard": nothing}, rpc_timeout_ms=1)


async def test_an_answer_that_cannot_be_written_is_our_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(peer: str, params: NoParams) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {"value": object()}

    table = {"m": Method("m", NoParams, Empty, "")}
    reply = await Methods({"m": handler}, rpc_timeout_ms=1000, table=table).answer("", Call("m", Raw(b"{}"), NULL))
    assert reply.text is not None
    assert b"-32603" in reply.text
    assert "m failed" in caplog.text


def test_the_one_thing_that_a_group_is_about() -> None:
    leaf, other = ValueError(), KeyError()
    assert only_leaf(leaf) is leaf
    assert only_leaf(ExceptionGroup("", [ExceptionGroup("", [leaf])])) is leaf
    several = ExceptionGroup("", [leaf, other])
    assert only_leaf(several) is several
    assert only_leaf(ExceptionGroup("", [several])) is several
