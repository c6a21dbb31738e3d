"""A digest is of all that is shown, and of nothing else (SPEC 5.3)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plurnk.language.ast import OPS, OpName
from plurnk.rules.digest import digest
from plurnk.wire.notifications import ProposalTarget

TEXTS = st.text('ab"{}:,\n é', max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ATTRS = st.dictionaries(TEXTS | st.sampled_from(["sandbox", "command", "path"]), VALUES, max_size=4)
TARGETS = st.tuples(st.none() | TEXTS, st.none() | TEXTS)
SHOWN = st.tuples(st.sampled_from(OPS), TARGETS, TEXTS, ATTRS)


def digest_of(shown: tuple[OpName, tuple[str | None, str | None], str, dict[str, Any]]) -> str:
    op, (scheme, pathname), body, attrs = shown
    return digest(op=op, target=ProposalTarget(scheme=scheme, pathname=pathname), body=body, attrs=attrs)


def same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.spec("5.3-digest")
@given(SHOWN, SHOWN)
def test_the_digests_of_different_proposals_differ(one: Any, other: Any) -> None:
    assert (digest_of(one) == digest_of(other)) is same(one, other)


@pytest.mark.spec("5.3-digest")
@given(SHOWN, SHOWN, st.integers(0, 3))
def test_a_change_of_any_part_changes_it(shown: Any, other: Any, part: int) -> None:
    assume(not same(shown[part], other[part]))
    assert digest_of((*shown[:part], other[part], *shown[part + 1 :])) != digest_of(shown)


@pytest.mark.spec("5.3-digest")
@given(SHOWN, st.text(max_size=5))
def test_the_order_of_keys_and_the_digest_itself_change_nothing(shown: Any, told: str) -> None:
    op, target, body, attrs = shown
    again = json.loads(json.dumps(attrs), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert digest_of((op, target, body, {"digest": told, **again})) == digest_of(shown)


@pytest.mark.spec("5.3-digest")
def test_only_the_digest_at_the_top_is_passed_over() -> None:
    shown = ("EDIT", (None, "x"), "", {"path": "x", "more": {"digest": "a"}})
    assert digest_of(shown) != digest_of((*shown[:3], {"path": "x", "more": {"digest": "b"}}))  # type: ignore[arg-type]  # a literal


def test_it_stays_what_it_is() -> None:
    """Proposals outlive the daemon, and perhaps its version."""
    shown = digest(
        op="EXEC",
        target=ProposalTarget(scheme="exec", pathname=None),
        body="make",
        attrs={"timeoutMs": 0, "command": "make", "digest": "0", "cwd": "é"},
    )
    text = (
        '{"attrs":{"command":"make","cwd":"é","timeoutMs":0},"body":"make","op":"EXEC",'
        '"target":{"pathname":null,"scheme":"exec"}}'
    )
    assert shown == hashlib.sha256(text.encode()).hexdigest()
