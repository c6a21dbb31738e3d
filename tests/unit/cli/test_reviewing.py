"""What a person is shown of a proposal before they decide about it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from plurnk.cli.reviewing import SHOWN_LINES, SHOWN_OF_LINE_CHARS, has_colours, review, subject, summary
from plurnk.wire.notifications import ProposalTarget
from tests.support.proposal_views import NEW, OLD, of_command, of_file, of_note, view

GREEN, RED, CYAN, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[36m", "\x1b[m"


def heading(shown: str) -> str:
    return shown.partition("\n")[0]


@pytest.mark.parametrize(
    ("proposal", "shown"),
    [
        (of_file(), "EDIT src/app.py (+2 -1 lines):"),
        (of_file(old=None, new="a\nb\n"), "EDIT src/app.py (a new file, +2 -0 lines):"),
        (of_file(new=None, op="SEND"), "SEND src/app.py (deletes it, +0 -10 lines):"),
        (
            view("MOVE", "rename from a\nrename to b\n", {"path": "b", "from": "a", "op": "move", "created": True}),
            "MOVE a → b (+0 -0 lines):",
        ),
        (
            view("COPY", "copy from a\n", {"path": "b", "from": "a", "op": "copy", "created": False}),
            "COPY a → b (over what is there, +0 -0 lines):",
        ),
        (
            view("MOVE", "-a\n", {"path": "a", "op": "delete", "to": "known://a"}),
            "MOVE a → known://a (deletes it, +0 -0 lines):",
        ),
        (of_note("MOVE"), "MOVE known://a → a.md (a new file, +1 -0 lines):"),
        (
            view("SEND", "hello", {"to": "me"}, target=ProposalTarget(scheme="chat", pathname="me")),
            "SEND chat://me:",
        ),
        (
            view("EDIT", "Binary files a/x.png and b/x.png differ\n", {"path": "x.png", "op": "edit"}),
            "EDIT x.png (no text):",
        ),
        (of_command(), "EXEC by sh in . (sandbox workspace, no network, may write /project):"),
        (of_command(profile="off"), "EXEC by sh in . (no sandbox: it may do whatever you may):"),
        (of_command(runtime="bash\nx"), "EXEC by bash�x in . (sandbox workspace, no network, may write /project):"),
        (of_file(path="a\nb"), "EDIT a�b (+2 -1 lines):"),
    ],
)
def test_the_heading_says_what_would_be_done(proposal: Any, shown: str) -> None:
    assert heading(review(proposal, colours=False)) == shown


def test_a_file_is_shown_by_its_diff() -> None:
    assert review(of_file(), colours=False).split("\n")[1:] == [
        "--- a/src/app.py",
        "+++ b/src/app.py",
        "@@ -2,7 +2,8 @@",
        " line 2",
        " line 3",
        " line 4",
        "-line 5",
        "+line five",
        "+and more",
        " line 6",
        " line 7",
        " line 8",
    ]


def test_what_comes_is_green_what_goes_red_and_nothing_else() -> None:
    lines = review(of_file(), colours=True).split("\n")
    assert [line for line in lines if "\x1b" in line] == [
        f"{CYAN}@@ -2,7 +2,8 @@{PLAIN}",
        f"{RED}-line 5{PLAIN}",
        f"{GREEN}+line five{PLAIN}",
        f"{GREEN}+and more{PLAIN}",
    ]


def test_a_line_of_dashes_that_goes_is_no_header() -> None:
    proposal = of_file(old="-- a\n++ b\nc\n", new="c\n@@ -1 +1 @@\n")
    assert heading(review(proposal, colours=False)) == "EDIT src/app.py (+1 -2 lines):"
    assert f"{RED}--- a{PLAIN}" in review(proposal, colours=True)
    assert f"{GREEN}+@@ -1 +1 @@{PLAIN}" in review(proposal, colours=True)


def test_the_last_line_may_have_no_end() -> None:
    assert review(of_file(old="a", new="b"), colours=True).split("\n")[-3:] == [
        "\\ No newline at end of file",
        f"{GREEN}+b{PLAIN}",
        "\\ No newline at end of file",
    ]


def test_a_terminal_is_given_no_orders_and_shows_no_other_text_than_is_written() -> None:
    shown = review(of_file(old="", new="a\x1b[2J\u202eevil\u2066\r\nb\rc\n"), colours=True)
    assert "+a�[2J�evil�␍" in shown
    assert "+b�c" in shown
    assert "�" in review(of_command("echo \x1b]0;x\x07 \u202e"), colours=False)


def test_an_end_of_line_that_changes_can_be_seen() -> None:
    assert review(of_file(old="a\r\n", new="a\n"), colours=False).endswith("\n-a␍\n+a")


@pytest.mark.parametrize("proposal", [of_file(old=None, new="x\n" * 1000), of_command("x\n" * 1003)])
def test_what_is_long_is_cut_and_says_so(proposal: Any) -> None:
    *lines, last = review(proposal, colours=False).split("\n")
    assert len(lines) == SHOWN_LINES + 1
    assert last == "… 603 more lines; [v]iew shows all"
    assert len(review(proposal, colours=False, whole=True).split("\n")) == 1004


def test_a_long_line_is_cut_and_says_so() -> None:
    proposal = of_command("y" * 1000)
    assert review(proposal, colours=False).endswith(f"y… {1000 + 4 - SHOWN_OF_LINE_CHARS} more characters")
    assert review(proposal, colours=False, whole=True).endswith("y" * 1000)


def test_of_an_edited_file_it_shows_what_was_edited() -> None:
    shown = review(of_file(), body=NEW.replace("and more", "and less"), colours=False)
    assert heading(shown) == "EDIT src/app.py (+2 -1 lines); edited, which changes of what was proposed:"
    assert [line for line in shown.split("\n")[3:] if line[0] in "+-"] == ["-and more", "+and less"]


def test_in_a_row_of_a_table() -> None:
    assert subject(of_file()) == "src/app.py"
    assert subject(of_command("make all\nmake check")) == "make all…"
    assert summary(of_command("make \x1b all")) == "make � all"
    assert summary(of_file(old=OLD, new=None)) == "EDIT src/app.py (deletes it, +0 -10 lines)"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "colours"),
    [
        (Tty(), {"TERM": "xterm"}, True),
        (Tty(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Tty(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Tty(), {"TERM": "dumb"}, False),
        (Tty(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, variables: dict[str, str], colours: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_colours(stream) is colours
