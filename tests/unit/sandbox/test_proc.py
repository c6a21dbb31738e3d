"""Reading /proc: of ourselves, of children, and of those that are gone."""

from __future__ import annotations

import os
import subprocess
import sys

from sandbox import proc

GONE = 2**22 + 1
"""Above every number that the kernel gives to a process."""

FAMILY = (
    "import subprocess, sys\n"
    "child = subprocess.Popen(['sh', '-c', 'sleep 1000 & echo $!; wait'], stdout=subprocess.PIPE, text=True)\n"
    "print(child.pid, child.stdout.readline(), flush=True)\n"
    "child.wait()"
)


def test_a_family_is_found_parents_first() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child, grandchild = map(int, parent.stdout.readline().split())
        assert proc.children(os.getpid()).count(parent.pid) == 1
        assert proc.children(parent.pid) == [child]
        assert proc.descendants(parent.pid) == [child, grandchild]
        assert {parent.pid, child, grandchild} <= set(proc.pids())
        found = proc.stat(grandchild)
        assert found is not None
        assert (found.pid, found.parent) == (grandchild, child)
        first = proc.stat(child)
        assert first is not None
        assert found.started_ticks >= first.started_ticks > 0
        assert proc.command_line(child) == ["sh", "-c", "sleep 1000 & echo $!; wait"]
        parent.kill()
        os.kill(grandchild, 9)


def test_one_that_has_ended_is_not_alive_though_it_is_there() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    found = proc.stat(child.pid)
    assert found is not None
    assert found.state == "Z"
    assert not proc.is_alive(child.pid)
    assert proc.command_line(child.pid) == []
    child.wait()
    assert proc.stat(child.pid) is None


def test_a_name_may_hold_anything() -> None:
    script = "open('/proc/self/comm', 'w').write(') Z 1 (\\n'); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = proc.stat(child.pid)
        assert found is not None
        assert found.parent == os.getpid()
        assert proc.is_alive(child.pid)
        child.communicate("\n")


def test_of_those_who_are_gone_nothing_is_said() -> None:
    assert proc.stat(GONE) is None
    assert proc.children(GONE) == []
    assert proc.descendants(GONE) == []
    assert proc.command_line(GONE) == []
    assert not proc.is_alive(GONE)
