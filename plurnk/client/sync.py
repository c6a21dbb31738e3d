"""The client for scripts without trio: the same calls, each waiting for its answer, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from plurnk.client import client as asynchronous
from plurnk.client.errors import Unreachable
from plurnk.client.inbox import Heard
from plurnk.wire.answers import (
    ApprovalView,
    FileVersion,
    LoopResolveResult,
    ProposalView,
    SubscriptionCancelResult,
    SubscriptionView,
)
from plurnk.wire.params import ApprovalAddParams, Decision, Grant, Params
from plurnk.wire.results import OpResult

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Made by ``open_client``; raises what the async client's methods of the same names raise."""

    inner: asynchronous.Client
    leave: trio.CancelScope
    token: trio.lowlevel.TrioToken

    def call(self, method: str, params: Params | Mapping[str, Any] | None = None) -> Any:
        return self._run(self.inner.call, method, params)

    def notifications(self) -> Iterator[Heard]:
        while True:
            yield self._run(self.inner.next_notification)

    def exec(self, command: str, *, cwd: str | None = None, runtime: str | None = None) -> OpResult:
        return self._run(partial(self.inner.exec, command, cwd=cwd, runtime=runtime))

    def proposals(self) -> tuple[ProposalView, ...]:
        return self._run(self.inner.proposals)

    def resolve(
        self,
        log_entry_id: int,
        decision: Decision,
        *,
        body: str | None = None,
        outcome: str | None = None,
        grant: Grant | None = None,
        digest: str | None = None,
    ) -> LoopResolveResult:
        answer = partial(self.inner.resolve, body=body, outcome=outcome, grant=grant, digest=digest)
        return self._run(answer, log_entry_id, decision)

    def add_approval(self, approval: ApprovalAddParams) -> ApprovalView:
        return self._run(self.inner.add_approval, approval)

    def approvals(self) -> tuple[ApprovalView, ...]:
        return self._run(self.inner.approvals)

    def remove_approval(self, approval_id: int) -> bool:
        return self._run(self.inner.remove_approval, approval_id)

    def file_history(self, target: str) -> tuple[FileVersion, ...]:
        return self._run(self.inner.file_history, target)

    def file_restore(self, target: str, version: int) -> OpResult:
        return self._run(self.inner.file_restore, target, version)

    def subscriptions(self, *, closed_too: bool = False) -> tuple[SubscriptionView, ...]:
        return self._run(partial(self.inner.subscriptions, closed_too=closed_too))

    def cancel_subscription(self, which: int | str) -> SubscriptionCancelResult:
        return self._run(self.inner.cancel_subscription, which)

    def follow(self, target: str, channel: str, *, start: int = 0) -> Iterator[str]:
        following = self.inner.follow(target, channel, start=start)
        while True:
            try:
                yield self._run(following.__anext__)
            except StopAsyncIteration:
                return

    def _run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        try:
            return trio.from_thread.run(function, *arguments, trio_token=self.token)
        except trio.RunFinishedError:
            raise Unreachable("the client is closed") from None


@contextmanager
def open_client(where: str | Path, *, token: str | None = None) -> Iterator[Client]:
    """Connect as ``plurnk.client.open_client`` does; trio runs in a thread that ends with the block.

    Raises:
        Unreachable: no daemon answers there, or it does not let this client in.
    """
    opened: Future[Client] = Future()
    thread = threading.Thread(target=trio.run, args=(_host, where, token, opened), name="plurnk-client", daemon=True)
    thread.start()
    client = opened.result()
    try:
        yield client
    finally:
        client.token.run_sync_soon(client.leave.cancel)
        thread.join()


async def _host(where: str | Path, token: str | None, opened: Future[Client]) -> None:
    try:
        with trio.CancelScope() as leave:
            async with asynchronous.Client.open(where, token=token) as inner:
                opened.set_result(Client(inner=inner, leave=leave, token=trio.lowlevel.current_trio_token()))
                await trio.sleep_forever()
    except Exception as error:
        if opened.done():
            raise
        opened.set_exception(error)
