"""Files and directories are read in parts, and gone, changed or strange ones do no harm (SPEC 5.1)."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurnk.errors import Denied, NotFound, TooLarge, UnsupportedType
from plurnk.files import reading
from plurnk.files.beneath import Root, open_root
from plurnk.files.reading import look, open_source, read_whole
from plurnk.schemes.reading import MemorySource, Source

PIECES = st.lists(st.sampled_from([b"a", b"\n", b"bc", b"\n\n", "é".encode(), b"\xff", b"\r\n", b"x" * 7]), max_size=14)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    with open_root(str(folder), hidden=[str(folder / "hidden"), str(folder / "d" / "hidden")]) as root:
        yield root


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one") / "f"


@settings(deadline=None)
@given(
    parts=PIECES,
    piece_bytes=st.integers(1, 9),
    ranges=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 20)), max_size=4),
    max_bytes=st.none() | st.integers(0, 9),
)
def test_a_file_reads_as_the_same_bytes_at_hand(
    one_file: Path,
    parts: list[bytes],
    piece_bytes: int,
    ranges: list[tuple[int, int, int]],
    max_bytes: int | None,
) -> None:
    data = b"".join(parts)
    one_file.write_bytes(data)
    expected = MemorySource(data, "text/plain", "body")
    with (
        pytest.MonkeyPatch.context() as patch,
        open_root(str(one_file.parent)) as root,
        open_source(root, "f", "text/plain") as found,
    ):
        patch.setattr(reading, "PIECE_BYTES", piece_bytes)
        source: Source = found
        assert (source.channel, source.mimetype, source.size_bytes) == ("body", "text/plain", len(data))
        assert source.read(max_bytes) == expected.read(max_bytes)
        assert source.lines == expected.lines
        for first, more, most in ranges:
            last = min(first + more, expected.lines)
            if first <= last:
                assert source.read_lines(first, last, most) == expected.read_lines(first, last, most)


def test_lines_of_a_long_file_are_read_in_bounded_memory(folder: Path, root: Root) -> None:
    lines, length = 100_000, 200
    with (folder / "long").open("wb") as file:
        for first in range(0, lines, 1000):
            file.write(b"".join(b"%0*d\n" % (length - 1, first + number) for number in range(1, 1001)))
    with open_source(root, "long", "text/plain") as source:
        tracemalloc.start()
        try:
            assert source.lines == lines
            for wanted in (1, 5_300, 50_001, lines):
                expected = b"%0*d\n" % (length - 1, wanted)
                assert source.read_lines(wanted, wanted, 1000) == (expected, wanted, True)
            data, read_to, complete = source.read_lines(2, lines, 1000)
            assert (len(data), read_to, complete) == (1000, 6, False)
            assert tracemalloc.get_traced_memory()[1] < 4 * reading.PIECE_BYTES < source.size_bytes / 4
        finally:
            tracemalloc.stop()


def test_what_is_added_is_left_out_and_what_is_gone_is_gone(folder: Path, root: Root) -> None:
    file = folder / "f"
    file.write_bytes(b"one\ntwo\nthree\n")
    with open_source(root, "f", "text/plain") as source:
        with file.open("ab") as more:
            more.write(b"four\n" * 10)
        assert source.lines == 3
        assert source.read() == b"one\ntwo\nthree\n"
        assert source.read_lines(3, 3, 100) == (b"three\n", 3, True)
        os.truncate(file, 5)
        assert source.read() == b"one\nt"
        assert source.read_lines(1, 3, 100) == (b"one\nt", 3, True)
        assert source.read_lines(2, 3, 3) == (b"t", 3, True)
        assert source.read_lines(3, 3, 100) == (b"", 3, True)
        file.write_bytes(b"xxxxxxxxxxxxxx")
        assert source.read_lines(2, 2, 100) == (b"", 2, True)


def test_a_file_that_is_replaced_is_read_as_it_was(folder: Path, root: Root) -> None:
    (folder / "f").write_bytes(b"old\n")
    (folder / "new").write_bytes(b"new, and longer\n")
    with open_source(root, "f", "text/plain") as source:
        (folder / "new").rename(folder / "f")
        assert source.read() == b"old\n"


def make_strange(folder: Path) -> list[str]:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    (folder / "link").symlink_to("pipe")
    names = ["pipe", "socket", "link"]
    if os.geteuid() == 0:
        os.mknod(folder / "zero", 0o20666, os.makedev(1, 5))
        names.append("zero")
    return names


def test_pipes_sockets_and_devices_are_no_files(folder: Path, root: Root) -> None:
    for name in make_strange(folder):
        with pytest.raises(UnsupportedType), open_source(root, name, "text/plain"):
            pass
        with pytest.raises(UnsupportedType):
            read_whole(root, name, 100)
        assert look(root, name).kind == "other"


def test_whole_files_have_a_bound_and_tell_which_they_are(folder: Path, root: Root) -> None:
    file = folder / "f"
    file.write_bytes(b"12345")
    file.chmod(0o640)
    found = read_whole(root, "f", 5)
    assert (found.data, found.mode, found.id.size_bytes) == (b"12345", 0o640, 5)
    assert look(root, "f").kind == "file"
    assert look(root, "f").id == found.id
    with pytest.raises(TooLarge, match="more than 4 bytes"):
        read_whole(root, "f", 4)
    with file.open("ab") as more:
        more.write(b"6")
    assert look(root, "f").id != found.id
    (folder / "d").mkdir()
    assert look(root, "d").kind == "directory"
    assert look(root, "").kind == "directory"
    with pytest.raises(UnsupportedType, match="d is a directory"):
        read_whole(root, "d", 100)
    with pytest.raises(NotFound):
        read_whole(root, "nothing", 100)
    with pytest.raises(Denied, match="path escapes the workspace"):
        read_whole(root, "../f", 100)


def test_a_file_that_grows_while_it_is_read_whole_keeps_to_the_bound(
    folder: Path, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "f").write_bytes(b"12")
    really = os.pread

    def then_it_grows(fd: int, max_bytes: int, start: int) -> bytes:
        with (folder / "f").open("ab") as more:
            more.write(b"3")
        return really(fd, min(max_bytes, 1), start)

    monkeypatch.setattr(os, "pread", then_it_grows)
    with pytest.raises(TooLarge):
        read_whole(root, "f", 4)
    with open_source(root, "f", "text/plain") as source:
        assert source.size_bytes == source.lines + 6 == len(source.read())


def listing(root: Root, path: str) -> str:
    with open_source(root, path, "application/json") as source:
        assert source.mimetype == "text/plain"
        assert source.size_bytes == len(source.read())
        return source.read().decode()


def test_a_directory_is_its_names_one_a_line(folder: Path, root: Root) -> None:
    for name in ("d", "d/sub", "d/.git"):
        (folder / name).mkdir()
    for name in ("d/b", "d/a", "d/é", "d/sub-1", "d/Z"):
        (folder / name).touch()
    (folder / "d" / "to-sub").symlink_to("sub")
    (folder / "d" / "to-nothing").symlink_to("/nothing/at/all")
    assert listing(root, "d") == ".git/\nZ\na\nb\nsub-1\nsub/\nto-nothing\nto-sub\né\n"
    assert listing(root, "d/to-sub") == ""
    assert listing(root, "") == "d/\n"


def test_a_listing_leaves_out_what_is_hidden_and_counts_what_cannot_be_written(
    folder: Path, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "d").mkdir()
    for name in (b"hidden", b"a", b"b", b"c", b"\xff"):
        (folder / "d" / os.fsdecode(name)).touch()
    assert listing(root, "d") == "a\nb\nc\n… 1 name that cannot be written\n"
    (folder / "d" / "with\nnewline").mkdir()
    monkeypatch.setattr(reading, "MAX_LISTED", 2)
    assert listing(root, "d") == "a\nb\n… 1 more\n… 2 names that cannot be written\n"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open(folder: Path, root: Root) -> None:
    before = open_files()
    (folder / "f").write_bytes(b"1")
    (folder / "d").mkdir()
    for name in ("f", "d"):
        with open_source(root, name, "text/plain"):
            assert open_files() == before + 1
    with pytest.raises(TooLarge):
        read_whole(root, "f", 0)
    look(root, "f")
    assert open_files() == before
