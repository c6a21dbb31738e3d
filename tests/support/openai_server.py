"""The scripted server of ``llm_server`` with Chat Completions.

By itself: ``python -m tests.support.openai_server --port 0 --script FILE`` prints its URL and serves
until it is interrupted; the script is a JSON list of strings and of objects with ``Answer``'s fields.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import msgspec
import trio

from tests.support.llm_server import Answer, LLMServer, open_llm_server
from tests.support.wires.openai import OpenAIWire

__all__ = ["Answer", "OpenAIServer", "open_openai_server"]

OpenAIServer: TypeAlias = LLMServer


def open_openai_server(
    script: Sequence[str | Answer], *, port: int = 0, repeat: bool = False
) -> AbstractAsyncContextManager[LLMServer]:
    """Serve ``script`` on the loopback interface until the block is left."""
    return open_llm_server(OpenAIWire(), script, port=port, repeat=repeat)


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--repeat", action="store_true", help="begin the script again when it is used up")
    options = parser.parse_args()
    script = msgspec.json.decode(options.script.read_bytes(), type=list[str | Answer])
    async with open_openai_server(script, port=options.port, repeat=options.repeat) as server:
        print(server.base_url, flush=True)  # noqa: T201 – the one thing that it says
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main)
