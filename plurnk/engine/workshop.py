"""What turns are made with, and for whom (SPEC 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from plurnk.engine.bus import Bus
from plurnk.engine.dispatch import Asker, Dispatcher
from plurnk.engine.file_tiles import FileTiles
from plurnk.engine.limits import Limits
from plurnk.engine.packets import PacketMaker
from plurnk.engine.previews import Previews
from plurnk.plugins.api import EntryStorage, Provider
from plurnk.store.database import Store
from plurnk.store.loops import Loop
from plurnk.streams.live import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What turns are made with. ``prompts`` is the scheme ``plurnk://``, where prompts become entries."""

    store: Store
    dispatcher: Dispatcher
    streams: Streams
    bus: Bus
    limits: Limits
    packets: PacketMaker
    previews: Previews
    tiles: FileTiles
    prompts: EntryStorage


@dataclass(frozen=True, slots=True)
class Job:
    """A loop being worked on: by whom it is answered, and under which rules its statements are done."""

    loop: Loop
    provider: Provider
    asker: Asker
