"""What is ignored: git itself, git as the walk asks it, and our reading of the patterns say the same (SPEC 5.1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from plurnk.files import gitignore
from plurnk.files.walking import walk
from tests.support import repositories
from tests.support.repositories import git, plain_git

NAMES = st.sampled_from(["a", "b", "ab", "ba.o", "é", "a b", "[a]", "!a", "#a", "A\\", "b ", "a-", "]"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
STARS = ["*", "*", "?", "**", "**/", "/**", "/**/"]
SETS = ["[ab]", "[!a]", "[^b-z]", "[]a]", "[a", "[!]-]", "[b-a]", "[--]", "[a-]"]
CLASSES = ["[[:alpha:]]", "[[:no:]]", "[[:punct:][:space:]-]", "[[:a]", "[\\]]"]
PLAIN = ["a", "b", "é", "/", "/", "\\", "\\*", " ", "\\ ", "-", ".o", "#", "!", "]", "\r", "\t"]
PIECES = st.sampled_from([*STARS, *SETS, *CLASSES, *PLAIN])
LINES = st.tuples(st.sampled_from(["", "", "", "!", "/", "*", "\\"]), st.lists(PIECES, max_size=5)).map(
    lambda line: line[0] + "".join(line[1])
)
RULES = st.lists(st.one_of(LINES, PATHS, NAMES.map(lambda name: f"{name}/")), max_size=4).map("\n".join)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with plain_git(tmp_path_factory.mktemp("home")):
        yield repositories.repository(tmp_path_factory.mktemp("ignored"), {})


def refill(root: Path, files: set[str], rules: dict[str, str]) -> None:
    for entry in root.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for path in sorted(files, key=len, reverse=True):  # where one is in the way of another, the longer one stays
        if not (root / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    for folder, text in rules.items():
        if (root / folder).is_dir():
            (root / folder / ".gitignore").write_text(text, encoding="utf-8", newline="")


def listed_by_git(root: Path) -> set[str]:
    return set(git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")) - {""}


@pytest.mark.spec("5.1-find-honours-gitignore")
@settings(max_examples=60, deadline=None)
@given(
    files=st.sets(PATHS, min_size=1, max_size=8),
    rules=st.dictionaries(st.one_of(st.just(""), PATHS), RULES, min_size=1, max_size=3),
    exclude=st.one_of(st.just(""), RULES),
)
def test_the_patterns_mean_what_git_takes_them_for(
    repository: Path, files: set[str], rules: dict[str, str], exclude: str
) -> None:
    refill(repository, files, rules)
    (repository / ".git" / "info" / "exclude").write_text(exclude, encoding="utf-8", newline="")
    expected = listed_by_git(repository)
    assert set(trio.run(walk, str(repository)).paths) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        assert set(trio.run(walk, str(repository)).paths) == expected


@given(text=st.lists(st.sampled_from([*"a*?/[]!\\- :", "**/", "/**", "[:alpha:]", "\xe9"]), max_size=40).map("".join))
def test_every_line_can_be_read(text: str) -> None:
    patterns = gitignore.parse(text.encode())
    gitignore.verdict(patterns, b"a/b", is_dir=False)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 60 + "*b", "a" * 250),
        ("**/a/" * 60 + "b", "a/" * 1000 + "c"),
        ("/*a*a*a*/" * 20 + "b", "aaaaaaaa/" * 200 + "c"),
        ("**/*a*a*/" * 30 + "b", "aaaaaaaa/" * 200 + "c"),
        ("[a" * 1000, "a" * 250),
    ],
)
def test_no_pattern_is_slow(pattern: str, path: str) -> None:
    """A pattern that backtracks would take years here, with the whole process at a stand."""
    assert not gitignore.verdict(gitignore.parse(pattern.encode()), path.encode(), is_dir=False)
