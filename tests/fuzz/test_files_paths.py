"""Paths: one spelling by the text, and on a disk full of links never a step out (SPEC 5.1)."""

from __future__ import annotations

import os
import posixpath
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurnk.errors import Denied, Malformed, PlurnkError
from plurnk.files import openat2
from plurnk.files.beneath import Root, inside, open_root

NAMES = st.sampled_from(["a", "b", "..", ".", "", "...", "..a", "\n", "\0", "\udc80", "ws", "n" * 256]) | st.text(
    max_size=4
)
TEXTS = st.tuples(st.sampled_from(["", "/", "/ws/", "//ws/", "/ws/../"]), st.lists(NAMES, max_size=8).map("/".join))


def reference(path: str) -> str | None:
    """What ``path`` is from /ws on, by the standard library; None: outside."""
    # A relative way out and back in again is a way out, so it is not joined to /ws.
    relative = posixpath.relpath(path, "/ws") if path.startswith("/") else posixpath.normpath(path)
    if relative == ".." or relative.startswith("../"):
        return None
    return "" if relative == "." else relative


@given(TEXTS.map("".join))
def test_the_spelling_is_canonical_or_refused(path: str) -> None:
    try:
        spelled = inside("/ws", path)
    except Malformed:
        assert "\0" in path or "\udc80" in path or any(len(os.fsencode(name)) > 255 for name in path.split("/"))
    except Denied:
        assert reference(path) is None
    else:
        assert spelled == reference(path)
        assert inside("/ws", spelled) == inside("/ws", "/ws/" + spelled) == spelled


LINKS = st.dictionaries(
    st.sampled_from(["x", "y", "z", "d/x", "d/y", "d/e/x"]),
    st.lists(st.sampled_from(["x", "y", "z", "d", "e", "f", "..", ".", "new", "ws", "out"]), min_size=1, max_size=5),
    min_size=1,
)
STARTS = st.sampled_from(["", "", "{base}/ws/", "{base}/out/", "{base}/link/", "/proc/self/root{base}/ws/"])
ASKED = st.lists(st.sampled_from(["x", "y", "z", "d", "e", "f", "new"]), min_size=1, max_size=4).map("/".join)


def answer(root: Root, path: str) -> str:
    """Where ``path`` leads to by ``root``, or how it is refused."""
    try:
        fd = root.open(path, os.O_PATH)
    except PlurnkError as refused:
        return f"{refused.status} {refused.detail}"
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)


@pytest.mark.spec("5.1-beneath-root")
@settings(deadline=None)  # a disk has its own pace
@given(links=LINKS, starts=st.lists(STARTS, min_size=6, max_size=6), asked=ASKED)
def test_links_lead_where_the_kernel_says_or_nowhere(
    links: dict[str, list[str]], starts: list[str], asked: str
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        base = Path(name).resolve()
        for directory in ("ws", "out"):
            (base / directory / "d/e").mkdir(parents=True)
            for file in ("f", "d/f", "d/e/f"):
                (base / directory / file).write_text(directory)
        (base / "link").symlink_to("ws")
        for (link, names), start in zip(links.items(), starts, strict=False):
            (base / "ws" / link).symlink_to(start.format(base=base) + "/".join(names))
        answers: list[str] = []
        for supported in (True, False):
            patch.setattr(openat2, "supported", lambda supported=supported: supported)
            with open_root(f"{base}/link") as root:
                answers.append(answer(root, asked))
        assert answers[0] == answers[1]
        if answers[0].startswith("/"):
            assert answers[0] == str((base / "ws" / asked).resolve(strict=True))
            assert (answers[0] + "/").startswith(f"{base}/ws/")
