"""What must hold of a run that has come to rest, whatever happened to it: by its database, and by what was seen."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from plurnk.rules.packet import ERRORS_HEADING, PROMPT_HEADING, Packet, render_system, render_user
from plurnk.rules.telemetry import sudden_death
from plurnk.store import turns
from plurnk.wire.notifications import LogEntryAdded, LogEntryUpdated
from tests.support.run_history import RUN, SESSION, Asked, History
from tests.support.run_machine import MAX_STRIKES
from tests.support.run_plans import Plan
from tests.support.run_rows import Rows, what_was_reached

ENDS: Final = {
    (200, None),
    (499, "external"),
    (499, "max_turns"),
    (499, "strike_threshold"),
    (499, "cancelled"),
    (499, "wake_limit"),
    (499, "interrupted"),
    (500, "provider_error"),
    (500, "internal_error"),
}
"""Statuses and reasons of loops, but for those that take longer or more than a plan has (SPEC 3.1)."""

_TOO_LATE: Final = frozenset({404, 409, 503})


def check(plan: Plan, path: Path, history: History) -> Counter[str]:
    """Check all of it; what the run has come to, counted."""
    assert not path.with_name(path.name + "-wal").exists()  # each connection was closed, with its thread
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        rows = Rows(db)
        nothing_is_left(rows)
        coordinates_are_gapless(rows)
        loops_end_once(rows, history)
        one_loop_at_a_time(rows)
        rows_are_told_once(rows)
        proposals_are_answered_once(rows, history)
        streams_end_once(rows)
        forced_ends_leave_no_stream(rows)
        ends_of_streams_wake(rows, history)
        rails_hold(rows, plan)
        prompts_are_shown_once(rows, history)
        requests_show_what_they_should(rows, history.asked)
        packets_are_kept(db, rows, history.asked)
        what_was_heard_is_kept(rows, history)
        costs_add_up(rows)
        return what_was_reached(rows)


def nothing_is_left(rows: Rows) -> None:
    assert rows("SELECT id FROM loops WHERE status IN (100, 102)") == []
    assert rows("SELECT id FROM turns WHERE ended_at IS NULL OR status = 100") == []
    assert rows("SELECT id FROM log_entries WHERE state = 'proposed'") == []
    assert rows("SELECT id FROM subscriptions WHERE closed_at IS NULL") == []
    assert rows("SELECT id FROM entry_channels WHERE state = 'active'") == []
    assert rows("SELECT id FROM injections WHERE turn_id IS NULL") == []


def coordinates_are_gapless(rows: Rows) -> None:
    """L counts in the run, T in the loop, S in the turn, and events in the session."""
    for sql in (
        "SELECT run_id, seq FROM loops ORDER BY 1, 2",
        "SELECT loop_id, seq FROM turns ORDER BY 1, 2",
        "SELECT turn_id, sequence FROM log_entries ORDER BY 1, 2",
        "SELECT session_id, seq FROM events ORDER BY 1, 2",
        "SELECT run_id || part, number FROM packet_texts ORDER BY 1, 2",
    ):
        for owner, counted in groupby(rows(sql), lambda row: row[0]):
            numbers = [number for _owner, number in counted]
            assert numbers == list(range(1, len(numbers) + 1)), (sql, owner)
    crooked = rows(
        "SELECT e.id FROM log_entries e JOIN turns t ON t.id = e.turn_id JOIN loops l ON l.id = t.loop_id"
        " WHERE (e.run_id, e.loop_id, e.loop_seq, e.turn_seq) IS NOT (l.run_id, l.id, l.seq, t.seq)"
    )
    assert crooked == []
    # What the system says comes before what is done in a turn.
    late = rows(
        "SELECT e.id FROM log_entries e JOIN log_entries b ON b.turn_id = e.turn_id AND b.sequence < e.sequence"
        " WHERE e.origin = 'system' AND b.origin <> 'system'"
    )
    assert late == []


def loops_end_once(rows: Rows, history: History) -> None:
    started, terminated = rows.told("loop/started"), rows.told("loop/terminated")
    by_id = {told["loopId"]: told for told in terminated}
    assert len(by_id) == len(terminated)
    found = rows("SELECT id, origin, status, reason, started_at IS NOT NULL FROM loops")
    assert {row[0] for row in found} == by_id.keys()
    assert sorted(told["loopId"] for told in started) == [row[0] for row in found if row[4]]
    for loop_id, origin, status, reason, _has_started in found:
        told = by_id[loop_id]
        assert (status, reason) in ENDS
        assert (told["finalStatus"], told["reason"]) == (status, reason)
        assert told["hitMaxTurns"] == (reason == "max_turns")
        assert origin == "model" or (status, reason) == (200, None)
        spent = rows(
            "SELECT coalesce(sum(prompt_tokens), 0), coalesce(sum(cost_pico), 0) FROM turns WHERE loop_id = ?", loop_id
        )
        assert [(told["usage"]["prompt"], told["usage"]["costPico"])] == spent
    for count, most, reason in rows(
        "SELECT count(t.id), l.max_turns, l.reason FROM loops l JOIN turns t ON t.loop_id = l.id"
        " WHERE l.origin = 'model' GROUP BY l.id"
    ):
        assert count == most if reason == "max_turns" else count <= most
    ends = {row[0]: (row[2], row[3]) for row in found}
    for loop in history.ends:
        assert (loop.status, loop.reason) == ends[loop.id]


def one_loop_at_a_time(rows: Rows) -> None:
    """The run's driver has one loop, and takes the lowest first."""
    seqs = dict(rows("SELECT id, seq FROM loops WHERE origin = 'model'"))
    live: int | None = None
    last = 0
    for event in rows.events:
        loop_id = event.params.get("loopId")
        if loop_id not in seqs:
            continue
        if event.method == "loop/started":
            assert (live, seqs[loop_id] > last) == (None, True)
            live, last = loop_id, seqs[loop_id]
        elif event.method == "loop/terminated" and loop_id == live:
            live = None


def rows_are_told_once(rows: Rows) -> None:
    added = [event.row_id for event in rows.events if event.method == "log/entry"]
    assert added == rows("SELECT id FROM log_entries ORDER BY id")
    updated = [event.row_id for event in rows.events if event.method == "log/updated"]
    assert sorted(filter(None, updated)) == rows("SELECT log_entry_id FROM proposals ORDER BY 1")


def proposals_are_answered_once(rows: Rows, history: History) -> None:
    told = [each["logEntryId"] for each in rows.told("loop/proposal")]
    assert told == rows("SELECT log_entry_id FROM proposals ORDER BY 1")
    answers = {
        row_id: (status, outcome) for row_id, status, outcome in rows("SELECT id, status_rx, outcome FROM log_entries")
    }
    first = [(row_id, answer) for row_id, answer in history.decided if answer.status not in _TOO_LATE]
    assert max(Counter(row_id for row_id, _answer in first).values(), default=1) == 1
    for row_id, answer in first:
        assert (answer.status, answer.outcome) == answers[row_id]


def streams_end_once(rows: Rows) -> None:
    """Each end is announced, and told by one row of a model's turn; but what was deleted with its entry is gone."""
    concluded = {each["subscriptionId"]: each for each in rows.told("stream/concluded")}
    assert len(concluded) == len(rows.told("stream/concluded"))
    kept = rows("SELECT id, close_status, told FROM subscriptions")
    for subscription_id, close_status, is_told in kept:
        assert (concluded[subscription_id]["closeStatus"], is_told) == (close_status, 1)
    told = rows(
        "SELECT rx ->> '$.subscription_id', rx ->> '$.subscriptionId', status_rx FROM log_entries"
        " WHERE op = 'EXEC' AND origin = 'system'"
    )
    statuses = {one if one is not None else other: status for one, other, status in told}
    assert len(statuses) == len(told)
    assert {row[0] for row in kept} <= statuses.keys() <= concluded.keys()
    for subscription_id, status in statuses.items():
        assert concluded[subscription_id]["closeStatus"] == status


def forced_ends_leave_no_stream(rows: Rows) -> None:
    """What a loop had started was ended before its end by force was announced (SPEC 3.2)."""
    starters = dict(rows("SELECT id, loop_id FROM subscriptions"))
    ended: set[int] = set()
    for event in rows.events:
        if event.method == "stream/concluded":
            ended.add(event.params["subscriptionId"])
        elif event.method == "loop/terminated" and event.params["finalStatus"] != 200:
            started = {one for one, loop_id in starters.items() if loop_id == event.params["loopId"]}
            assert started <= ended


def ends_of_streams_wake(rows: Rows, history: History) -> None:
    """Each end of a stream does one of four things; a loop that it has opened is there, and was opened by it alone."""
    loops = {loop_id: (origin, status) for loop_id, origin, status in rows("SELECT id, origin, status FROM loops")}
    starters = dict(rows("SELECT id, loop_id FROM subscriptions"))
    unbegun = loops.keys() - set(rows("SELECT loop_id FROM turns"))
    last_one = max(loops)
    opened: list[int] = []
    live: int | None = None
    for event in rows.events:
        params = event.params
        if event.method == "loop/started" and params["origin"] == "model":
            live = params["loopId"]
        elif event.method == "loop/terminated" and params["loopId"] == live:
            live = None
        elif event.method == "stream/concluded":
            does, stream = params["wakeAction"], params["subscriptionId"]
            is_clients = stream in starters and loops[starters[stream]][0] == "client"
            if params["closeStatus"] == 499:
                assert does == "skipped-aborted"
            elif does == "skipped-aborted":
                assert "daemon_restart" in params["summary"]  # and nothing was to be resumed
            elif is_clients or does == "skipped-no-provider":
                assert (does, is_clients or stream not in starters) == ("skipped-no-provider", True)
            elif live is not None or does == "no-op-active-loop":
                assert does == "no-op-active-loop"
                # An end that was not told to a loop that ended as it should is told to one opened then, if that begins.
                can_be_untold = live is None or loops[live][1] != 200 or set(range(live + 1, last_one)) & unbegun
                assert stream not in history.untold or can_be_untold
            else:
                assert does == "opened-loop"
                opened.append(params["wakeLoopId"])
                assert stream not in history.untold or opened[-1] in unbegun
    assert len(opened) == len(set(opened))
    assert {loops[loop_id][0] for loop_id in opened} <= {"model"}


def rails_hold(rows: Rows, plan: Plan) -> None:
    """A loop is one wake too many exactly when it ended for that, and struck out when its last turn says so."""
    for wakes, reason, turns_had in rows(
        "SELECT wakes, reason, (SELECT count(*) FROM turns t WHERE t.loop_id = l.id) FROM loops l"
        " WHERE origin = 'model'"
    ):
        assert (reason == "wake_limit") == (wakes > plan.max_wakes)
        assert reason != "wake_limit" or turns_had == 0
    for loop_id, found in groupby(
        rows(
            "SELECT l.id, l.status, l.reason, t.status, t.reason, t.telemetry"
            " FROM loops l JOIN turns t ON t.loop_id = l.id WHERE l.origin = 'model' ORDER BY l.id, t.seq"
        ),
        lambda row: row[0],
    ):
        *before, last = [
            (turn_status in (200, 499) and turn_reason is None, _strikes_out(said), status, reason)
            for _id, status, reason, turn_status, turn_reason, said in found
        ]
        assert not any(ends or strikes_out for ends, strikes_out, _status, _reason in before), loop_id
        ends, strikes_out, status, reason = last
        if reason == "strike_threshold":
            assert strikes_out
        # It may be cancelled just after its last turn.
        elif strikes_out and not ends:
            assert reason in ("cancelled", "interrupted")
        elif ends:
            assert (status, reason) in ((200, None), (499, "external")) or reason in ("cancelled", "interrupted")


def _strikes_out(telemetry: str) -> bool:
    return any(event["kind"] == "strike" and event["streak"] == MAX_STRIKES for event in json.loads(telemetry))


def prompts_are_shown_once(rows: Rows, history: History) -> None:
    """Each prompt that was taken is one loop's, and shown by one row, unless its loop was cancelled before.

    And in the order in which they came.
    """
    loops = rows("SELECT id, prompt, reason, started_at FROM loops WHERE origin = 'model'")
    injected = rows("SELECT loop_id, prompt FROM injections ORDER BY id")
    shown = _shown(rows)
    begun = set(rows("SELECT loop_id FROM turns"))
    for loop_id, first, _reason, _at in loops:
        in_order = [first, *(text for owner, text in injected if owner == loop_id)]
        assert [text for owner, _turn_seq, text in shown if owner == loop_id] == (in_order if loop_id in begun else [])
    taken, refused = dict(history.taken), set(history.refused)
    # A daemon that is killed and does not resume interrupts what had started, though no turn had begun; else somebody
    # has cancelled it, or its daemon.
    may_be_unshown = {
        loop_id for loop_id, _prompt, reason, started_at in loops if reason == "interrupted" and started_at
    }
    if history.reached["Cancel"] or history.reached["drains"] or history.reached["breaks"]:
        may_be_unshown |= {loop_id for loop_id, _prompt, reason, _at in loops if reason == "cancelled"}
    for prompt in history.prompts:
        owners = [loop_id for loop_id, text, _reason, _at in loops if text == prompt]
        owners += [loop_id for loop_id, text in injected if text == prompt]
        rows_of_it = [(loop_id, turn_seq) for loop_id, turn_seq, text in shown if text == prompt]
        assert len(owners) <= (0 if prompt in refused else 1)
        assert [loop_id for loop_id, _turn_seq in rows_of_it] == [owner for owner in owners if owner in begun]
        if prompt in taken and not rows_of_it:
            assert set(owners) <= may_be_unshown
            assert owners or (taken[prompt].action == "injected_next_turn" and history.reached["Cancel"])
        if prompt in taken and owners and taken[prompt].action == "enqueued_new_loop":
            assert owners == [taken[prompt].loop_id]
        if prompt in taken and owners and taken[prompt].action == "injected_next_turn":
            # That loop's at the very turn that was said; or it had ended before that, and there was another one.
            assert owners[0] >= taken[prompt].loop_id
            if owners[0] == taken[prompt].loop_id:
                assert rows_of_it == [(owners[0], taken[prompt].turn_seq)]


def requests_show_what_they_should(rows: Rows, asked: list[Asked]) -> None:
    """Each request has the loop's prompts until then, in order, and what was to be told of the turn before."""
    prompts: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for loop_id, turn_seq, text in _shown(rows):
        prompts[loop_id].append((turn_seq, text))
    left: defaultdict[int, list[tuple[int, str, bool]]] = defaultdict(list)
    for loop_id, seq, telemetry, is_kept in rows(
        "SELECT loop_id, seq, telemetry, packet IS NOT NULL FROM turns ORDER BY loop_id, seq"
    ):
        left[loop_id].append((seq, telemetry, bool(is_kept)))
    for one in asked:
        wanted = [text for turn_seq, text in prompts[one.loop_id] if turn_seq <= one.turn_seq]
        assert _section(one.user, PROMPT_HEADING) == "\n\n".join(wanted)
        assert one.turn_seq <= len(left[one.loop_id])
        lines = _section(one.user, ERRORS_HEADING).splitlines()
        told = [json.loads(line.removeprefix("* ")) for line in lines]
        assert told == _to_be_told(left[one.loop_id][: one.turn_seq - 1])
    assert set(_answered(rows)) <= {(one.loop_id, one.turn_seq) for one in asked}


def _to_be_told(turns_before: list[tuple[int, str, bool]]) -> list[dict[str, Any]]:
    """What the loop's turns have left to be told since the last one that was answered, that one included."""
    told: list[dict[str, Any]] = []
    for late, (_seq, telemetry, is_kept) in enumerate(reversed(turns_before)):
        events = json.loads(telemetry)
        for event in events:
            if event["kind"] == "sudden_death":
                event.update(msgspec.to_builtins(sudden_death(remaining=event["remaining"] - late)))
        told = [*events, *told]
        if is_kept:
            break
    return told


def _shown(rows: Rows) -> list[tuple[int, int, str]]:
    """The rows that show a prompt, in order: loop, turn and prompt."""
    return rows(
        "SELECT loop_id, turn_seq, tx ->> '$.body' FROM log_entries"
        " WHERE op = 'EDIT' AND origin = 'system' AND scheme = 'plurnk' AND pathname GLOB 'prompt/*' ORDER BY id"
    )


def _section(message: str, heading: str) -> str:
    """The text under a heading; empty if it is not there."""
    _before, _heading, after = f"\n\n{message}".partition(f"\n\n{heading}\n")
    return after.partition("\n\n# Plurnk ")[0]


def packets_are_kept(db: apsw.Connection, rows: Rows, asked: list[Asked]) -> None:
    """What a turn has sent is what is kept of it, to the letter; and of each that was answered it is kept."""
    kept = {
        (loop_id, seq): turn_id
        for turn_id, loop_id, seq in rows("SELECT id, loop_id, seq FROM turns WHERE packet IS NOT NULL")
    }
    for one in asked:
        turn_id = kept.get((one.loop_id, one.turn_seq))
        if turn_id is not None:
            packet = msgspec.json.decode(turns.packet(db, SESSION, turn_id), type=Packet)
            assert one.messages == (render_system(packet), render_user(packet))
    assert set(_answered(rows)) <= kept.keys()


def _answered(rows: Rows) -> list[tuple[int, int]]:
    """The turns that a model's answer has ended."""
    return rows(
        "SELECT t.loop_id, t.seq FROM turns t JOIN loops l ON l.id = t.loop_id"
        " WHERE l.origin = 'model' AND (t.status IN (102, 200, 202, 422) OR (t.status = 499 AND t.reason IS NULL))"
    )


def what_was_heard_is_kept(rows: Rows, history: History) -> None:
    """Also what a daemon said just before it was killed."""
    kept = {event.seq: event for event in rows.events}
    for seq, notification in history.heard:
        event = kept[seq]
        assert event.method == notification.method
        if isinstance(notification, LogEntryAdded | LogEntryUpdated):
            assert event.row_id == notification.entry.id
        else:
            assert event.params == msgspec.to_builtins(notification)
    assert [seq for seq, _notification in history.heard] == sorted({seq for seq, _notification in history.heard})


def costs_add_up(rows: Rows) -> None:
    spent = rows("SELECT coalesce(sum(cost_pico), 0) FROM turns")
    assert rows("SELECT cost_pico FROM runs WHERE id = ?", RUN) == spent
    assert rows("SELECT cost_pico FROM sessions WHERE id = ?", SESSION) == spent
