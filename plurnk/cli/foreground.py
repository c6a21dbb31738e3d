"""What a person started and waits for, as a shell does: proposals, the output of commands, their exit code, Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

import msgspec
import trio

from plurnk.cli.deciding import Decider
from plurnk.cli.exits import FAILED, INTERRUPTED, OK
from plurnk.cli.rows import how_to_answer, printable
from plurnk.cli.waterfall import Plain, Waterfall
from plurnk.client import Client, ClientError, RequestError, Resync
from plurnk.wire.answers import OpParseResult, SubscriptionView
from plurnk.wire.notifications import LoopProposal, StreamConcluded, StreamEvent
from plurnk.wire.params import OpParseParams
from plurnk.wire.results import OpResult

_DONE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    status: int
    exit_code: int | None
    summary: str


class Foreground:
    """Follows the commands of one request, answers what it proposes, and ends them at Ctrl-C."""

    def __init__(self, client: Client, shown: Waterfall, tasks: trio.Nursery, *, session: str, yolo: bool) -> None:
        self._client = client
        self._session = session
        self._shown = shown
        self._decider = Decider(client, shown, tasks, yolo=yolo)
        self._live: dict[int, str] = {}
        self._ends: dict[int, _End] = {}
        self._news = trio.Event()
        self.interrupted = False

    async def listen(self, loop_id: int | None) -> None:
        """Hear what the daemon tells, until cancelled; the proposals of that loop are ours to answer."""
        async for heard in self._client.notifications():
            await self._decider.hear(heard)
            match heard:
                case LoopProposal() if heard.loop_id == loop_id:
                    self._decider.take(heard)
                case StreamEvent(target=target, awaiting_input=True) if target in self._live.values():
                    self._shown.note(how_to_answer(target, self._session))
                case StreamConcluded():
                    code = None if heard.exit_code is msgspec.UNSET else heard.exit_code
                    end = _End(status=heard.close_status, exit_code=code, summary=heard.summary)
                    self._ends[heard.subscription_id] = end
                    self._tell()
                case Resync():
                    self._ends.update(_ends(await self._client.subscriptions(closed_too=True)))
                    self._tell()
                case _:
                    pass

    async def ask_no_more(self) -> None:
        """Take back what is still asked: the daemon has answered, so it is decided."""
        await self._decider.take_all_back()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def see_out(self, started: Sequence[OpResult], *, shown: bool) -> int:
        """Pass on what they write, one after the other, until they have ended.

        Returns the exit code of the first that did not end well, 0 if all did. Not ``shown``: it is not passed
        on, and each end is one line of JSON.
        """
        self._live = {r.subscription_id: r.entry for r in started if r.subscription_id is not None and r.entry}
        code = OK
        for subscription_id, target in list(self._live.items()):
            if shown:
                async with trio.open_nursery() as following:
                    following.start_soon(self._pass_on, subscription_id, "stdout", sys.stdout)
                    following.start_soon(self._pass_on, subscription_id, "stderr", sys.stderr)
            while subscription_id not in self._ends:
                await self._news.wait()
            del self._live[subscription_id]
            end = self._ends[subscription_id]
            if not shown:
                print(_line(target, subscription_id, end))
            elif end.status != _DONE:
                self._shown.note(f"plurnk: {end.summary}")
            code = code or (OK if end.status == _DONE else end.exit_code or FAILED)
        return code

    async def _pass_on(self, subscription_id: int, channel: str, to: TextIO) -> None:
        """Copy a channel as it grows. What was no UTF-8 comes as U+FFFD; a terminal gets no orders."""
        is_terminal = to.isatty()
        async for piece in self._client.follow(self._live[subscription_id], channel):
            broken = _write(printable(piece.replace("\r\n", "\n").replace("\r", "\n")) if is_terminal else piece, to)
            if broken is not None:
                # Whoever read it has seen enough; a shell's pipe would end the command, too.
                await self._cancel(subscription_id)
                raise broken

    async def heed(self, interrupts: AsyncIterator[int], leave: trio.CancelScope) -> None:
        """At the first Ctrl-C end what runs or is asked; leave at the second, or when there is neither."""
        async with trio.open_nursery() as cancelling:
            async for _ in interrupts:
                if self.interrupted:
                    leave.cancel(reason="Ctrl-C")
                    continue
                self.interrupted = True
                asked = self._decider.cancel_all()
                for subscription_id in self._live:
                    cancelling.start_soon(self._cancel, subscription_id)
                if self._live:
                    self._shown.note("ending it; Ctrl-C again leaves it running")
                elif not asked:
                    leave.cancel(reason="Ctrl-C")

    async def _cancel(self, subscription_id: int) -> None:
        try:
            await self._client.cancel_subscription(subscription_id)
        except (ClientError, RequestError) as error:
            self._shown.note(f"it could not be cancelled: {error}")


async def in_foreground(
    client: Client, session: str, work: Callable[[Foreground], Awaitable[int]], *, yolo: bool
) -> int:
    """Do ``work``, answering what it proposes in the client's own loop; returns its exit code, or Ctrl-C's."""
    code = INTERRUPTED  # unless it comes to its end
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as tasks:
            foreground = Foreground(client, Plain(rows=True), tasks, session=session, yolo=yolo)
            tasks.start_soon(foreground.heed, interrupts, tasks.cancel_scope)
            # An empty turn, so that we know our own loop, and by it our proposals, before there are any.
            mine: OpParseResult = await client.call("op.parse", OpParseParams(text=""))
            tasks.start_soon(foreground.listen, mine.loop_id)
            done = await work(foreground)
            code = INTERRUPTED if foreground.interrupted else done
            tasks.cancel_scope.cancel(reason="all is done")
    return code


def _write(text: str, to: TextIO) -> BrokenPipeError | None:
    """Write it at once; returns the error if nobody reads any more."""
    try:
        to.write(text)
        to.flush()
    except BrokenPipeError as error:
        return error
    return None


def _ends(subscriptions: Sequence[SubscriptionView]) -> dict[int, _End]:
    """The ends of those that are over: their notifications are no longer kept."""
    return {
        s.id: _End(status=s.close_status, exit_code=s.exit_code, summary=s.close_detail or f"{s.target} has ended")
        for s in subscriptions
        if s.close_status is not None
    }


def _line(target: str, subscription_id: int, end: _End) -> str:
    value = {
        "target": target,
        "subscriptionId": subscription_id,
        "closeStatus": end.status,
        "exitCode": end.exit_code,
        "summary": end.summary,
    }
    return msgspec.json.encode(value).decode()
