"""What a session accepts by itself, and all that it does not (SPEC 5.3)."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plurnk.errors import Malformed
from plurnk.language.ast import OPS, OpName
from plurnk.rules.approvals import MAX_COMMAND_CHARS, Approval, approves, check
from plurnk.wire.params import SandboxProfile

WORKSPACE = {"profile": "workspace", "network": False, "writable": ["/p"]}


def command(text: str, **attrs: Any) -> dict[str, Any]:
    return {"runtime": "sh", "cwd": ".", "command": text, "sandbox": WORKSPACE, "timeoutMs": 0, **attrs}


def lets_run(prefix: str | None, text: str, profile: SandboxProfile | None = None, **attrs: Any) -> bool:
    approval = Approval(op="EXEC", command_prefix=prefix, sandbox_profile=profile)
    check(approval)
    return approves(approval, op="EXEC", scheme="exec", attrs=command(text, **attrs))


def lets_change(glob: str, attrs: dict[str, Any], op: OpName = "EDIT", scheme: str = "file") -> bool:
    approval = Approval(op=op, path_glob=glob)
    check(approval)
    return approves(approval, op=op, scheme=scheme, attrs=attrs)


def refusal(**fields: Any) -> str:
    with pytest.raises(Malformed) as caught:
        check(Approval(**fields))
    return caught.value.detail


@pytest.mark.spec("5.3-approvals-narrow")
def test_an_approval_is_of_one_op_and_of_the_scheme_that_it_names() -> None:
    every_edit = Approval(op="EDIT")
    check(every_edit)
    for op in OPS:
        assert approves(every_edit, op=op, scheme="file", attrs={"path": "x"}) is (op == "EDIT")
    assert approves(every_edit, op="EDIT", scheme="mail", attrs={})
    of_files = Approval(op="EDIT", scheme="file")
    assert approves(of_files, op="EDIT", scheme="file", attrs={"path": "x"})
    assert not approves(of_files, op="EDIT", scheme="mail", attrs={"path": "x"})


@pytest.mark.spec("5.3-approvals-narrow")
def test_a_glob_is_over_every_path() -> None:
    assert lets_change("src/**", {"path": "src/a/b.py"})
    assert not lets_change("src/*", {"path": "src/a/b.py"})
    assert not lets_change("src/**", {"path": "srcs/a.py"})
    assert lets_change("src/**", {"path": "src/a", "from": "src/b"}, "MOVE")
    assert lets_change("src/**", {"path": "src/a", "from": None}, "COPY")
    assert not lets_change("src/**", {"path": "src/a", "from": "b"}, "MOVE")
    assert not lets_change("src/**", {"path": "b", "from": "src/a"}, "MOVE")
    assert not lets_change("src/**", {"path": "src/a", "to": "known://a"}, "MOVE")


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize("path", [1, "", "/etc/passwd", "../x", "src/../x", "src//x", "./x", "known://x", "x/"])
def test_a_glob_is_over_paths_that_are_spelled_plainly(path: object) -> None:
    assert lets_change("**", {"path": "x"}, "COPY")
    assert not lets_change("**", {"path": path}, "COPY")
    assert not lets_change("**", {"path": "x", "from": path}, "COPY")


@pytest.mark.spec("5.3-approvals-narrow")
def test_a_glob_is_over_files_unless_a_scheme_is_named() -> None:
    assert lets_change("**", {"path": "x"}, "SEND")
    assert not lets_change("**", {}, "SEND")
    assert not lets_change("**", {"path": None}, "SEND")
    assert not lets_change("**", {"path": "x"}, "SEND", scheme="mail")
    named = Approval(op="SEND", scheme="mail", path_glob="**")
    assert approves(named, op="SEND", scheme="mail", attrs={"path": "x"})


@pytest.mark.spec("5.3-approvals-narrow")
def test_an_edit_that_deletes_is_not_what_was_approved() -> None:
    for approval in Approval(op="EDIT"), Approval(op="EDIT", path_glob="**"):
        assert approves(approval, op="EDIT", scheme="file", attrs={"path": "x", "op": "create"})
        assert not approves(approval, op="EDIT", scheme="file", attrs={"path": "x", "op": "delete"})
    deletion = {"path": "x", "op": "delete"}
    assert approves(Approval(op="SEND", path_glob="x"), op="SEND", scheme="file", attrs=deletion)


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("git status", "git status"),
        ("git status", "git  status\t-s"),
        (" git status ", "'git' \"sta\"tus --short"),
        ("git", "git log --format='%h %s'"),
        ("make", "make test CFLAGS=-O2"),
        ("'my tool' run", "my\\ tool run it"),
        ("pytest --maxfail=1", "pytest --maxfail=1 tests/*.py"),
        ("/usr/bin/env true", "/usr/bin/env true"),
    ],
)
def test_a_prefix_is_compared_word_by_word(prefix: str, text: str) -> None:
    assert lets_run(prefix, text)
    assert lets_run(prefix, text, runtime="bash", cwd="sub")
    assert not lets_run(prefix, text, runtime="python")


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize(
    "text",
    [
        "git",
        "git statusx",
        "git stat us",
        "gitstatus",
        "status git",
        "GIT status",
        "A=b git status",
        "! git status",
        "sudo git status",
        "git 'status --short'",
        "git -c core.pager=x status",
        "",
    ],
)
def test_other_words_do_not_match(text: str) -> None:
    assert not lets_run("git status", text)


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize(
    "more",
    [
        "; rm x",
        "&& rm x",
        "|| rm x",
        "| sh",
        "& rm x",
        "&",
        "$(rm x)",
        "`rm x`",
        "$HOME",
        '"$(rm x)"',
        "${x:=y}",
        "$'x'",
        "> x",
        ">> x",
        "2>&1",
        "< x",
        "<<< x",
        "<(rm x)",
        "(x)",
        "\nrm x",
        "\r\nrm x",
        "\\\nx",
        "'a;b'",
        "'a\nb'",
        "a\0b",
        "\x1b[2J",
        "'open",
        '"open',
        "\\",
    ],
)
def test_what_can_be_more_than_one_command_does_not_match(more: str) -> None:
    assert lets_run("git status", "git status x")
    assert not lets_run("git status", f"git status {more}")
    assert not lets_run("git status", f"git status{more}")


@pytest.mark.spec("5.3-approvals-narrow")
def test_a_program_of_the_project_is_meant_in_its_root() -> None:
    assert lets_run("./run", "./run all")
    assert not lets_run("./run", "./run all", cwd="sub")
    assert not lets_run("bin/run", "bin/run", cwd="sub")
    assert lets_run("run", "run", cwd="sub")
    assert lets_run("/bin/run", "/bin/run", cwd="sub")


@pytest.mark.spec("5.3-approvals-narrow")
def test_a_long_command_does_not_match() -> None:
    assert lets_run("echo", "echo " + "x" * (MAX_COMMAND_CHARS - 5))
    assert not lets_run("echo", "echo " + "x" * (MAX_COMMAND_CHARS - 4))


PROFILES: tuple[SandboxProfile, ...] = ("read-only", "workspace", "workspace-net", "off")


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize("named", [None, *PROFILES])
@pytest.mark.parametrize("asked", PROFILES)
@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("prefix", [None, "make"])
def test_the_sandbox_is_no_wider_than_named(
    named: SandboxProfile | None, asked: SandboxProfile, network: bool, prefix: str | None
) -> None:
    width = max(PROFILES.index(asked), 2 if network else 0)
    sandbox = {"profile": asked, "network": network, "writable": [] if asked == "read-only" else ["/p"]}
    assert lets_run(prefix, "make", named, sandbox=sandbox) is (width <= PROFILES.index(named or "workspace"))


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize(
    "sandbox",
    [
        None,
        {},
        "off",
        {"profile": "workspace"},
        {"profile": "none", "network": False, "writable": []},
        {"profile": None, "network": False, "writable": []},
        {"profile": "workspace", "network": None, "writable": []},
        {"profile": "workspace", "network": False, "writable": "/"},
        {"profile": "workspace", "network": False, "writable": ["/p", "/etc"]},
        {"profile": "read-only", "network": False, "writable": ["/p"]},
    ],
)
def test_a_sandbox_that_is_not_told_or_has_more_does_not_match(sandbox: object) -> None:
    assert lets_run(None, "make", "off")
    assert not lets_run(None, "make", "off", sandbox=sandbox)


@pytest.mark.spec("5.3-approvals-narrow")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"op": "FIND"}, "op"),
        ({"op": "READ", "path_glob": "**"}, "op"),
        ({"op": "SHOW"}, "op"),
        ({"op": "HIDE"}, "op"),
        ({"op": "EXEC", "path_glob": "**"}, "pathGlob"),
        ({"op": "EXEC", "scheme": "file"}, "scheme"),
        ({"op": "EDIT", "command_prefix": "make"}, "commandPrefix"),
        ({"op": "EDIT", "sandbox_profile": "workspace"}, "sandboxProfile"),
        ({"op": "EDIT", "path_glob": ""}, "pathGlob"),
        ({"op": "EDIT", "path_glob": "/src/**"}, "pathGlob"),
        ({"op": "EDIT", "path_glob": "../**"}, "pathGlob"),
        ({"op": "EDIT", "path_glob": "src/"}, "pathGlob"),
        *(
            ({"op": "EXEC", "command_prefix": prefix}, "commandPrefix")
            for prefix in (
                *("", " ", "''", "'' x", "'open", "x\\", "x;y", "x 'a|b'", "$X", "x\ny", "x\r", "x\0", "x >y"),
                *("A=b", "A=b make", "a+=b x", "'A=b' x", "*", "rm '*'", "~/x", "x?", "[ x", "{a,b}", "x #y", "! x"),
                "x" * (MAX_COMMAND_CHARS + 1),
            )
        ),
    ],
)
def test_what_could_not_match_or_would_match_too_much_is_refused(fields: dict[str, Any], field: str) -> None:
    assert refusal(**fields).startswith(f"{field}: ")
    approval = Approval(**fields)
    # However it came to be, it lets nothing pass.
    for text in "x", "make", "A=b make", "", approval.command_prefix or "x", f"{approval.command_prefix} rm x":
        for scheme in "exec", "file":
            assert not approves(approval, op=approval.op, scheme=scheme, attrs={**command(text), "path": "src/x"})


def test_what_is_wrong_is_said() -> None:
    assert refusal(op="READ") == "op: READ is never proposed; expected one of EDIT, COPY, MOVE, SEND, EXEC"
    assert refusal(op="EXEC", command_prefix="a | b") == (
        "commandPrefix: cannot hold '|', with which it could be more than one command"
    )
    assert refusal(op="EXEC", command_prefix="'a") == "commandPrefix: No closing quotation"
    assert refusal(op="EXEC", command_prefix=" ") == "commandPrefix: names no program"


WORDS = st.lists(st.text("ab'\" \\=-/é", min_size=1, max_size=5), min_size=1, max_size=4)


@pytest.mark.spec("5.3-approvals-narrow")
@given(words=WORDS, more=st.lists(st.text("ab'*~ ", max_size=4), max_size=3), other=st.text("ab;$|\n'\" ", max_size=12))
def test_a_command_matches_only_with_the_words_of_the_prefix(words: list[str], more: list[str], other: str) -> None:
    prefix = shlex.join(words)
    approval = Approval(op="EXEC", command_prefix=prefix)
    try:
        check(approval)
    except Malformed:
        return
    for text in shlex.join([*words, *more]), other, prefix + other:
        if approves(approval, op="EXEC", scheme="exec", attrs=command(text)):
            assert shlex.split(text)[: len(words)] == words
            assert not set(text) & set(";|&$`<>()\n\r")
    assert approves(approval, op="EXEC", scheme="exec", attrs=command(shlex.join([*words, *more])))
