"""``plurnk packet``: what a turn's model was sent, and what it answered."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import msgspec

from plurnk.cli.daemon import with_daemon
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.reviewing import has_colours
from plurnk.cli.rows import printable
from plurnk.cli.workspace import attach_to_existing
from plurnk.client import Client, RequestError
from plurnk.rules.packet import Packet, render_system, render_user
from plurnk.wire.answers import PacketReadResult
from plurnk.wire.params import PacketReadParams


def main(options: argparse.Namespace) -> int:
    loop, turn = options.place

    async def work(client: Client) -> int:
        await attach_to_existing(client, options.session, options.run)
        found: PacketReadResult = await client.call("packet.read", PacketReadParams(loop=loop, turn=turn))
        if options.json:
            print(msgspec.json.encode(found.packet).decode())
            return OK
        for heading, text in sections(found, await _turn_before(client, found)):
            print(f"\x1b[1m{heading}\x1b[m" if has_colours(sys.stdout) else heading)
            print(printable(text) if sys.stdout.isatty() else text, end="\n\n")
        return OK

    return with_daemon(options, work, failed=FAILED)


async def _turn_before(client: Client, found: PacketReadResult) -> PacketReadResult | None:
    if found.turn == 1:
        return None
    try:
        asked = PacketReadParams(loop=found.loop, turn=found.turn - 1)
        before: PacketReadResult = await client.call("packet.read", asked)
    except RequestError:
        return None  # it was cut off, or is a copy
    return before


def sections(found: PacketReadResult, before: PacketReadResult | None) -> Iterator[tuple[str, str]]:
    """Yield heading and text of each message, and of what the model made of them; ``before``: the turn before."""
    packet = _packet(found)
    place = f"{found.loop}/{found.turn}"
    system = render_system(packet)
    shared = "" if before is None else f"; {_shared(render_system(_packet(before)), system, before)}"
    yield f"=== {place} system message, {packet.system.tokens:,} tokens{shared} ===", system
    yield f"=== {place} user message, {packet.user.tokens:,} tokens ===", render_user(packet)
    answer = packet.assistant
    if answer.reasoning:
        yield f"=== {place} reasoning, and what was said between statements ===", answer.reasoning
    if answer.content:
        yield f"=== {place} answer, {answer.tokens:,} tokens ===", answer.content
    else:
        yield f"=== {place} no answer ===", "The provider failed." if packet.assistant_raw is None else "It was empty."


def _packet(found: PacketReadResult) -> Packet:
    return msgspec.convert(found.packet, Packet)


def _shared(old: str, new: str, before: PacketReadResult) -> str:
    chars = len(os.path.commonprefix([old, new]))  # noqa: RUF071 – characters are what is compared
    return f"the first {chars:,} of {len(new):,} characters are those of {before.loop}/{before.turn}"
