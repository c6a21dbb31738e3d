"""Previews of types that are read line by line (SPEC 2.8)."""

from __future__ import annotations

import pytest

from plurnk.content.previews import line_patterns
from plurnk.content.previews.outline import Handler


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize(
    ("handler", "content", "budget_chars", "expected"),
    [
        (
            line_patterns.ini,
            "; x\n[one]\na = 1\nb.c=2\n[two]\n",
            60,
            ("2:\t[one]\n3:\t  a = 1\n4:\t  b.c=2\n5:\t[two]\n… 1 more line"),
        ),
        (line_patterns.ini, "; x\n[one]\na = 1\nb.c=2\n[two]\n", 30, "2:\t[one]\n5:\t[two]\n… 2 more"),
        (
            line_patterns.tex,
            "\\documentclass{article}\n\\section{One}\ntext\n\\subsection*{Two}\n",
            100,
            ("1:\t\\documentclass{article}\n2:\t\\section{One}\n3:\ttext\n4:\t  \\subsection*{Two}"),
        ),
        (
            line_patterns.diff,
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ def f\n-a\n+b\n",
            44,
            ("1:\tdiff --git a/x b/x\n3:\t  +++ b/x\n… 1 more"),
        ),
        (
            line_patterns.sql,
            "-- a\nCREATE TABLE IF NOT EXISTS t (\n  a int\n);\ncreate or replace view v as select 1;\n-- b\n",
            95,
            ("1:\t-- a\n2:\tCREATE TABLE IF NOT EXISTS t\n5:\tcreate or replace view v as select 1;\n… 3 more lines"),
        ),
        (line_patterns.perl, "package A;\nsub new {\n  1\n}\n", 35, "1:\tpackage A;\n2:\t  sub new"),
        (line_patterns.ini, "server {\n  listen 80;\n}\n", 30, "1:\tserver {\n… 2 more lines"),
    ],
)
def test_the_lines_that_name_parts(handler: Handler, content: str, budget_chars: int, expected: str) -> None:
    assert handler.preview(content, budget_chars) == expected
