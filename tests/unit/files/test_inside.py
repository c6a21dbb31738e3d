"""How a path is spelled, by its text alone (SPEC 5.1)."""

from __future__ import annotations

import pytest

from plurnk.errors import Denied, Malformed
from plurnk.files.beneath import ESCAPES, inside

ROOT = "/home/ann/project"


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ("a", "a"),
        ("a/b.txt", "a/b.txt"),
        ("", ""),
        (".", ""),
        ("./", ""),
        ("a/..", ""),
        ("a/", "a"),
        ("a///b//", "a/b"),
        ("./a/./b/.", "a/b"),
        ("a/../b", "b"),
        ("a/b/../../c", "c"),
        ("src/../a", "a"),
        ("...", "..."),
        ("..a", "..a"),
        ("a..", "a.."),
        (".. ", ".. "),
        (" ", " "),
        ("~", "~"),
        ("a\nb", "a\nb"),
        ("a\\..\\b", "a\\..\\b"),
        ("bäume/木", "bäume/木"),
        (ROOT, ""),
        (ROOT + "/", ""),
        (ROOT + "/a", "a"),
        ("//home//ann/./project/a/", "a"),
        (ROOT + "/../project/a", "a"),
        ("/../home/ann/project/a", "a"),
        ("n" * 255, "n" * 255),
        ("/".join(["n"] * 255), "/".join(["n"] * 255)),
        ("./" * 2047 + "a", "a"),
    ],
)
def test_a_path_has_one_spelling(path: str, spelled: str) -> None:
    assert inside(ROOT, path) == spelled
    assert inside(ROOT + "/", path) == spelled


def test_beneath_the_root_of_all_is_everything() -> None:
    assert inside("/", "/etc/passwd") == "etc/passwd"
    assert inside("/", "/") == ""
    assert inside("/", "/../etc") == "etc"


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "../project/a",
        "a/../..",
        "a/../../project/a",
        "./..",
        "a/b/../../../c",
        "/",
        "/etc/passwd",
        "/home/ann",
        "/home/ann/project-2/a",
        "/home/ann/projec",
        ROOT + "/..",
        ROOT + "/a/../../b",
    ],
)
def test_what_leads_out_by_its_text_is_refused(path: str) -> None:
    with pytest.raises(Denied) as refused:
        inside(ROOT, path)
    assert refused.value.detail == ESCAPES == "path escapes the workspace"


@pytest.mark.parametrize(
    "path",
    [
        "a\0b",
        "\0",
        "../\0",
        "\udc80",
        "/etc/\udcff",
        "n" * 256,
        "ä" * 128,
        "n" * 256 + "/../a",
        "../" + "n" * 256,
        "/etc/" + "n" * 256,
        "a/" * 2048 + "b",
        "./" * 2048 + "a",
        "/".join(["n"] * 256),
    ],
)
def test_what_can_be_no_name_is_malformed(path: str) -> None:
    with pytest.raises(Malformed, match=r"^a (path|name in a path) has "):
        inside(ROOT, path)
