"""Third-party packages with plugins, installed in a folder of the test's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from plurnk.workers import handlers as workers


def install(folder: Path, package: str, points: Mapping[str, Mapping[str, str]], source: str) -> None:
    """Put the distribution ``package`` 1.0 into ``folder``: one module of its name, and its entry points by group."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", "utf-8")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {package}:{value}\n" for name, value in named.items())
        for group, named in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups), "utf-8")
    (folder / f"{package}.py").write_text(dedent(source), "utf-8")


def make_importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and those that it starts find what is installed in ``folder``."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    older = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(folder) if older is None else f"{folder}{os.pathsep}{older}")


HANDLERS = """
    import os, signal, subprocess, time

    class Handler:
        contract_version = 1

        def __init__(self, mimetype, make):
            self.mimetype = mimetype
            self.preview = make

    def fail(content, budget):
        raise KeyError(content)

    def refuse(content, budget):
        from plurnk.errors import Unreadable
        class Worse(Unreadable): pass
        raise Worse("line 7 is odd")

    def hang(content, budget):
        while True:
            time.sleep(1000)

    def nap(content, budget):
        time.sleep(float(content))
        return content

    def start_a_tool(content):
        with open(content, "wb") as pid:
            tool = subprocess.Popen(["sleep", "1000"])
            pid.write(b"%d" % tool.pid)

    def wait_for_a_tool(content, budget):
        start_a_tool(content)
        hang(content, budget)

    def crash_with_a_tool(content, budget):
        start_a_tool(content)
        os._exit(4)

    def close_all(content, budget):
        os.closerange(3, 100)
        hang(content, budget)

    def gorge(content, budget):
        return "x" * (4 * 1024 ** 3)

    def grow(content, budget):
        global kept
        kept = bytearray(200 * 1024 ** 2)
        kept[::4096] = b"x" * len(kept[::4096])
        return str(os.getpid())

    def chat(content, budget):
        print("noise on", "stdout")
        os.write(1, b"more noise")
        return repr(os.read(0, 10))

    def world(content, budget):
        return repr((os.getcwd(), sorted(os.environ), os.nice(0), os.getsid(0) == os.getpid()))

    pid = Handler("text/x-pid", lambda content, budget: str(os.getpid()))
    echo = Handler("text/x-echo", lambda content, budget: f"{len(content)} {content[:20]}"[:budget])
    failing = Handler("text/x-failing", fail)
    refusing = Handler("text/x-refusing", refuse)
    hanging = Handler("text/x-hanging", hang)
    napping = Handler("text/x-napping", nap)
    calling = Handler("text/x-calling", wait_for_a_tool)
    orphaning = Handler("text/x-orphaning", crash_with_a_tool)
    closing = Handler("text/x-closing", close_all)
    gorging = Handler("text/x-gorging", gorge)
    growing = Handler("text/x-growing", grow)
    chatting = Handler("text/x-chatting", chat)
    world = Handler("text/x-world", world)
    talking = Handler("text/x-talking", lambda content, budget: "x" * (budget + 1))
    mute = Handler("text/x-mute", lambda content, budget: None)
    crashing = Handler("text/x-crashing", lambda content, budget: os.kill(os.getpid(), signal.SIGSEGV))
    leaving = Handler("text/x-leaving", lambda content, budget: os._exit(3))
    stranger = Handler("text/x-other", lambda content, budget: "")
    old = Handler("text/x-old", lambda content, budget: "")
    old.contract_version = 0
"""

_NAMES = [
    "pid",
    "echo",
    "failing",
    "refusing",
    "hanging",
    "napping",
    "calling",
    "orphaning",
    "closing",
    "gorging",
    "growing",
    "chatting",
    "world",
    "talking",
    "mute",
    "crashing",
    "leaving",
    "stranger",
    "old",
]

HANDLER_TYPES = frozenset(f"text/x-{name}" for name in _NAMES)


def install_handlers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package ``handlers`` with one preview handler for each of HANDLER_TYPES."""
    # This process, as a worker, may have looked for handlers already; it looks again, now and after the test.
    for name in ("_points", "_handler"):
        monkeypatch.setattr(workers, name, cache(getattr(workers, name).__wrapped__))
    install(folder, "handlers", {"plurnk.mimetypes": {f"text/x-{name}": name for name in _NAMES}}, HANDLERS)
    make_importable(folder, monkeypatch)
