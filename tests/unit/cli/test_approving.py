"""What a standing approval would let pass, before somebody agrees to it."""

from __future__ import annotations

import pytest

from plurnk.cli.approving import covers, in_words, narrowest, with_pattern
from plurnk.wire.answers import ApprovalView
from plurnk.wire.notifications import ProposalTarget
from plurnk.wire.params import ApprovalAddParams
from tests.support.proposal_views import of_command, of_file, of_note, view


@pytest.mark.parametrize(
    ("command", "prefix"),
    [
        ("make", "make"),
        ("make test", "make test"),
        ("git status --short", "git status"),
        ("pytest -q", "pytest -q"),
        ("rm -rf build", "rm -rf build"),
        ("python -c 'print(1)'", None),
        ("./run 'a b' c", "./run 'a b'"),
        ("rm *.pyc", None),
        ("A=1 make", None),
        ("make && true", None),
        ("make 'x", None),
        ("", None),
        (" ", None),
    ],
)
@pytest.mark.spec("5.3-approvals-narrow")
def test_of_a_command_its_first_two_words_or_all_of_them(command: str, prefix: str | None) -> None:
    approval = narrowest(of_command(command))
    assert (None if approval is None else approval.command_prefix) == prefix


@pytest.mark.parametrize("profile", ["read-only", "workspace", "workspace-net", "off"])
def test_the_sandbox_is_the_one_that_was_shown(profile: str) -> None:
    approval = narrowest(of_command(profile=profile))
    assert approval is not None
    assert approval.sandbox_profile == profile


@pytest.mark.parametrize("path", ["src/app.py", "a b/c", "pages/[id].tsx", "what?", "a*b[!c]"])
def test_of_a_file_that_one_alone(path: str) -> None:
    approval = narrowest(of_file(path=path))
    assert approval is not None
    assert covers(approval, of_file(path=path))
    assert not covers(approval, of_file(path=path, op="SEND", new=None))
    for other in ("pages/i.tsx", "whatx", "axb!", "axbc", "src/app_py", f"{path}/x", f"x/{path}"):
        assert not covers(approval, of_file(path=other))


def test_from_one_file_to_another_nothing_narrow_covers_both() -> None:
    assert narrowest(of_file(path="b", op="MOVE", **{"from": "a"})) is None


def test_from_a_note_to_a_file_it_is_of_the_notes_as_the_daemon_has_it() -> None:
    of_notes = ApprovalAddParams(op="COPY", scheme="known", path_glob="a.md")
    assert narrowest(of_note("COPY")) == of_notes
    assert covers(of_notes, of_note("COPY"))
    assert not covers(ApprovalAddParams(op="COPY", scheme="file", path_glob="a.md"), of_note("COPY"))


def test_of_what_a_plugin_proposes_nothing_is_narrow() -> None:
    assert narrowest(view("SEND", "hello", {"to": "me"}, target=ProposalTarget(scheme="chat", pathname="me"))) is None


def test_another_runtime_has_no_words() -> None:
    assert narrowest(of_command("import os", runtime="python")) is None


def test_the_pattern_can_be_replaced() -> None:
    file, command = narrowest(of_file()), narrowest(of_command())
    assert file is not None
    assert command is not None
    assert with_pattern(file, "src/**").path_glob == "src/**"
    assert with_pattern(command, "make").command_prefix == "make"


@pytest.mark.parametrize(
    ("approval", "words"),
    [
        (ApprovalAddParams(op="EDIT", scheme="file", path_glob="src/*.py"), "EDIT of src/*.py"),
        (ApprovalAddParams(op="EDIT", scheme="file"), "EDIT of everything in file"),
        (ApprovalAddParams(op="EXEC"), "EXEC of everything in every scheme"),
        (
            ApprovalView(
                id=3,
                op="EXEC",
                scheme="exec",
                path_glob=None,
                command_prefix="make",
                sandbox_profile="workspace",
                created_at="",
            ),
            "EXEC of make … (sandbox workspace at most)",
        ),
        (
            ApprovalAddParams(op="EXEC", scheme="exec", command_prefix="make", sandbox_profile="off"),
            "EXEC of make … (without a sandbox)",
        ),
    ],
)
def test_in_words(approval: ApprovalAddParams | ApprovalView, words: str) -> None:
    assert in_words(approval) == words
