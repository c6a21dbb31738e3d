r"""What a person's edited body makes of a file (SPEC 5.2)."""

from __future__ import annotations

import pytest

from plurnk.content.patches import replaced
from plurnk.errors import Malformed

LINES = "one\ntwo\nthree\nfour\nfive\n"
CRLF = LINES.replace("\n", "\r\n")
HUNK = "@@ -2,3 +2,3 @@\n two\n-three\n+THREE\n four\n"
CHANGED = LINES.replace("three", "THREE")


def refusal(base: str, body: str, path: str = "x") -> str:
    with pytest.raises(Malformed) as caught:
        replaced(base, body, path=path)
    return caught.value.detail


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    "headers",
    [
        "",
        "\n \n",
        "\ufeff",
        "--- a/x\n+++ b/x\n",
        "--- x\t2026-11-20 10:00:00\n+++ x\t2026-11-20 10:00:01\n",
        "diff --git a/x b/x\nindex 0a1b2c3..4d5e6f7 100644\n--- a/x\n+++ b/x\n",
        "diff --git a/y b/x\nsimilarity index 90%\nrename from y\nrename to x\n--- a/y\n+++ b/x\n",
    ],
)
def test_a_diff_is_applied_whatever_its_headers(headers: str) -> None:
    assert replaced(LINES, headers + HUNK, path="x") == CHANGED
    assert replaced(CRLF, headers + HUNK.replace("\n", "\r\n"), path="x") == CHANGED.replace("\n", "\r\n")


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    ("base", "body", "expected"),
    [
        ("a\n", "@@ -1 +1 @@\n-a\n+b\n", "b\n"),
        ("a\n", "@@ -1 +1 @@ def a():\n-a\n+b", "b\n"),
        ("a\nb\n", "@@ -1,0 +2 @@\n+x\n", "a\nx\nb\n"),
        ("a\nb\n", "@@ -2,0 +3 @@\n+x\n", "a\nb\nx\n"),
        ("a\nb\n", "@@ -2 +1,0 @@\n-b\n", "a\n"),
        ("", "@@ -0,0 +1,2 @@\n+a\n+b\n", "a\nb\n"),
        ("a\n", "@@ -1 +0,0 @@\n-a\n", ""),
        ("a\nb", "@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+b\n", "a\nb\n"),
        ("a\nb\n", "@@ -2 +2 @@\n-b\n+b\n\\ No newline at end of file\n", "a\nb"),
        ("a\nb", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file", "c\nb"),
        ("-- a\n", "@@ -1 +1 @@\n--- a\n+++ b\n", "++ b\n"),
        ("a\n\nb\n", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n\n\n", "a\n\nc\n"),
        ("a\r\n\r\nb\r\n", "@@ -1,3 +1,3 @@\r\n a\r\n\r\n-b\r\n+c\r\n", "a\r\n\r\nc\r\n"),
        ("a\nb\n", "@@ -1 +1 @@\n@@ -2 +2 @@\n-b\n+c\n", "a\nc\n"),
        ("a\x0cb\u2028c\rd\n", "@@ -1 +1 @@\n-a\x0cb\u2028c\rd\n+e\x0cf\n", "e\x0cf\n"),
        ("a\nb\nc\n", "@@ -1 +1 @@\n-a\n+A\n@@ -3 +3 @@\n-c\n+C\n", "A\nb\nC\n"),
        ("a\n", "--- a/x\n+++ b/x\n", "a\n"),
    ],
)
def test_diffs(base: str, body: str, expected: str) -> None:
    assert replaced(base, body, path="x") == expected


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    "hunk",
    [
        "@@ -2,3 +2,4 @@\n two\n-three\n+THREE\n four\n",
        "@@ -2 +2 @@\n two\n-three\n+THREE\n four\n",
        "@@ -2,9 +2,9 @@\n two\n-three\n+THREE\n",
        "@@ -3,9 +2,9 @@\n-three\n+THREE\n",
    ],
)
def test_counts_are_not_believed(hunk: str) -> None:
    assert replaced(LINES, hunk, path="x") == CHANGED


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "new\n",
        "new",
        "a\r\nb\n",
        "---\ntitle: front matter\n---\n",
        "--- Documentation in Lua.\n-- @module x\n",
        "--- !tag\na: 1\n",
        "@@count = 0\n",
        "+++\ntitle = 'more front matter'\n+++\n",
        "To change it:\n\n@@ -1 +1 @@\n-a\n+b\n",
        " @@ -1 +1 @@\n",
    ],
)
def test_any_other_body_is_the_whole_text(text: str) -> None:
    assert replaced(LINES, text, path="x") == text


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            "@@ -2 +2 @@\n-twice\n+2\n",
            "hunk 1 of the diff does not fit at line 2: from column 2 on the file has 'o\\n', not 'ice\\n'",
        ),
        (
            HUNK.replace("-2,", "-1,"),
            "hunk 1 of the diff does not fit at line 1: from column 0 on the file has 'one\\n', not 'two\\n'",
        ),
        (
            "@@ -1 +1 @@\n-one\n+1\n@@ -4,2 +4,2 @@\n four\n-six\n+6\n",
            "hunk 2 of the diff does not fit at line 5: from column 0 on the file has 'five\\n', not 'six\\n'",
        ),
        (
            "@@ -5 +5,2 @@\n five\n six\n+7\n",
            "hunk 1 of the diff does not fit at line 6: from column 0 on the file has '', not 'six\\n'",
        ),
        (
            "@@ -5 +5 @@\n-five\n\\ No newline at end of file\n+5\n",
            "hunk 1 of the diff does not fit at line 5: from column 4 on the file has '\\n', not ''",
        ),
        (
            "@@ -1 +1 @@\n-one\n+1\n\\ No newline at end of file\n",
            "hunk 1 of the diff does not fit at line 2: a line without a newline is not the last one",
        ),
        (
            "@@ -7,0 +8 @@\n+x\n",
            "hunk 1 of the diff does not fit at line 8: there is no such line behind the hunk before",
        ),
        (
            "@@ -0 +1 @@\n+x\n",
            "hunk 1 of the diff does not fit at line 0: there is no such line behind the hunk before",
        ),
        (
            "@@ -2,2 +2 @@\n-two\n-three\n@@ -3 +3 @@\n-three\n+3\n",
            "hunk 2 of the diff does not fit at line 3: there is no such line behind the hunk before",
        ),
        (
            "@@ -5 +5 @@\n-five\n+5\n\\ No newline at end of file\n@@ -5,0 +6 @@\n+6\n",
            "hunk 2 of the diff does not fit at line 6: a line without a newline is not the last one",
        ),
        (
            "@@ -5 +5,2 @@\n-five\n+5\n\\ No newline at end of file\n+6\n",
            "hunk 1 of the diff goes on behind a line without a newline",
        ),
        (
            "@@ -1 +1 @@\n-one\n1\n",
            "hunk 1 of the diff has a line that begins with none of ' -+\\': '1'",
        ),
        ("@@ -1,2 +1\n-one\n", "hunk 1 of the diff has a broken header: '@@ -1,2 +1'; expected '@@ -a,b +c,d @@'"),
        (
            f"@@ -{'9' * 5000} +1 @@\n-one\n",
            f"hunk 1 of the diff has a broken header: '@@ -{'9' * 28}…'; expected '@@ -a,b +c,d @@'",
        ),
        (
            f"{HUNK}diff --git a/y b/y\n{HUNK}",
            "hunk 1 of the diff has a line that begins with none of ' -+\\': 'diff --git a/y b/y'",
        ),
        (
            f"--- a/x\n+++ b/x\n--- a/y\n+++ b/y\n{HUNK}",
            "the diff is of more than one file: there is a second '---'",
        ),
        (
            "diff --git a/x b/x\nBinary files a/x and b/x differ\n",
            "the diff has a line that has no place before its first hunk: 'Binary files a/x and b/x differ'",
        ),
        (
            f"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n{HUNK}",
            "the diff has a line that has no place before its first hunk: 'old mode 100644'",
        ),
        (
            f"--- a/x\n{HUNK.replace('-2,', '-1,')}",
            "hunk 1 of the diff does not fit at line 1: from column 0 on the file has 'one\\n', not 'two\\n'",
        ),
    ],
)
def test_a_diff_that_does_not_fit_is_never_taken_for_the_text(body: str, detail: str) -> None:
    assert refusal(LINES, body) == detail


@pytest.mark.spec("5.2-accept-body-diff-or-text")
def test_a_hunk_without_context_can_stand_behind_no_line_that_lacks_its_newline() -> None:
    assert "does not fit at line 2" in refusal("a", "@@ -1,0 +2 @@\n+b\n")


@pytest.mark.spec("5.2-accept-body-diff-or-text")
def test_the_text_of_a_patch_file_is_no_diff_unless_its_headers_name_the_file() -> None:
    patch = f"--- a/x\n+++ b/x\n{HUNK}"
    assert replaced("", patch, path="fix.patch") == patch
    assert replaced(LINES, HUNK, path="d/FIX.DIFF") == HUNK
    own = "--- /dev/null\n+++ b/fix.patch\t2026-11-20\n@@ -2 +2 @@\n-+++ b/x\n++++ b/y\n"
    assert replaced(patch, own, path="fix.patch") == patch.replace("b/x", "b/y")
    assert "does not fit at line 2" in refusal("", own, "fix.patch")


@pytest.mark.spec("5.2-accept-body-diff-or-text")
@pytest.mark.parametrize("added", ["", "\r"])
def test_lines_end_as_those_of_the_file(added: str) -> None:
    diff = f"@@ -1 +1,2 @@\n one{added}\n+new{added}\n"
    assert replaced("one\ntwo\n", diff, path="x") == "one\nnew\ntwo\n"
    assert replaced("one\r\ntwo\r\n", diff, path="x") == "one\r\nnew\r\ntwo\r\n"
    insertion = f"@@ -1,0 +2 @@\n+new{added}\n"
    assert replaced("one\ntwo\n", insertion, path="x") == "one\nnew\ntwo\n"
    assert replaced("one\r\ntwo\r\n", insertion, path="x") == "one\r\nnew\r\ntwo\r\n"


@pytest.mark.spec("5.2-accept-body-diff-or-text")
def test_a_last_line_without_a_newline_does_not_keep_the_carriage_return_of_the_diff() -> None:
    diff = "@@ -2 +2 @@\r\n-b\r\n\\ No newline at end of file\r\n+c\r\n\\ No newline at end of file\r\n"
    assert replaced("a\r\nb", diff, path="x") == "a\r\nc"
    assert replaced("a\nb", diff, path="x") == "a\nc"


@pytest.mark.spec("5.2-accept-body-diff-or-text")
def test_line_ends_are_taken_as_they_are_where_more_than_one_could_be_meant() -> None:
    assert replaced("a\r\nb\r\n", "@@ -1 +1 @@\n-a\r\n+a\n", path="x") == "a\nb\r\n"
    assert replaced("a\r\nb\n", "@@ -1 +1,2 @@\n a\r\n+c\r\n", path="x") == "a\r\nc\r\nb\n"
    assert "does not fit at line 1" in refusal("a\r\nb\n", "@@ -1 +1,2 @@\n a\n+c\n")
    assert replaced("", "@@ -0,0 +1 @@\r\n+a\r\n", path="x") == "a\r\n"
    assert replaced("a\n", "a\r\nb\n", path="x") == "a\r\nb\n"
