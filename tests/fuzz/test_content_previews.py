"""A preview keeps its budget, is the same every time and never fails, whatever it is made of (SPEC 2.8)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plurnk.content.lines import count_lines
from plurnk.content.mimetypes import BY_EXTENSION, is_line_addressed
from plurnk.content.previews import (
    PreviewHandler,
    json_shape,
    line_patterns,
    markdown,
    markup,
    source_code,
    tables,
    yaml_keys,
)
from plurnk.content.previews.outline import Handler
from plurnk.content.previews.plain import preview
from tests.support.source import ROOT

MODULES: tuple[ModuleType, ...] = (json_shape, line_patterns, markdown, markup, source_code, tables, yaml_keys)
HANDLERS: list[PreviewHandler] = sorted(
    (value for module in MODULES for value in vars(module).values() if isinstance(value, Handler)),
    key=lambda handler: handler.mimetype,
)
# Something of every syntax, so that texts made of these are often nearly right.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "é",
            "😀",
            "\0",
            "\t",
            "\n",
            "\n  ",
            "\r\n",
            " ",
            ",",
            ";",
            ":",
            "=",
            ".",
            '"',
            "'",
            "1",
            "-2e9",
            "null",
        ),
        *("`", "~~~", "```", "#", "--", "---", "===", "- ", "*", "&", "|", ">", "!", "%", "@@ ", "+++ ", "a:b", "a=1"),
        *(
            "[",
            "]",
            "{",
            "}",
            "(",
            ")",
            "{}",
            "()",
            "[[a]]",
            '"a":1',
            "<",
            "</a>",
            "<h1>",
            "<b id=c>",
            "&amp;",
            "<?xml?>",
        ),
        *("class ", "def ", "function ", "fn ", "struct ", "enum ", "namespace ", "do ", "if ", "end ", "<!DOCTYPE"),
    ]
)
TEXTS = st.text(max_size=80) | st.lists(PIECES, max_size=40).map("".join)
BUDGETS = st.integers(-2, 120)


def test_every_handler_is_of_a_type_that_some_path_has() -> None:
    mimetypes = [handler.mimetype for handler in HANDLERS]
    assert sorted(set(mimetypes) & set(BY_EXTENSION.values())) == mimetypes


@pytest.mark.spec("2.8-preview-budget", "2.8-preview-deterministic")
@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.mimetype)
@settings(max_examples=60, deadline=None)
@given(content=TEXTS, budget_chars=BUDGETS)
def test_a_handler_keeps_the_budget_of_any_text(handler: PreviewHandler, content: str, budget_chars: int) -> None:
    shown = handler.preview(content, budget_chars)
    assert len(shown) <= max(budget_chars, 0)
    assert shown == handler.preview(content, budget_chars)


SOURCES = {
    source_code.python.mimetype: ROOT / "plurnk/content/lines.py",
    source_code.toml.mimetype: ROOT / "pyproject.toml",
    markdown.handler.mimetype: ROOT / "README.md",
    json_shape.json.mimetype: ROOT / "docs/ast.schema.json",
    source_code.bash.mimetype: ROOT / "dev",
}


@pytest.mark.spec("2.8-preview-budget")
@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.mimetype)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_handler_keeps_the_budget_of_a_damaged_file(handler: PreviewHandler, data: st.DataObject) -> None:
    content = source(handler.mimetype)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    damaged = content[:start] + data.draw(TEXTS) + content[end:]
    budget_chars = data.draw(st.integers(0, 300))
    assert len(handler.preview(damaged, budget_chars)) <= budget_chars


def source(mimetype: str) -> str:
    path: Path = SOURCES.get(mimetype, ROOT / "plurnk/content/lines.py")
    return path.read_text("utf-8")


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.mimetype)
@pytest.mark.parametrize("deep", ["[", "{", "(", '{"a":', "- ", "> "])
def test_depth_is_no_trouble(handler: PreviewHandler, deep: str) -> None:
    assert len(handler.preview(deep * 3000, 100)) <= 100


@pytest.mark.spec("2.8-preview-budget", "2.8-preview-deterministic")
@given(
    TEXTS | st.binary(max_size=60).map(lambda data: data.decode("utf-8", "replace")),
    st.sampled_from(["text/plain", "application/json"]),
    BUDGETS,
    st.sampled_from(["head", "tail"]),
    st.integers(0, 20),
)
@example("x" * 20, "text/plain", 20, "head", 0)
def test_plain_previews_keep_the_budget_of_any_bytes(
    content: str, mimetype: str, budget_chars: int, orientation: Literal["head", "tail"], elsewhere: int
) -> None:
    own = count_lines(content)
    first_line = 1 if orientation == "head" else 1 + elsewhere
    total = own + elsewhere

    def shown() -> str:
        return preview(content, mimetype, budget_chars, orientation, first_line=first_line, total_lines=total)

    assert len(shown()) <= max(budget_chars, 0)
    assert shown() == shown()
    if is_line_addressed(mimetype):
        for line in shown().split("\n") if shown() else ():
            number, tab, text = line.partition(":\t")
            if tab and not text.startswith("…") and not text.endswith("…"):
                assert text == content.split("\n")[int(number) - first_line]
