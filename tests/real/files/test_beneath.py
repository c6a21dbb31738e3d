"""No path, link or chain of links leads out of the root, by the kernel's way and by our own (SPEC 5.1)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from plurnk.errors import PlurnkError
from plurnk.files.beneath import Root, open_root
from tests.support import beneath

OUT: Final = "403 path escapes the workspace"

# Where a link may lead that leaves the root. {out}: the folder beside the root; {base}: the folder of both;
# {up}: from the link's folder to the root; {what}: a path in the folder, there or not.
LEAVING: Final = [
    "{up}../out/{what}",
    "{up}./../out/.//{what}",
    "{up}d/../../out/{what}",
    "{up}d/e/../../../out/{what}",
    "{up}../ws/../out/{what}",
    "{up}../ws/d/{what}",  # out and in again
    "{up}../../../../../../../../../../../..{out}/{what}",
    "{out}/{what}",
    "/{out}//{what}",
    "{base}/ws/../out/{what}",
    "{base}/link/../out/{what}",
    "{base}/ws/d/../../out/{what}",
    "{base}/ws-2/{what}",  # begins like the root
    "{base}/{what}",
    "/proc/self/root{out}/{what}",
    "/proc/self/root{base}/ws/{what}",  # another way in, which is a way out
    "/proc/self/cwd/{what}",
    "/{what}",
]

FOLDERS: Final = ["", "d/", "d/e/"]
CHAINS: Final = range(3)


@pytest.fixture(params=beneath.WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    beneath.take(request.param, monkeypatch)
    return str(request.param)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The root ``ws``, ``link`` to it, and ``out`` and ``ws-2`` beside it, which hold the like."""
    for name in ("ws", "out", "ws-2"):
        (tmp_path / name / "d/e").mkdir(parents=True)
        for file in ("f", "d/f", "d/e/f"):
            (tmp_path / name / file).write_text(f"{name}/{file}")
    (tmp_path / "link").symlink_to("ws")
    return tmp_path


@pytest.fixture(params=["ws", "link"])
def root(request: pytest.FixtureRequest, base: Path) -> Iterator[Root]:
    with open_root(str(base / request.param)) as root:
        yield root


def read(root: Root, path: str) -> str:
    """What is read: the content, the names of a folder, or the refusal."""
    try:
        fd = root.open(path)
    except PlurnkError as refused:
        return f"{refused.status} {refused.detail}"
    try:
        with suppress(IsADirectoryError):
            return os.read(fd, 100).decode()
        return " ".join(sorted(os.listdir(fd)))  # noqa: PTH208 – pathlib lists no descriptor
    finally:
        os.close(fd)


def write(root: Root, path: str, *, make: bool = False) -> str:
    """Write there. Returns the real place, or the refusal."""
    try:
        with root.place(path, make=make) as place:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            fd = os.open(place.name, flags, dir_fd=place.dir_fd)
            os.write(fd, b"written")
            os.close(fd)
            return place.path
    except PlurnkError as refused:
        return f"{refused.status} {refused.detail}"


def all_of(root: Root, path: str) -> list[str]:
    return [read(root, path), write(root, path), write(root, path, make=True)]


def outside(base: Path) -> dict[str, str]:
    """All that is beside the root."""
    files = (path for path in sorted(base.rglob("*")) if not path.is_relative_to(base / "ws"))
    return {str(path): path.read_text() if path.is_file() else "" for path in files}


def lay(base: Path, target: str, *whats: str) -> Iterator[str]:
    """Lay links that end at ``target``, in each folder and as the last of chains. Yields the first links."""
    for number, (what, folder, length) in enumerate(product(whats, FOLDERS, CHAINS)):
        path = f"{folder}link-{number}"
        up = "../" * folder.count("/")
        (base / "ws" / path).symlink_to(target.format(base=base, out=base / "out", up=up, what=what))
        for link in range(length):
            path, to = f"d/chain-{number}-{link}", path
            (base / "ws" / path).symlink_to(f"{base}/ws/{to}" if link % 2 else f"../{to}")
        yield path


@pytest.mark.spec("5.1-beneath-root", "5.1-no-existence-oracle")
@pytest.mark.parametrize("target", LEAVING)
def test_a_link_that_leaves_is_refused_in_the_same_words_whatever_is_there(root: Root, base: Path, target: str) -> None:
    before = outside(base)
    for path in lay(base, target, "f", "d", "missing", "missing/f"):
        for asked in (path, f"{path}/f", f"{path}/missing", f"{path}/e/f", f"{base}/ws/{path}"):
            assert all_of(root, asked) == [OUT] * 3, asked
    assert outside(base) == before


@pytest.mark.spec("5.1-beneath-root", "5.1-no-existence-oracle")
@pytest.mark.parametrize(
    "path",
    [
        "../{}",
        "../out/{}",
        "d/../../out/{}",
        "/{}",
        "{base}/{}",
        "{base}/out/{}",
        "{base}/ws/../out/{}",
        "{base}/ws-2/{}",
    ],
)
def test_a_path_that_leaves_is_refused_in_the_same_words_whatever_is_there(root: Root, base: Path, path: str) -> None:
    before = outside(base)
    for what in ("f", "d", "d/f", "missing", "missing/f", ""):
        assert all_of(root, path.format(what, base=base)) == [OUT] * 3, what
    assert outside(base) == before


STAYING: Final = [
    "{up}{what}",
    "{up}./d/..//{what}",
    "{base}/ws/{what}",
    "/{base}/./ws//{what}",
    "{base}/ws/d/e/../../{what}",
]


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize("target", STAYING)
def test_links_that_stay_are_followed(root: Root, base: Path, target: str) -> None:
    for path in lay(base, target, "d/f"):
        assert all_of(root, path) == ["ws/d/f", "d/f", "d/f"]
        assert (base / "ws/d/f").read_text() == "written"
        assert (base / "ws" / path).is_symlink()
        (base / "ws/d/f").write_text("ws/d/f")


@pytest.mark.parametrize("target", STAYING)
def test_links_to_folders_are_followed(root: Root, base: Path, target: str) -> None:
    for path in lay(base, target, "d/e"):
        assert read(root, path).startswith("f")
        assert all_of(root, f"{path}/f") == ["ws/d/e/f", "d/e/f", "d/e/f"]
        assert all_of(root, f"{path}/new") == [f"404 {path}/new is not there", "d/e/new", "d/e/new"]
        # By the text ".." takes back the link's name, not what it leads to.
        assert read(root, f"{path}/../nothing/../{path.rpartition('/')[2]}/f") == "written"
        (base / "ws/d/e/f").write_text("ws/d/e/f")
        (base / "ws/d/e/new").unlink()


@pytest.mark.parametrize("target", STAYING)
def test_a_dangling_link_that_stays_is_a_place(root: Root, base: Path, target: str) -> None:
    for path in lay(base, target, "d/new"):
        assert all_of(root, path) == [f"404 {path} is not there", "d/new", "d/new"]
        assert (base / "ws/d/new").read_text() == "written"
        (base / "ws/d/new").unlink()


def test_a_dangling_link_into_a_folder_that_is_missing(root: Root, base: Path) -> None:
    (base / "ws/l1").symlink_to("new/deep/f")
    assert all_of(root, "l1") == ["404 l1 is not there", "404 l1 is not there", "new/deep/f"]


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize(
    "name",
    ["..foo", "...", "a\nb", " ", "-", "~", "*", "x\\y", "c:", "bäume", "n" * 255, "g\u200bit", "%2e%2e", "-rf"],
)
def test_odd_names_are_names(root: Root, base: Path, name: str) -> None:
    (base / "ws/d" / name).write_text("odd")
    for path in (f"d/{name}", f"./d//{name}/", f"d/{name}/.", f"d/e/../{name}", f"{base}/ws/d/{name}"):
        assert all_of(root, path) == ["odd", f"d/{name}", f"d/{name}"]
        (base / "ws/d" / name).write_text("odd")


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize(
    "path", ["a\0b", "\udcff", "d/\udcff/f", "n" * 300, "d/" + "n" * 300, "a/" * 2048 + "f", "../\0", "/etc/passwd\0"]
)
def test_what_is_no_path_is_malformed(root: Root, path: str) -> None:
    assert [said[:3] for said in all_of(root, path)] == ["400"] * 3


def test_a_deep_tree(root: Root, base: Path) -> None:
    deepest = "/".join(["n"] * 255)
    assert write(root, deepest, make=True) == deepest
    assert read(root, deepest) == "written"
    (base / "ws/down").symlink_to("n/" * 254)
    assert read(root, "down/n") == "written"


def test_a_link_may_not_lead_deeper_than_a_path(root: Root, base: Path) -> None:
    write(root, "/".join(["n"] * 255), make=True)
    (base / "ws/down").symlink_to("n/" * 254)
    assert write(root, "down/m/m", make=True) == "400 a path has at most 255 names, also where links lead"
    assert not (base / "ws/down/m").exists()


def test_a_link_to_a_name_that_nobody_can_say_can_be_read_and_not_written(root: Root, base: Path) -> None:
    odd = os.fsdecode(b"\xff")
    (base / "ws" / odd).write_text("odd")
    (base / "ws/l1").symlink_to(odd)
    assert all_of(root, "l1") == ["odd", "400 a path has to be UTF-8", "400 a path has to be UTF-8"]


def test_forty_links_are_followed_and_not_one_more(root: Root, base: Path) -> None:
    for number in range(1, 42):
        (base / f"ws/{number}").symlink_to("f" if number == 1 else str(number - 1))
    assert all_of(root, "40") == ["ws/f", "f", "f"]
    assert all_of(root, "41") == ["404 41 is not there: too many links"] * 3


@pytest.mark.parametrize("target", ["l1", "d/../l1", "{base}/ws/l1", "./d/l2"])
def test_a_loop_leads_nowhere(root: Root, base: Path, target: str) -> None:
    (base / "ws/l1").symlink_to(target.format(base=base))
    (base / "ws/d/l2").symlink_to("../l1")
    assert all_of(root, "l1") == ["404 l1 is not there: too many links"] * 3


def test_the_root_itself(root: Root, base: Path) -> None:
    (base / "ws/here").symlink_to(".")
    (base / "ws/d/up").symlink_to("..")
    itself = "400 this is the workspace itself, not a file in it"
    for path in ("", ".", "d/..", str(base / "ws"), "here", "d/up"):
        assert read(root, path).split()[:2] == ["d", "f"]
        assert [write(root, path), write(root, path, make=True)] == [itself] * 2
    assert read(root, "here/d/up/here/f") == "ws/f"


def test_a_root_that_is_a_link_is_the_folder_it_led_to(base: Path) -> None:
    with open_root(str(base / "link")) as root:
        (base / "link").unlink()
        (base / "link").symlink_to("out")
        assert read(root, "f") == read(root, str(base / "link/f")) == read(root, str(base / "ws/f")) == "ws/f"
        assert root.path == str(base / "ws")


def test_a_link_may_name_the_root_as_it_was_given(base: Path) -> None:
    (base / "ws/l1").symlink_to(base / "link/d/f")
    with open_root(str(base / "link")) as root:
        assert all_of(root, "l1") == ["ws/d/f", "d/f", "d/f"]
    with open_root(str(base / "ws")) as root:  # where ``link`` leads is not asked: it is outside
        assert all_of(root, "l1") == [OUT] * 3


def test_a_root_that_is_moved_is_still_the_root(root: Root, base: Path) -> None:
    (base / "ws").rename(base / "moved")
    assert read(root, "d/f") == "ws/d/f"
    assert write(root, "d/new") == "d/new"
    assert (base / "moved/d/new").exists()


@pytest.mark.parametrize("name", ["gone", "out/f"])
def test_a_root_that_is_not_there(base: Path, name: str) -> None:
    with pytest.raises(PlurnkError) as refused, open_root(str(base / name)):
        pass
    assert refused.value.status == 404


@pytest.mark.spec("5.1-beneath-root")
def test_the_root_of_all(base: Path) -> None:
    (base / "ws/l1").symlink_to(base / "out/f")
    (base / "ws/l2").symlink_to("../" * 40)
    with open_root("/") as root:
        assert read(root, str(base / "ws/l1")) == read(root, str(base / "out/f")) == "out/f"
        assert all_of(root, str(base / "ws/l2")) == [OUT] * 3  # above / is nothing
        assert read(root, f"/proc/self/root{base}/ws/f") == "ws/f"
        assert write(root, f"/proc/self/root{base}/ws/new") == str(base / "ws/new")[1:]
        assert read(root, "/dev/null") == "415 dev/null is a device, socket or pipe"


@pytest.mark.spec("5.1-beneath-root")
def test_the_links_of_proc_are_taken_by_their_text(base: Path) -> None:
    """Followed by the kernel they lead to open files, whatever way and whoever they belong to."""
    with open_root("/") as root, (base / "out/f").open("rb") as held:
        (base / "out/f").unlink()
        link = f"proc/self/fd/{held.fileno()}"
        assert Path("/", link).read_text() == "out/f"
        assert read(root, link) == f"404 {link} is not there"
        left, right = os.pipe()
        assert read(root, f"proc/self/fd/{left}") == f"404 proc/self/fd/{left} is not there"
        os.close(left)
        os.close(right)


def test_only_files_and_folders_are_opened_and_nothing_blocks(root: Root, base: Path) -> None:
    os.mkfifo(base / "ws/pipe")
    (base / "ws/l1").symlink_to("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(base / "ws/socket"))
        for name in ("pipe", "l1", "socket"):
            assert read(root, name) == f"415 {name} is a device, socket or pipe"
            os.close(root.open(name, os.O_PATH))


def test_a_file_on_the_way_is_no_folder(root: Root, base: Path) -> None:
    (base / "ws/l1").symlink_to("d/f/../f")
    for path in ("f/x", "d/f/x/y", "l1"):
        assert all_of(root, path) == [f"404 {path} is not there: a part of the path is not a directory"] * 3


def test_what_the_disk_forbids_is_denied(root: Root, base: Path) -> None:
    (base / "ws/d/f").chmod(0)
    expected = "ws/d/f" if os.geteuid() == 0 else "403 d/f may not be touched: permission denied"
    assert read(root, "d/f") == expected


def test_descriptors_are_closed_on_exec_and_none_is_left(root: Root, base: Path) -> None:
    (base / "ws/l1").symlink_to("d/e/../f")
    (base / "ws/l2").symlink_to("../out")
    before = len([*Path("/proc/self/fd").iterdir()])
    fd = root.open("l1")
    assert not os.get_inheritable(fd)
    assert not os.get_inheritable(root.fd)
    os.close(fd)
    for path in ("l1", "l2", "f/x", "missing/x", "", "d"):
        read(root, path)
        with suppress(OSError):
            write(root, path)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
