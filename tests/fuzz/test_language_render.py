"""What can be written reads back, what cannot is refused, and canonical spellings are fixed points (SPEC 1.3, 1.5)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plurnk.errors import Malformed
from plurnk.language import (
    Copy,
    Edit,
    Exec,
    Find,
    Hide,
    LineMarker,
    LocalTarget,
    Matcher,
    Move,
    Read,
    Send,
    SendBody,
    Show,
    Statement,
    StatementItem,
    Target,
    canonical,
    entry_pathname,
    parse,
    parse_matcher,
    parse_target,
    render,
)
from plurnk.language.targets import entry_address

TEXTS = st.lists(
    st.sampled_from([":EDIT", ":EXEC", ":READ", ":EDIT1", ":EXECx", "<<EDIT(", ":", "a", "1", "\n", "é"])
    | st.text(max_size=4),
    min_size=1,
    max_size=8,
).map("".join)
BODIES = TEXTS.filter(bool)
TAGS = st.text(st.characters(exclude_characters=", ]\t\r\n<"), min_size=1, max_size=6)
TAG_LISTS = st.none() | st.lists(TAGS, max_size=3).map(tuple)
INTEGERS = st.integers(1 - 10**15, 10**15 - 1)
MARKERS = st.none() | st.builds(LineMarker, first=INTEGERS, last=st.none() | INTEGERS)
RAW_TARGETS = st.builds(
    str.__add__,
    st.sampled_from(["", "known://", "LOG:///", "file://", "http://h/", "ws://u:p@[::1]:1"]),
    st.text(st.characters(exclude_characters=")\r\n<"), min_size=1, max_size=10),
)


def target(raw: str) -> Target:
    try:
        return parse_target(raw)
    except Malformed:
        return LocalTarget(raw="./" + raw.replace(":", "."))


def matcher(raw: str) -> Matcher:
    try:
        return parse_matcher(raw)
    except Malformed:
        return parse_matcher("*" + raw)


TARGETS = RAW_TARGETS.map(target)
DESTINATIONS = TARGETS
MATCHERS = st.none() | (
    st.sampled_from(["", "$", "$.", "//", "/", "/a(?<b>c)/"]).flatmap(lambda s: BODIES.map(s.__add__))
).map(matcher)
COMMON: dict[str, Any] = {
    "suffix": st.text("aZ1_", max_size=3),
    "target": st.none() | TARGETS,
}


def send_body(raw: str) -> SendBody:
    (item,) = parse(f"<<SENDx:{raw}:SENDx").items
    assert isinstance(item, StatementItem)
    assert isinstance(item.statement, Send)
    assert item.statement.body is not None
    return item.statement.body


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
).map(lambda value: msgspec.json.encode(value).decode())
SEND_BODIES = st.none() | (JSON_TEXTS | BODIES).filter(bool).map(send_body)

STATEMENTS: st.SearchStrategy[Statement] = st.one_of(
    st.builds(Find, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=MATCHERS),
    st.builds(Read, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=MATCHERS),
    st.builds(Show, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=MATCHERS),
    st.builds(Edit, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=st.none() | BODIES),
    st.builds(Copy, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=st.none() | DESTINATIONS),
    st.builds(Move, **COMMON, signal=TAG_LISTS, line_marker=MARKERS, body=st.none() | DESTINATIONS),
    st.builds(Hide, **COMMON, signal=TAG_LISTS | INTEGERS, line_marker=MARKERS, body=MATCHERS),
    st.builds(Send, **COMMON, signal=st.none() | INTEGERS, body=SEND_BODIES),
    st.builds(
        Exec,
        **COMMON,
        signal=st.none() | st.from_regex(r"[A-Za-z_][A-Za-z0-9_.+-]*", fullmatch=True),
        body=st.none() | BODIES,
    ),
)


@pytest.mark.spec("1.5-render-roundtrip")
@given(STATEMENTS)
def test_a_statement_reads_back_as_it_was(statement: Statement) -> None:
    if isinstance(statement, Hide) and isinstance(statement.signal, tuple):
        assume(not any(tag.removeprefix("-").isdecimal() for tag in statement.signal))
    (item,) = parse(f"\n{render(statement)}\n").items[1:2]
    assert isinstance(item, StatementItem)
    read = item.statement
    if read.suffix != statement.suffix:
        assert f":{render(statement)[2:6]}{statement.suffix}" in render(statement)
    assert msgspec.structs.replace(read, suffix=statement.suffix, position=statement.position) == statement


@pytest.mark.spec("1.5-render-roundtrip")
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=5), st.integers(), st.text(max_size=12))
def test_nothing_is_written_that_reads_back_otherwise(raw: str, tag: str, suffix: str, first: int, body: str) -> None:
    marker = LineMarker(first=first)
    statement = Edit(suffix=suffix, signal=(tag,), target=LocalTarget(raw=raw), line_marker=marker, body=body)
    try:
        text = render(statement)
    except Malformed:
        return
    (item,) = parse(text).items
    assert isinstance(item, StatementItem)
    assert msgspec.structs.replace(item.statement, suffix=suffix) == statement


@pytest.mark.spec("1.3-canonical", "1.3-no-dot-segments")
@given(st.text("ab/.%2EeF0?#)<:@[]\n\0é", max_size=12))
def test_a_canonical_spelling_is_one_and_names_the_same(raw: str) -> None:
    written = parse_target(f"known://{raw}")
    spelling = canonical(written)
    assert canonical(parse_target(spelling)) == spelling
    try:
        pathname = entry_pathname(written)
    except Malformed:
        return
    assert "\0" not in pathname
    assert {".", ".."}.isdisjoint(pathname.split("/"))
    assert entry_pathname(parse_target(spelling)) == pathname
    assert entry_address("known", pathname) == spelling


@pytest.mark.spec("1.3-authority-schemes")
@given(st.text(st.sampled_from("ab:@[]/?#%1.é "), max_size=12))
def test_an_authority_is_read_or_refused(raw: str) -> None:
    try:
        read = parse_target(f"http://{raw}")
    except Malformed:
        return
    assert canonical(parse_target(canonical(read))) == canonical(read)
