"""What a model, a command beside it or a hostile project may try, and what a person is shown of it (SPEC 5)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plurnk.cli.reviewing import review
from plurnk.cli.rows import printable
from plurnk.errors import TooLarge
from plurnk.language.ast import GlobMatcher
from plurnk.schemes import selection
from plurnk.schemes.files.project import Project
from plurnk.schemes.files.views import view
from tests.support.projects import project

SECRET = "PLURNK_API_KEY=secret"


# -- what is shown is what is written


@pytest.mark.spec("5.2-accept-body-diff-or-text")
async def test_a_nul_does_not_hide_what_a_new_file_says(tmp_path: Path) -> None:
    """A shell runs what stands before it; shown was that there is something binary."""
    async with project(tmp_path, {}) as desk:
        result = await desk.one("<<EDIT(run):#!/bin/sh\nevil\n#\0:EDIT")
        assert result.status == 201
        (told,) = desk.shown
        assert "+evil\n" in told.body
        assert "Binary" not in told.body
        assert "evil" in review(told, colours=False)
        assert (desk.root / "run").read_bytes() == b"#!/bin/sh\nevil\n#\0"


async def test_a_byte_that_becomes_a_character_is_shown_as_a_change(tmp_path: Path) -> None:
    async with project(tmp_path, {"latin": b"caf\xe9\n"}) as desk:
        assert (await desk.one("<<EDIT(latin)<1>:caf\ufffd:EDIT")).status == 200
        (told,) = desk.shown
        assert "-caf\\xe9\n+caf\ufffd\n" in told.body


@pytest.mark.parametrize("statement", ["EDIT(x{}gpj.sh):hi:EDIT", "COPY(a):x{}gpj.sh:COPY", "MOVE(a):x{}gpj.sh:MOVE"])
@pytest.mark.parametrize("sign", ["\u202e", "\u2067", "\u2028", "\x9b"])
async def test_no_path_is_written_that_is_shown_as_another(tmp_path: Path, statement: str, sign: str) -> None:
    async with project(tmp_path, {"a": "x"}) as desk:
        result = await desk.one("<<" + statement.format(sign))
        assert (result.status, desk.shown) == (400, [])
        assert [path.name for path in desk.root.iterdir()] == ["a"]


def test_a_terminal_shows_no_text_in_another_order() -> None:
    assert printable("rm \u202exyz\u2069 \x1b[2J") == "rm �xyz� �[2J"


# -- the daemon's own


@pytest.mark.spec("5.1-beneath-root")
@pytest.mark.parametrize(
    "statement",
    [
        "READ({0})::READ",
        "READ({0}):/P/:READ",
        "COPY({0}):known://x:COPY",
        "COPY({0}):y:COPY",
        "MOVE({0}):y:MOVE",
        "MOVE({0})::MOVE",
        "EDIT({0}):x:EDIT",
        "EDIT({0})<1>:x:EDIT",
        "SEND[410]({0})::SEND",
        "SHOW({0})::SHOW",
    ],
)
@pytest.mark.parametrize("name", ["plurnk.env", "hard", "link"])
async def test_what_is_the_daemons_is_nobodys_by_any_name(tmp_path: Path, statement: str, name: str) -> None:
    hidden = str(tmp_path / "work/plurnk.env")
    async with project(tmp_path, {"plurnk.env": SECRET}, hidden=(hidden,)) as desk:
        (desk.root / "hard").hardlink_to(hidden)
        (desk.root / "link").symlink_to("hard")
        result = await desk.one("<<" + statement.format(name))
        assert (result.status, result.error) == (403, "this path belongs to plurnk itself")
        assert desk.shown == []


async def test_no_search_finds_what_is_in_it(tmp_path: Path) -> None:
    hidden = str(tmp_path / "work/plurnk.env")
    async with project(tmp_path, {"plurnk.env": SECRET, "a": "secret"}, hidden=(hidden,)) as desk:
        (desk.root / "hard").hardlink_to(hidden)
        found, read = await desk.do("<<FIND(.):/secret/:FIND <<READ(**)::READ")
        assert found.results == "a"
        assert SECRET not in (read.content or "")


@pytest.mark.parametrize("path", ["own/not/there", "no/.git/config", "no/deep/.GIT", "no/.git/hooks/x"])
@pytest.mark.parametrize("statement", ["EDIT({}):x:EDIT", "COPY(a):{}:COPY", "MOVE(a):{}:MOVE"])
async def test_what_may_not_be_made_is_not_even_proposed(tmp_path: Path, statement: str, path: str) -> None:
    """The directories above it are missing, so there is nothing yet to look at."""
    async with project(tmp_path, {"a": "x"}, hidden=(str(tmp_path / "work/own/not/there"),)) as desk:
        assert (await desk.one("<<" + statement.format(path))).status == 403
        assert desk.shown == []


# -- what is huge


async def test_a_file_of_a_terabyte_costs_nothing(tmp_path: Path) -> None:
    async with project(tmp_path, {"huge.py": "", "a.py": "x"}) as desk:
        os.truncate(desk.root / "huge.py", 1 << 40)
        results = await desk.do(
            "<<READ(huge.py)::READ <<READ(huge.py)<1>::READ <<READ(huge.py):/x/:READ <<EDIT(huge.py)<1>:x:EDIT"
            " <<COPY(huge.py):b:COPY <<SEND[410](huge.py)::SEND <<SHOW(huge.py)::SHOW <<FIND(.):/x/:FIND"
        )
        assert [r.status for r in results] == [413] * 6 + [200, 200]
        seen = Project(str(desk.root), ()).do(lambda root: view("huge.py", 1 << 39, 2**63 - 1, root))
        assert len(seen.data) == 100 * 1024 * 1024


def test_a_glob_has_an_end() -> None:
    """Each of 200,000 names is held against it, on a thread that nobody can stop."""
    with pytest.raises(TooLarge):
        selection.wanted("", None, GlobMatcher(raw="*f?" * 2000))
