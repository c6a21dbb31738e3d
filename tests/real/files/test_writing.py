"""One file's change: whole or not at all, only onto what was shown, and undone until it is recorded (SPEC 5.2)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from plurnk.errors import Denied, Malformed, Stale, UnsupportedType
from plurnk.files import beside, renames
from plurnk.files.beneath import Root, open_root
from plurnk.files.writing import CHANGED, WRITTEN, Step, apply, finish, plan, sha256, undo
from tests.support.changes import CHANGES, NEW, OLD, Change, tree
from tests.support.disk_calls import WAYS, Moments, only

THEIRS = b"somebody else's"
LEAST_MOMENTS = 5

Editor = Callable[[Path], object]


def saves(path: Path) -> None:
    """A new file, renamed over the old one."""
    saved = path.with_name("saved")
    saved.write_bytes(THEIRS)
    saved.rename(path)


def writes_in_place(path: Path) -> None:
    path.write_bytes(THEIRS)


EDITORS: tuple[Editor, ...] = (saves, writes_in_place)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project"


def in_project(project: Path, chosen: Change) -> Iterator[Root]:
    chosen.set_up(project)
    with open_root(str(project)) as root:
        yield root


@pytest.fixture
def root(project: Path) -> Iterator[Root]:
    """Of a project with a file that holds OLD."""
    yield from in_project(project, CHANGES["replace"])


def replacing(root: Root, path: str = "file") -> Step:
    return plan(root, path, base=sha256(OLD), new=sha256(NEW))


def creating(root: Root, path: str = "made", mode: int | None = None) -> Step:
    return plan(root, path, base=None, new=sha256(NEW), mode=mode)


def deleting(root: Root, path: str = "file") -> Step:
    return plan(root, path, base=sha256(OLD), new=None)


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CHANGES)
class TestEachKind:
    def test_is_done_and_leaves_nothing_else(self, project: Path, name: str, way: str) -> None:
        chosen = CHANGES[name]
        chosen.set_up(project)
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            apply(root, step, chosen.new)
            assert (project / chosen.path).exists() is (chosen.new is not None)
            finish(root, step)
            done = tree(project)
            finish(root, step)
        assert tree(project) == done
        files = {path: held for path, (_, held) in done.items() if held is not None}
        assert files == ({} if chosen.new is None else {chosen.path: chosen.new})

    def test_is_undone(self, project: Path, name: str, way: str) -> None:
        chosen = CHANGES[name]
        chosen.set_up(project)
        before = tree(project)
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            undo(root, step)
            assert tree(project) == before
            apply(root, step, chosen.new)
            for _ in range(2):
                undo(root, step)
                assert tree(project) == before

    def test_is_undone_to_the_very_file(self, project: Path, name: str, way: str) -> None:
        chosen = CHANGES[name]
        chosen.set_up(project)
        if chosen.base is None or way == "no links either":
            return  # there was none, or it can only be copied
        inode = (project / chosen.path).stat().st_ino
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            apply(root, step, chosen.new)
            undo(root, step)
        assert (project / chosen.path).stat().st_ino == inode


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["replace", "create", "delete"])
def test_the_content_is_on_the_disk_before_it_has_the_name_and_the_name_before_it_is_done(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    called: list[str] = []

    def noted(call: Callable[..., Any], what: Callable[..., str]) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> Any:
            called.append(what(*args))
            return call(*args, **kwargs)

        return note

    def kind(fd: int) -> str:
        return "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"

    chosen = CHANGES[name]
    chosen.set_up(project)
    # Left before ``only`` is: else what it put in place would be put back when the test is over, and stay.
    with open_root(str(project)) as root, only(way), monkeypatch.context() as patch:
        step = chosen.step(root)
        patch.setattr(os, "fsync", noted(os.fsync, kind))
        patch.setattr(os, "rename", noted(os.rename, lambda *_: "rename"))
        patch.setattr(renames, "renameat2", noted(renames.renameat2, lambda *_: "rename"))
        apply(root, step, chosen.new)
        assert called[0] == ("rename" if chosen.new is None else "file")
        assert called[-1] == "directory"
        called.clear()
        finish(root, step)
        assert called == ["directory"]


def gone(path: Path) -> None:
    path.unlink()


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize("happens", [*EDITORS, gone, linked])
@pytest.mark.parametrize("kind", [replacing, deleting])
def test_a_file_that_changed_is_not_touched(
    root: Root, project: Path, kind: Callable[[Root], Step], happens: Editor
) -> None:
    step = kind(root)
    happens(project / "file")
    before = tree(project)
    with pytest.raises(Stale, match=CHANGED):
        apply(root, step, None if step.new is None else NEW)
    assert tree(project) == before


@pytest.mark.spec("5.2-cas-409")
def test_a_file_that_came_is_not_overwritten(root: Root, project: Path) -> None:
    step = creating(root)
    (project / "made").write_bytes(NEW)
    before = tree(project)
    with pytest.raises(Stale, match=CHANGED):
        apply(root, step, NEW)
    assert tree(project) == before


@pytest.mark.spec("5.2-cas-409")
def test_a_directory_above_that_went_or_became_a_link(root: Root, project: Path) -> None:
    (project / "a").mkdir()
    (project / "file").rename(project / "a" / "file")
    step = replacing(root, "a/file")
    (project / "a").rename(project / "b")
    with pytest.raises(Stale, match=CHANGED):
        apply(root, step, NEW)
    (project / "a").symlink_to("b")
    with pytest.raises(Stale, match=CHANGED):
        apply(root, step, NEW)
    assert (project / "b" / "file").read_bytes() == OLD


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("kind", [replacing, creating, deleting])
def test_only_regular_files(
    root: Root, project: Path, kind: Callable[[Root, str], Step], make: Callable[[Path], object]
) -> None:
    step = kind(root, "other")
    make(project / "other")
    before = tree(project)
    with pytest.raises(UnsupportedType, match="other is not a regular file"):
        apply(root, step, None if step.new is None else NEW)
    assert tree(project) == before


# With links but without an exchange, a file that is renamed into the last gap is lost: the docstring says so.
LOSSLESS = [
    *((name, "whole", editor) for name in ("replace", "create", "delete") for editor in EDITORS),
    *((name, "no exchange", editor) for name in ("create", "delete") for editor in EDITORS),
    ("replace", "no exchange", writes_in_place),
]


def at_moment(at: int, editor: Editor, file: Path) -> Moments:
    return Moments(lambda moment: moment == at and editor(file), after=True)


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize(("name", "way", "editor"), LOSSLESS)
def test_an_editor_that_writes_at_any_moment_has_the_last_word(
    tmp_path: Path, name: str, way: str, editor: Editor
) -> None:
    outcomes: set[bool] = set()
    for at in count(1):
        project = tmp_path / str(at)
        chosen = CHANGES[name]
        chosen.set_up(project)
        moments = at_moment(at, editor, project / "file")
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            with moments.watched():
                try:
                    apply(root, step, chosen.new)
                    outcomes.add(True)
                    finish(root, step)
                except Stale:
                    outcomes.add(False)
        if moments.passed < at:
            break
        assert {path: held for path, (_, held) in tree(project).items()} == {"file": THEIRS}, at
    assert outcomes == {True, False}


class SlowEditor:
    """Opens a file at one moment, if it is there, and truncates and writes it at another."""

    def __init__(self, file: Path, opens: int, writes: int) -> None:
        self.was_there = False
        self._file = file
        self._at = {opens: self._open, writes: self.write}
        self._opened: BinaryIO | None = None

    def __call__(self, moment: int) -> None:
        self._at.get(moment, lambda: None)()

    def _open(self) -> None:
        with suppress(FileNotFoundError):
            self._opened = self._file.open("r+b")
            self.was_there = True

    def write(self) -> None:
        if self._opened is not None:
            with self._opened as file:
                file.truncate()
                file.write(THEIRS)
            self._opened = None


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize(
    ("name", "way", "settle"),
    [
        ("replace", "whole", finish),
        ("replace", "whole", undo),
        ("replace", "no exchange", finish),
        ("create", "whole", undo),
        ("delete", "whole", finish),
        ("delete", "whole", undo),
    ],
)
def test_what_is_opened_at_any_moment_is_not_lost_whenever_it_is_written(
    tmp_path: Path, name: str, way: str, settle: Callable[[Root, Step], None]
) -> None:
    for at, later in ((at, later) for at in count(1) for later in (1, 2, 5, 1000)):
        project = tmp_path / f"{at}-{later}"
        chosen = CHANGES[name]
        chosen.set_up(project)
        editor = SlowEditor(project / "file", at, at + later)
        moments = Moments(editor, after=True)
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            with moments.watched(), suppress(Stale):
                apply(root, step, chosen.new)
                settle(root, step)
        if moments.passed < at:
            assert at > LEAST_MOMENTS
            return
        editor.write()
        assert not editor.was_there or THEIRS in {held for _, held in tree(project).values()}, (at, later)


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize("kind", [replacing, deleting])
def test_what_a_program_has_open_to_write_is_left_alone(
    root: Root, project: Path, kind: Callable[[Root], Step]
) -> None:
    step = kind(root)
    data = None if step.new is None else NEW
    with (project / "file").open("ab") as file:
        with pytest.raises(Stale, match=WRITTEN):
            apply(root, step, data)
        file.write(THEIRS)
    assert tree(project) == {"file": (0o754, OLD + THEIRS)}
    (project / "file").write_bytes(OLD)
    with (project / "file").open("rb"):  # who reads it is not in the way
        apply(root, step, data)


@pytest.mark.spec("5.2-atomic-write")
@pytest.mark.parametrize(("name", "way", "editor"), LOSSLESS[:6])
def test_an_editor_that_writes_while_it_is_undone_has_the_last_word(
    tmp_path: Path, name: str, way: str, editor: Editor
) -> None:
    for at in count(1):
        project = tmp_path / str(at)
        chosen = CHANGES[name]
        chosen.set_up(project)
        moments = at_moment(at, editor, project / "file")
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            apply(root, step, chosen.new)
            with moments.watched():
                undo(root, step)
        if moments.passed < at:
            assert at > LEAST_MOMENTS
            return
        assert {path: held for path, (_, held) in tree(project).items()} == {"file": THEIRS}, at


@pytest.mark.spec("5.2-cas-409")
@pytest.mark.parametrize("way", WAYS[1:])
def test_without_an_exchange_only_the_last_gap_is_open(tmp_path: Path, way: str) -> None:
    lost: list[int] = []
    for at in count(1):
        project = tmp_path / str(at)
        chosen = CHANGES["replace"]
        chosen.set_up(project)
        moments = at_moment(at, saves, project / "file")
        with open_root(str(project)) as root, only(way):
            step = chosen.step(root)
            with moments.watched(), suppress(Stale):
                apply(root, step, chosen.new)
                finish(root, step)
        if moments.passed < at:
            assert at > LEAST_MOMENTS
            break
        if (project / "file").read_bytes() != THEIRS:
            lost.append(at)
    assert len(lost) <= 2  # when the last look has opened the file, and before the rename


class TestOthersWorkStays:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("editor", EDITORS)
    @pytest.mark.parametrize("name", ["replace", "create", "delete"])
    def test_done_after_the_change(self, project: Path, name: str, editor: Editor, way: str) -> None:
        chosen = CHANGES[name]
        for settle in (undo, finish):
            for root in in_project(project, chosen):
                with only(way):
                    step = chosen.step(root)
                    apply(root, step, chosen.new)
                    editor(project / "file")
                    settle(root, step)
                assert {path: held for path, (_, held) in tree(project).items()} == {"file": THEIRS}
                (project / "file").unlink()

    def test_a_deleted_file_stays_deleted(self, root: Root, project: Path) -> None:
        step = replacing(root)
        apply(root, step, NEW)
        (project / "file").unlink()
        undo(root, step)
        assert tree(project) == {}

    def test_the_same_content_written_before_the_exchange_is_not_ours(self, root: Root, project: Path) -> None:
        step = replacing(root)
        (project / f".file.plurnk-{step.token}.swap").write_bytes(NEW)  # as one who is killed before it leaves it
        (project / "file").write_bytes(NEW)
        inode = (project / "file").stat().st_ino
        undo(root, step)
        assert tree(project) == {"file": (0o754, NEW)}
        assert (project / "file").stat().st_ino == inode

    def test_the_same_content_written_anew_is_not_ours(self, root: Root, project: Path) -> None:
        step = creating(root)
        apply(root, step, NEW)
        (project / "made").unlink()
        (project / "made").write_bytes(NEW)
        os.utime(project / "made", ns=(1, 1))
        undo(root, step)
        assert (project / "made").read_bytes() == NEW

    @pytest.mark.parametrize("settle", [undo, finish])
    @pytest.mark.parametrize("kind", [replacing, deleting])
    def test_what_is_written_into_the_old_file_comes_in_sight(
        self,
        root: Root,
        project: Path,
        kind: Callable[[Root], Step],
        settle: Callable[[Root, Step], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def cannot_tell(_fd: int) -> bool:
            return False

        monkeypatch.setattr(beside, "has_writer", cannot_tell)  # as of another user's file
        step = kind(root)
        with (project / "file").open("ab") as file:
            apply(root, step, None if step.new is None else NEW)
            saves(project / "file")
            file.write(THEIRS)
        settle(root, step)
        held = {path: held for path, (_, held) in tree(project).items()}
        assert held == {"file": THEIRS, f"file.plurnk-{step.token}.kept": OLD + THEIRS}

    def test_a_directory_that_is_not_empty_is_not_taken_away(self, root: Root, project: Path) -> None:
        step = creating(root, "a/b/made")
        apply(root, step, NEW)
        (project / "a" / "theirs").touch()
        undo(root, step)
        assert set(tree(project)) == {"a", "a/theirs", "file"}


@pytest.mark.parametrize("settle", [undo, finish])
@pytest.mark.parametrize("path", ["made", "a/made"])
def test_where_the_directory_is_gone_nothing_is_left_to_do(
    root: Root, project: Path, path: str, settle: Callable[[Root, Step], None]
) -> None:
    (project / "a").mkdir()
    step = creating(root, path)
    apply(root, step, NEW)
    for top, directories, files in os.walk(project, topdown=False):
        for file in files:
            (Path(top) / file).unlink()
        for directory in directories:
            (Path(top) / directory).rmdir()
    project.rmdir()
    settle(root, step)


class TestAttributes:
    @pytest.mark.spec("5.2-mode-kept")
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("mode", [0o755, 0o600, 0o640, 0o4711, 0o2770])
    def test_the_mode_is_kept(self, root: Root, project: Path, mode: int, way: str) -> None:
        (project / "file").chmod(mode)
        for _ in ("kept by apply", "restored by undo"):
            step = replacing(root)
            with only(way):
                apply(root, step, NEW)
                assert tree(project)["file"] == (mode, NEW)
                undo(root, step)
            assert tree(project) == {"file": (mode, OLD)}

    @pytest.mark.spec("5.2-mode-kept")
    def test_the_owner_is_kept_by_root(self, root: Root, project: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs: root")
        os.chown(project / "file", 12345, 54321)
        (project / "file").chmod(0o6751)
        step = replacing(root)
        apply(root, step, NEW)
        finish(root, step)
        found = (project / "file").stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 54321, 0o6751)

    def test_capabilities_are_not_handed_on_to_another_content(self, root: Root, project: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs: root")
        revision_2, net_raw = (0x02000001).to_bytes(4, "little"), (1 << 13).to_bytes(4, "little")
        os.setxattr(project / "file", "security.capability", revision_2 + net_raw + bytes(12))
        step = replacing(root)
        apply(root, step, NEW)
        assert "security.capability" not in os.listxattr(project / "file")
        undo(root, step)
        assert "security.capability" in os.listxattr(project / "file")

    @pytest.mark.spec("5.2-mode-kept")
    def test_extended_attributes_and_the_access_list_are_kept(self, root: Root, project: Path) -> None:
        file = project / "file"
        # Version 2; owner rw, user 54321 rw, group none, mask rw, others none: of tag, rights, and id or -1 each.
        entries = ((1, 6, -1), (2, 6, 54321), (4, 0, -1), (16, 6, -1), (32, 0, -1))
        access_list = (2).to_bytes(4, "little") + b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little", signed=True)
            for tag, rights, who in entries
        )
        try:
            os.setxattr(file, "user.colour", b"blue")
            os.setxattr(file, "system.posix_acl_access", access_list)
        except OSError:
            pytest.skip("needs: a file system with extended attributes")
        step = replacing(root)
        apply(root, step, NEW)
        finish(root, step)
        assert file.read_bytes() == NEW
        assert os.getxattr(file, "user.colour") == b"blue"
        assert os.getxattr(file, "system.posix_acl_access") == access_list
        assert file.stat().st_mode & 0o777 == 0o660

    @pytest.mark.parametrize("way", WAYS)
    def test_what_is_private_is_so_at_any_moment(self, root: Root, project: Path, way: str) -> None:
        (project / "file").chmod(0o600)
        seen: set[int] = set()
        step = replacing(root)
        looks = Moments(lambda _: seen.update(path.stat().st_mode & 0o777 for path in project.iterdir()), after=True)
        with only(way), looks.watched():
            apply(root, step, NEW)
            undo(root, step)
        assert seen == {0o600}

    @pytest.mark.parametrize(("mode", "made"), [(None, 0o640), (0o777, 0o777), (0o4755, 0o755), (0o600, 0o600)])
    def test_a_new_file_has_the_mode_that_is_asked_for(
        self, root: Root, project: Path, mode: int | None, made: int
    ) -> None:
        step = creating(root, mode=mode)
        umask = os.umask(0o027)
        try:
            apply(root, step, NEW)
        finally:
            os.umask(umask)
        finish(root, step)
        assert tree(project)["made"] == (made, NEW)


class TestLinks:
    def test_a_link_stays_and_its_target_is_changed(self, root: Root, project: Path) -> None:
        (project / "a").mkdir()
        (project / "a" / "link").symlink_to("../file")
        for kind in (replacing, deleting):
            step = kind(root, "a/link")
            assert step.path == "file"
            apply(root, step, None if step.new is None else NEW)
            (project / "a" / "link").unlink()
            (project / "a" / "link").symlink_to("elsewhere")
            undo(root, step)
            assert tree(project)["file"] == (0o754, OLD)
            (project / "a" / "link").unlink()
            (project / "a" / "link").symlink_to("../file")

    def test_a_link_to_nothing_yet(self, root: Root, project: Path) -> None:
        (project / "link").symlink_to("made")
        step = creating(root, "link/b")
        assert (step.path, step.parents) == ("made/b", ("made",))
        apply(root, step, NEW)
        assert (project / "link" / "b").read_bytes() == NEW
        undo(root, step)
        assert set(tree(project)) == {"file", "link"}

    def test_another_name_of_the_file_keeps_the_old_content(self, root: Root, project: Path) -> None:
        os.link(project / "file", project / "other")
        step = replacing(root)
        apply(root, step, NEW)
        finish(root, step)
        assert {path: held for path, (_, held) in tree(project).items()} == {"file": NEW, "other": OLD}


def test_an_exchange_that_fails_is_not_one_that_cannot_be_done(root: Root, project: Path) -> None:
    with pytest.raises(FileNotFoundError):
        renames.exchange(root.fd, "file", "missing")
    (project / "other").touch()
    assert renames.exchange(root.fd, "file", "other")
    assert (project / "other").read_bytes() == OLD


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_name_as_long_as_can_be(root: Root, project: Path, name: str) -> None:
    step = creating(root, name)
    apply(root, step, NEW)
    undo(root, step)
    apply(root, step, NEW)
    finish(root, step)
    assert set(tree(project)) == {"file", name}


def test_what_may_not_be_written_is_not_planned(project: Path, root: Root) -> None:
    (project / ".git" / "hooks").mkdir(parents=True)
    (project / "hooks").symlink_to(".git/hooks")
    for path in (".git/config", "hooks/new", ".GIT/x"):
        with pytest.raises(Denied):
            creating(root, path)
    with open_root(str(project), [str(project / "file")]) as hiding:
        with pytest.raises(Denied):
            replacing(hiding)
        with pytest.raises(Denied):
            apply(hiding, replacing(root), NEW)
    with pytest.raises(Malformed):
        creating(root, "")


@pytest.fixture
def as_somebody(project: Path, root: Root) -> Iterator[None]:
    """As an ordinary user, whose project it is. Through the held root, for the way to it is root's alone."""
    if os.geteuid() != 0:
        yield
        return
    somebody, groups = 12345, os.getgroups()
    for path in (project, project / "file"):
        os.chown(path, somebody, somebody)
    os.setgroups([])
    os.setresgid(somebody, somebody, 0)
    os.setresuid(somebody, somebody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


@pytest.mark.usefixtures("as_somebody")
class TestAnOrdinaryUser:
    @pytest.mark.parametrize("kind", [replacing, creating, deleting])
    def test_may_not_write_in_a_read_only_directory(self, root: Root, kind: Callable[[Root], Step]) -> None:
        step = kind(root)
        held = Path(f"/proc/self/fd/{root.fd}")
        held.chmod(0o555)
        try:
            with pytest.raises(Denied):
                apply(root, step, None if step.new is None else NEW)
            assert [path.name for path in held.iterdir()] == ["file"]
        finally:
            held.chmod(0o755)

    @pytest.mark.parametrize("mode", [0o444, 0o200])
    def test_may_not_replace_a_file_that_it_may_not_write_or_read(self, root: Root, mode: int) -> None:
        step = replacing(root)
        os.chmod("file", mode, dir_fd=root.fd)
        with pytest.raises(Denied):
            apply(root, step, NEW)
        assert [path.name for path in Path(f"/proc/self/fd/{root.fd}").iterdir()] == ["file"]


@pytest.mark.usefixtures("as_somebody")
class TestSomebodyElsesFile:
    """It is written by who may, and becomes theirs: nobody gains by that."""

    @pytest.mark.parametrize(("mode", "made"), [(0o6757, 0o777), (0o666, 0o666), (0o676, 0o666)])
    def test_its_mode(self, root: Root, mode: int, made: int) -> None:
        if os.getresuid()[2] != 0:
            pytest.skip("needs: root")
        os.unlink("file", dir_fd=root.fd)
        os.setresuid(0, 0, 0)
        fd = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=root.fd)
        os.write(fd, OLD)
        os.fchown(fd, 0, 0)
        os.fchmod(fd, mode)
        os.close(fd)
        os.setresuid(12345, 12345, 0)
        step = replacing(root)
        apply(root, step, NEW)
        found = os.stat("file", dir_fd=root.fd)
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 12345, made)
        undo(root, step)
        found = os.stat("file", dir_fd=root.fd)
        assert (found.st_uid, found.st_mode & 0o7777) == (0, mode)
