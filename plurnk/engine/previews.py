"""Previews by type: made by worker processes when a packet is built, and kept for the packets after it (SPEC 2.8).

A packet is built from what is kept. What it would have shown besides is *ordered*; when the orders are
made, or their time is over, it is built again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from plurnk.content.mimetypes import handler_type
from plurnk.errors import PlurnkError
from plurnk.plugins.api import Workers
from plurnk.store.channels import Channel
from plurnk.workers.tasks import MakePreview

logger = logging.getLogger(__name__)

PREVIEW_MAX_BYTES: Final = 512 * 1024
"""Of a longer channel the head is shown: an outline of it would not fit anyway."""

ORDERS_MAX_BYTES: Final = 16 * 1024 * 1024
"""What one packet orders. The rest is ordered by the next."""

KEPT: Final = 4096
AT_ONCE: Final = 2

PREVIEW_LIMIT_S: Final = 0.5
"""Of processor time, for one preview: 512 KiB take up to 0.15 s (``bench/previews.py``), and
a grammar that is given text of another language may take for ever."""

PREVIEWS_LIMIT_S: Final = 2.0
"""For all of a packet: so long may a turn wait for them. What is not ready then is ordered by the next."""


@dataclass(frozen=True, slots=True)
class ContentId:
    """Some content, for ever: a channel whose content is replaced or appended to has another one.

    ``name``: ids and generation of a channel, the hash of a file.
    """

    name: tuple[int, ...] | str
    length_bytes: int
    mimetype: str

    @classmethod
    def of(cls, channel: Channel) -> ContentId:
        return cls((channel.entry_id, channel.id, channel.generation), channel.length_bytes, channel.mimetype)


@dataclass(frozen=True, slots=True)
class Order:
    """A preview to be made. ``address`` is for the log."""

    content: ContentId
    address: str
    task: MakePreview


@dataclass(slots=True)
class Orders:
    """What one packet would have shown."""

    room_bytes: int
    all: list[Order] = field(default_factory=list[Order])


class Previews:
    """The previews that were made, by their content. ``types`` are those that have a handler.

    Reader threads look things up while the event loop adds to it; both are single steps on one dict.
    """

    def __init__(self, workers: Workers, types: frozenset[str], budget_chars: int) -> None:
        self._workers = workers
        self._types = types
        self._budget_chars = budget_chars
        self._made: dict[ContentId, str | None] = {}

    def made(self, content: ContentId) -> str | None:
        """The preview by type; None: there is none, or not yet."""
        return self._made.get(content)

    def handler_for(self, content: ContentId, room_bytes: int) -> str | None:
        """The type whose handler is to be asked; None: there is none, it has failed, or there is no room for it."""
        if content.length_bytes > min(PREVIEW_MAX_BYTES, room_bytes) or content in self._made:
            return None
        return handler_type(content.mimetype, self._types)

    def order(self, orders: Orders, content: ContentId, address: str, handler: str, text: str) -> None:
        """Add to ``orders`` the preview of ``text``, which is all of the content."""
        task = MakePreview(mimetype=handler, content=text, budget_chars=self._budget_chars, limit_s=PREVIEW_LIMIT_S)
        orders.all.append(Order(content, address, task))
        orders.room_bytes -= content.length_bytes

    async def make(self, orders: Sequence[Order]) -> None:
        """Have ``orders`` made, as many as are ready within PREVIEWS_LIMIT_S. What failed is not tried again.

        Cancelled: what was made is kept.
        """
        left = iter(orders)
        with trio.move_on_after(PREVIEWS_LIMIT_S):
            async with trio.open_nursery() as askers:
                for _ in range(AT_ONCE):
                    askers.start_soon(self._make_each, left)

    async def _make_each(self, left: Iterator[Order]) -> None:
        for order in left:
            self._keep(order.content, await self._make(order))

    async def _make(self, order: Order) -> str | None:
        try:
            return await self._workers.ask(order.task)
        except PlurnkError as error:
            kind = order.content.mimetype
            logger.warning("no preview of %s (%s), its head is shown: %s", order.address, kind, error.detail)
            return None

    def _keep(self, content: ContentId, made: str | None) -> None:
        self._made[content] = made
        if len(self._made) > KEPT:
            # The oldest. If it is still shown it is made again, once in KEPT.
            del self._made[next(iter(self._made))]
