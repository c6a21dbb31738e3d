"""What stderr says of the sandbox."""

from __future__ import annotations

import pytest

from plurnk.streams.denials import explain


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"touch: cannot touch '/etc/x': Read-only file system", "access to /etc/x;"),
        (b"bash: line 1: /home/me/.ssh/id: Permission denied", "access to /home/me/.ssh/id;"),
        (b"Error: EROFS: read-only file system, open '/usr/lib/x.js'", "access to /usr/lib/x.js;"),
        (b"mkdir: Permission denied", "access;"),
        (b"fatal: unable to access 'https://example.com/x/': Could not resolve host: example.com", "no network"),
        (b"connect: Network is unreachable", "no network"),
        (b"socket.gaierror: [Errno -3] Temporary failure in name resolution", "no network"),
    ],
)
def test_a_denial_is_named_with_the_way_to_ask(line: bytes, named: str) -> None:
    said = explain(b"starting\n" + line + b"\nmake: *** [all] Error 1\n", has_network=False)
    assert said is not None
    assert named in said
    assert "grant" in said


@pytest.mark.parametrize("stderr", [b"", b"syntax error", b"\xff\xfe not text", b"the network is fine"])
def test_other_failures_are_not_put_down_to_the_sandbox(stderr: bytes) -> None:
    assert explain(stderr, has_network=False) is None


def test_with_a_network_its_failures_are_the_networks_own() -> None:
    line = b"curl: (6) Could not resolve host: nowhere.example"
    assert explain(line, has_network=True) is None
    assert "access to /x;" in (explain(line + b"\n/x: Permission denied", has_network=True) or "")
