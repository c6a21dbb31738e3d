"""The table of what waits, and how a path is named where the project has another directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from plurnk.cli import history
from plurnk.cli.history import target_of
from plurnk.cli.pending import Pending
from plurnk.cli.proposals import table
from plurnk.wire.answers import FileVersion, ProposalView, SessionRow
from tests.support.proposal_views import of_command, of_file

NOW = datetime(2026, 1, 1, 0, 2, 3, tzinfo=UTC)


def named(session: str) -> SessionRow:
    return SessionRow(id=1, name=session, project_root=None, persona=None, created_at="", cost_pico=0, archived=False)


def pending(session: str, view: ProposalView) -> Pending:
    return Pending(session=named(session), view=view)


def test_what_waits() -> None:
    waiting = [pending("notes", of_file()), pending("other", of_command("make\x1b all", log_entry_id=1234))]
    assert table(waiting, NOW, width=None).splitlines() == [
        "  ID  SESSION        AGE  OP    WHAT",
        "   7  notes    2 min 3 s  EDIT  src/app.py",
        "1234  other    2 min 3 s  EXEC  make� all",
    ]


def test_what_a_file_held() -> None:
    versions = [
        FileVersion(version=12, at="T2", log_entry_id=7, sha256="ab" * 32, bytes=1_300_000, after_sha256=None),
        FileVersion(version=3, at="T1", log_entry_id=None, sha256=None, bytes=None, after_sha256="cd" * 32),
    ]
    assert history.table([(named("notes"), version) for version in versions], width=None).splitlines() == [
        "VERSION  SESSION  HELD UNTIL     SIZE  CONTENT",
        "     12  notes    T2          1.2 MiB  abababababab",
        "      3  notes    T1                –  not there",
    ]


@pytest.mark.parametrize(
    ("here", "path", "target"),
    [
        (".", "a.txt", "a.txt"),
        ("src", "a.txt", "src/a.txt"),
        ("src", "../a.txt", "a.txt"),
        ("..", "a.txt", "a.txt"),
        ("..", "/etc/passwd", "/etc/passwd"),
    ],
)
def test_a_path_is_meant_from_here_or_else_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, path: str, target: str
) -> None:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    monkeypatch.chdir(root / here)
    assert target_of(path, str(root)) == target
    assert target_of(path, None) == path
