"""What a turn leaves behind for the rails, and what they make of a loop's turns."""

from __future__ import annotations

import pytest

from plurnk.language.ast import OpName, Statement, StatementItem
from plurnk.language.parser import parse
from plurnk.rules.proposals import TABLE, Event
from plurnk.rules.rails import FINGERPRINT_CHARS, Judgment, Mark, Rails, fault, fingerprint, judge
from plurnk.wire.notifications import LogEntry
from tests.support.log_entries import log_entry

RAILS = Rails()
CLEAN = [Mark(f"turn {number}") for number in range(50)]


def statements(text: str) -> list[Statement]:
    return [item.statement for item in parse(text).items if isinstance(item, StatementItem)]


def printed(text: str) -> str:
    return fingerprint(statements(text), parks=False)


def row(status: int, *, op: OpName = "EDIT", state: str = "resolved", outcome: str | None = None) -> LogEntry:
    return log_entry(op=op, status_rx=status, state=state, outcome=outcome)


def marks(*turns: str | None) -> list[Mark]:
    """Turns by their fingerprints; None: a turn without a statement."""
    return [Mark("", "no statement") if turn is None else Mark(turn) for turn in turns]


# -- fingerprints


@pytest.mark.spec("3.6-cycle-detect")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<EDIT(known://a):one:EDIT", '["EDIT|known://a||one"]'),
        ("<<EDIT[tag](known:///a)<3>:two:EDIT", '["EDIT|known://a|3,None|two"]'),
        ("<<EDIT(file:///src/a.py):x:EDIT", '["EDIT|src/a.py||x"]'),
        ("<<READ(exec://sh-1#stderr)::READ", '["READ|exec://sh-1#stderr|||"]'),
        ("<<READ(a)::READ", '["READ|a|||"]'),
        ("<<READ(a)<1-5>:/x|y/:READ", '["READ|a||1,5|/x|y/"]'),
        ("<<FIND(a)<2>:*.py:FIND", '["FIND|a||2,None|*.py"]'),
        ("<<FIND[b,a|c](a)::FIND", '["FIND|a|a%7Cc,b||"]'),
        ("<<HIDE[499](exec://sh-1)::HIDE", '["HIDE|exec://sh-1|499||"]'),
        ("<<SEND[102]:hm:SEND", '["SEND||102|"]'),
        ("<<SEND(exec://sh-1):hm:SEND", '["SEND|exec://sh-1|None|hm"]'),
        ("<<SEND::SEND", '["SEND||None|"]'),
        ("<<EXEC[python](src):1:EXEC", '["EXEC|src|python|1"]'),
        ("<<COPY(a):b:COPY <<MOVE(c)::MOVE", '["COPY|a||b","MOVE|c||"]'),
        ("", ""),
        ("Only prose.", ""),
    ],
)
def test_a_fingerprint_is_what_was_done_to_what(text: str, expected: str) -> None:
    assert printed(text) == expected


def test_a_fingerprint_is_a_set() -> None:
    once = "<<READ(a)::READ <<EDIT(b):1:EDIT"
    assert printed(once) == printed(f"<<EDIT(b):1:EDIT {once} <<READ(a)::READ")
    assert printed(once) != printed("<<READ(a)::READ <<EDIT(b):2:EDIT")
    assert printed(once) != printed("<<READ(a)::READ")
    assert printed("<<READ(a)<1>::READ") != printed("<<READ(a)<2>::READ")
    assert printed("<<READ(a|)::READ") != printed("<<READ(a)::READ")


def test_a_long_fingerprint_is_a_hash() -> None:
    one, other = (printed(f"<<READ({'a' * 5000}{last})::READ") for last in "bc")
    assert one != other
    assert one.startswith("sha256:")
    assert len(one) <= FINGERPRINT_CHARS


def test_a_turn_that_only_waits_repeats_none() -> None:
    waits = statements("<<SEND[102]:so far:SEND <<SEND[202]::SEND")
    assert fingerprint(waits, parks=True) == ""
    assert fingerprint(waits, parks=False) == '["SEND||102|","SEND||202|"]'
    works = statements("<<EXEC:make:EXEC <<SEND[202]::SEND")
    assert fingerprint(works, parks=True) == fingerprint(works, parks=False) == '["EXEC||None|make","SEND||202|"]'
    tells = statements("<<SEND[200](exec://sh-1):y:SEND")
    assert fingerprint(tells, parks=True) == '["SEND|exec://sh-1|200|y"]'


# -- faults


@pytest.mark.spec("3.6-strike-streak")
def test_a_turn_without_a_statement_is_a_strike() -> None:
    assert fault([]) == "no statement"


@pytest.mark.spec("3.6-strike-streak")
@pytest.mark.parametrize("status", [400, 403, 405, 408, 409, 413, 415, 422, 499, 500, 502, 503, 504, 507])
def test_a_refused_operation_is_a_strike(status: int) -> None:
    assert fault([row(200), row(status, op="EXEC"), row(500)]) == f"EXEC ended with {status}"


@pytest.mark.spec("3.6-strike-streak")
@pytest.mark.parametrize("status", [102, 200, 201, 202, 204, 206, 304, 404, 416, 501])
def test_what_went_well_or_was_only_not_found_is_no_strike(status: int) -> None:
    assert fault([row(status), row(200)]) is None


@pytest.mark.spec("3.6-human-decisions-never-strike")
@pytest.mark.parametrize("event", [Event.REJECTED, Event.CANCELLED, Event.ABANDONED, Event.EXPIRED])
@pytest.mark.parametrize("words", [None, "not today"])
def test_what_a_person_decides_is_no_strike(event: Event, words: str | None) -> None:
    moved = TABLE["proposed"][event]
    assert moved.status is not None
    assert fault([row(moved.status, state=moved.state, outcome=words or moved.outcome)]) is None


@pytest.mark.spec("3.6-strike-streak")
def test_an_accepted_operation_that_fails_is_a_strike_unless_the_world_came_first() -> None:
    state = TABLE["proposed"][Event.REFUSED].state
    assert fault([row(500, state=state, outcome="apply_failed")]) == "EDIT ended with 500"
    assert fault([row(403, state=state, outcome="as you wish")]) == "EDIT ended with 403"
    assert fault([row(409, state=state, outcome="write_conflict")]) is None
    assert fault([row(409)]) == "EDIT ended with 409"


# -- the judgment


@pytest.mark.spec("3.6-strike-streak")
def test_strikes_in_a_row_end_a_loop_and_a_clean_turn_resets_them() -> None:
    bad = Mark("x", "EDIT ended with 403")
    assert judge([*CLEAN, bad, bad], RAILS) == Judgment(streak=2, reason="EDIT ended with 403")
    assert judge([bad, bad, *CLEAN], RAILS) == Judgment()
    assert judge([bad, bad, CLEAN[0], bad], RAILS) == Judgment(streak=1, reason="EDIT ended with 403")
    over = judge([bad, Mark("y", "other"), *marks(None)], RAILS)
    assert over == Judgment(streak=3, reason="no statement", is_over=True)
    assert judge([], RAILS) == Judgment()


@pytest.mark.spec("3.6-cycle-detect")
@pytest.mark.parametrize(
    ("turns", "period"),
    [
        ("aaa", 1),
        ("baaa", 1),
        ("aa", None),
        ("aaab", None),
        ("ababab", 2),
        ("babab", None),
        ("abaaba", None),
        ("abaabaaba", 3),
        ("abcdabcdabcd", 4),
        ("abcdeabcdeabcde", None),
        ("aaabaaabaaab", 4),
        ("aaaaaaaa", 1),
    ],
)
def test_a_cycle_is_a_pattern_that_the_last_turns_repeat(turns: str, period: int | None) -> None:
    judged = judge(marks(*turns), RAILS)
    assert judged.period == period
    assert (judged.streak > 0) == (period is not None)


@pytest.mark.spec("3.6-cycle-detect")
def test_a_cycle_is_one_strike_a_turn() -> None:
    assert judge(marks(*"ababab"), RAILS) == Judgment(streak=1, reason="the same 2 turns 3 times in a row", period=2)
    assert judge(marks(*"abababa"), RAILS).streak == 2
    assert judge(marks(*"abababab"), RAILS).is_over
    assert judge(marks(*"aaa", "b"), RAILS) == Judgment()
    both = [Mark("a", "EDIT ended with 403")] * 3
    assert judge(both, RAILS) == Judgment(streak=3, reason="EDIT ended with 403", period=1, is_over=True)


@pytest.mark.spec("3.6-cycle-detect")
def test_turns_that_repeat_nothing_are_no_cycle() -> None:
    assert judge([Mark("")] * 20, RAILS) == Judgment()
    assert judge(marks(*["a", ""] * 9), RAILS) == Judgment()


@pytest.mark.spec("3.6-strike-streak")
def test_no_strikes_at_all() -> None:
    lenient = Rails(max_strikes=0)
    assert judge(marks(*[None] * 9), lenient) == Judgment()
    assert judge(marks(*"aaaaaaa"), lenient) == Judgment(period=1)
