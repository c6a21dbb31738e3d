"""What a provider over HTTP costs before it is asked for the first time, and what of it the event loop feels.

    python bench/http_client.py

The first two figures are the work; the third is the longest that the event loop stood still while a worker
thread did that work, as it does in the daemon (plurnk.engine.models).
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

WORK = """
import time
started = time.perf_counter()
import httpx
imported = time.perf_counter()
httpx.AsyncClient()
print(f"import httpx        {(imported - started) * 1000:6.0f} ms")
print(f"make a client       {(time.perf_counter() - imported) * 1000:6.0f} ms")
"""

STALL = """
import time, trio

def work():
    import httpx
    httpx.AsyncClient()

async def measured():
    longest = 0.0
    done = trio.Event()
    async with trio.open_nursery() as tasks:
        async def on_thread():
            await trio.to_thread.run_sync(work)
            done.set()
        tasks.start_soon(on_thread)
        while not done.is_set():
            before = time.perf_counter()
            await trio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)
    print(f"longest stall       {longest * 1000:6.0f} ms")

trio.run(measured)
"""

for part in (WORK, STALL):
    subprocess.run([sys.executable, "-c", textwrap.dedent(part)], check=True)
