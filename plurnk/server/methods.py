"""From a call to its answer: params decoded, the handler run within its bound, every way out turned into a reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
import trio

from plurnk.wire import jsonrpc, problems
from plurnk.wire.jsonrpc import Call
from plurnk.wire.methods import METHODS, Method
from plurnk.wire.problems import Kind, RequestError

_log: Final = logging.getLogger(__name__)

P = TypeVar("P")
Result: TypeAlias = msgspec.Struct | dict[str, Any] | None
Afterwards: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Then:
    """A handler's result, and what to do in the request's task once the answer is queued: replay events, say."""

    result: Result
    afterwards: Afterwards


Handler: TypeAlias = Callable[[P, Any], Awaitable[Result | Then]]
"""Takes the peer and the params, an instance of the method's ``params`` type."""


@dataclass(frozen=True, slots=True)
class Reply:
    """``text`` None: the call was a notification."""

    text: bytes | None
    afterwards: Afterwards | None = None


class Methods(Generic[P]):
    """The handlers by method name. ``P`` is what stands for the client in them."""

    def __init__(
        self, handlers: Mapping[str, Handler[P]], *, rpc_timeout_ms: int, table: Mapping[str, Method] = METHODS
    ) -> None:
        """Bind ``handlers`` to ``table``.

        Raises:
            ValueError: a method has no handler, or a handler no method.
        """
        if strange := set(table) ^ set(handlers):
            raise ValueError(f"methods and handlers differ: {', '.join(sorted(strange))}")
        self._handlers = handlers
        self._table = table
        self._rpc_timeout_ms = rpc_timeout_ms

    async def answer(self, peer: P, call: Call) -> Reply:
        """Do what ``call`` asks. Failures are answers; a bug's traceback goes to the log."""
        call_id = jsonrpc.NULL if call.id is None else call.id
        afterwards = None
        try:
            outcome = await self._perform(peer, call)
            if isinstance(outcome, Then):
                afterwards = outcome.afterwards
                outcome = outcome.result
            text = jsonrpc.encode_result(call_id, outcome)
        except Exception as error:  # noqa: BLE001 – the edge: whatever went wrong, the client is answered
            leaf = only_leaf(error)
            problem = problems.of(leaf)
            if problem.code == Kind.INTERNAL.code:
                _log.error("%s failed", call.method, exc_info=error)
            text = jsonrpc.encode_error(call_id, problem)
        return Reply(None if call.id is None else text, afterwards)

    async def _perform(self, peer: P, call: Call) -> Result | Then:
        method = self._table.get(call.method)
        if method is None:
            raise RequestError(problems.method_not_found(call.method))
        params = method.decode(call.params)
        limit_s = math.inf if method.long_running else self._rpc_timeout_ms / 1000
        with trio.move_on_after(limit_s):
            return await self._handlers[method.name](peer, params)
        raise RequestError(problems.timeout(method.name, self._rpc_timeout_ms))


def only_leaf(error: Exception) -> Exception:
    """Return the one error that a group, however nested, is about; the group itself when it is about several."""
    match error:
        case ExceptionGroup(exceptions=(Exception() as inner,)):
            return only_leaf(inner)
        case _:
            return error
