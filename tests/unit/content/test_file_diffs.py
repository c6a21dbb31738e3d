"""What a proposal to change a file shows (SPEC 5.2)."""

from __future__ import annotations

import pytest

from plurnk.content.file_diffs import Kind, file_diff


@pytest.mark.parametrize(
    ("old", "new", "kind", "expected"),
    [
        (b"a\n", b"b\n", "edit", "--- a/d/x\n+++ b/d/x\n@@ -1 +1 @@\n-a\n+b\n"),
        (None, b"a\n", "create", "--- /dev/null\n+++ b/d/x\n@@ -0,0 +1 @@\n+a\n"),
        (None, b"", "create", "--- /dev/null\n+++ b/d/x\n"),
        (b"a\n", None, "delete", "--- a/d/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"),
        (b"a\n", b"a\n", "edit", ""),
        (b"\0", b"\0", "edit", ""),
        (b"\xff", b"b\n", "edit", "diff --git a/d/x b/d/x\nBinary files a/d/x and b/d/x differ\n"),
        (b"a\n", b"a\0", "edit", "diff --git a/d/x b/d/x\nBinary files a/d/x and b/d/x differ\n"),
        (None, b"\0", "create", "diff --git a/d/x b/d/x\nBinary files /dev/null and b/d/x differ\n"),
        (b"\0", None, "delete", "diff --git a/d/x b/d/x\nBinary files a/d/x and /dev/null differ\n"),
        (None, b"a\n", "move", "diff --git a/y b/d/x\nrename from y\nrename to d/x\n"),
        (None, b"\0", "copy", "diff --git a/y b/d/x\ncopy from y\ncopy to d/x\n"),
        (
            b"a\n",
            b"b\n",
            "move",
            "diff --git a/y b/d/x\nrename from y\nrename to d/x\n--- a/d/x\n+++ b/d/x\n@@ -1 +1 @@\n-a\n+b\n",
        ),
        (
            b"a\n",
            b"\0",
            "copy",
            "diff --git a/y b/d/x\ncopy from y\ncopy to d/x\nBinary files a/d/x and b/d/x differ\n",
        ),
    ],
)
def test_what_is_shown(old: bytes | None, new: bytes | None, kind: Kind, expected: str) -> None:
    assert file_diff("d/x", old, new, kind=kind, source="y" if kind in {"move", "copy"} else None) == expected


def test_nothing_is_left_out() -> None:
    new = b"".join(b"%d\n" % n for n in range(1000)) + b"x" * 10_000
    diff = file_diff("x", None, new, kind="create")
    assert diff.count("\n+") == 1001 + len(["+++"])
    assert "x" * 10_000 in diff
