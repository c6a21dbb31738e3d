"""Plans for the machine of one run: what is to happen, in which order, and how soon after what was before.

A plan is data, so Hypothesis makes, shrinks and prints it without a look at the engine. ``which`` counts what is there
when the step's turn comes, modulo how many there are; a step that finds nothing to act on does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

Word: TypeAlias = Literal[
    "done",
    "on",
    "park",
    "quit",
    "note",
    "hold",
    "quick",
    "linger",
    "end 1",
    "end 2",
    "delete 1",
    "miss",
    "prose",
    "broken",
]
"""A statement of a model's or a client's; what each says stands in ``run_machine``."""

SAYING: tuple[Word, ...] = ("done", "on", "park", "quit")
DOING: tuple[Word, ...] = ("note", "hold", "quick", "linger", "end 1", "end 2", "delete 1", "miss")

Settings: TypeAlias = Literal["none", "yolo", "persona", "two turns", "other model"]
Decision: TypeAlias = Literal["accept", "reject", "cancel"]
Trouble: TypeAlias = Literal["busy", "cut", "refused", "bug"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A person's, by ``loop.run``."""

    queue: bool = False
    settings: Settings = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model that has waited longest says."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Fail:
    """The provider fails: so that it may be asked again, at once or in the middle of its answer; for good; by a bug."""

    trouble: Trouble


@dataclass(frozen=True, slots=True)
class Conclude:
    """A live stream ends by itself; ``exit_code`` None: its work raises."""

    which: int
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Cancel:
    queued_too: bool
    twice: bool = False


@dataclass(frozen=True, slots=True)
class Resolve:
    """One decision, or two clients' at once; if nothing is open, of what was decided last."""

    which: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class ClientDoes:
    """A client's own operations, in its loop beside."""

    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class ClientLeaves:
    """Its loop is closed; the next operation is another client's."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon ends and another is started on what it left.

    ``drains``: as by TERM, with or without an ``answer`` for the model that waits. ``breaks``: by an error, without a
    word to anybody. ``crashes``: by KILL, at this moment.
    """

    how: Literal["drains", "breaks", "crashes"]
    resume: bool
    answer: tuple[Word, ...] | None = None


Action: TypeAlias = Prompt | Answer | Fail | Conclude | Cancel | Resolve | ClientDoes | ClientLeaves | Restart


@dataclass(frozen=True, slots=True)
class Step:
    """``pause`` None: what comes next comes when all is at rest; else after so many steps of the engine's tasks."""

    action: Action
    pause: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``settles``: loops wait for what a turn has started. ``max_wakes``: loops in a row that streams may open."""

    steps: tuple[Step, ...]
    settles: bool = False
    max_wakes: int = 16


def _tuples(of: st.SearchStrategy[T], least: int, most: int) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(of, min_size=least, max_size=most).map(tuple)


def _one_after_the_other(both: tuple[tuple[Word, ...], tuple[Word, ...]]) -> tuple[Word, ...]:
    return (*both[0], *both[1])


_saying = _tuples(st.sampled_from(SAYING), 0, 1)
_doing = _tuples(st.sampled_from(DOING), 0, 2)
_odd: st.SearchStrategy[tuple[Word, ...]] = st.sampled_from(
    [(), ("prose",), ("broken",), ("note", "broken"), ("done", "note"), ("done", "hold")]
)
_words = st.one_of(st.tuples(_doing, _saying).map(_one_after_the_other), _odd)
_commands: st.SearchStrategy[tuple[Word, ...]] = st.sampled_from(
    [("hold",), ("linger",), ("quick",), ("hold", "hold"), ("hold", "park"), ("linger", "park"), ("hold", "done")]
)
_decisions = st.sampled_from(["accept", "reject", "cancel"])
_pauses = st.none() | st.integers(0, 30)

_prompt = st.builds(Prompt, st.booleans(), st.sampled_from(["none", "yolo", "persona", "two turns", "other model"]))
_plain_prompt = st.just(Prompt())
_answer = st.builds(Answer, _words)
_resolve = st.builds(Resolve, st.integers(0, 2), _tuples(_decisions, 1, 2))
_conclude = st.builds(Conclude, st.integers(0, 2), st.sampled_from([0, 1, None]))
_cancel = st.builds(Cancel, st.booleans(), st.booleans())
_client = st.builds(ClientDoes, _doing) | st.just(ClientLeaves())
_restart = st.builds(
    Restart, how=st.sampled_from(["drains", "breaks", "crashes"]), resume=st.booleans(), answer=st.none() | _words
)
_fail = st.builds(Fail, st.sampled_from(["busy", "cut", "refused", "bug"]))
_any: st.SearchStrategy[Action] = st.one_of(
    _answer, _prompt, _plain_prompt, _resolve, _conclude, _cancel, _client, _fail, _restart
)


def _phrase(*actions: st.SearchStrategy[Action]) -> st.SearchStrategy[tuple[Step, ...]]:
    """Steps that make sense one after the other."""
    return st.tuples(*(st.builds(Step, action, _pauses) for action in actions))


_accept = st.just(Resolve(0, ("accept",)))
_phrases = st.one_of(
    _phrase(_any),
    _phrase(_any, _any),
    _phrase(_answer, _plain_prompt, _answer),
    _phrase(st.builds(Answer, _commands), _resolve),
    _phrase(st.builds(Answer, _commands), _accept, _any),
    _phrase(st.builds(Answer, _commands), _accept, _conclude, _answer),
    _phrase(st.builds(ClientDoes, _commands), _accept, _conclude),
    _phrase(st.just(Answer(("hold", "done"))), _accept, _conclude, _answer),
    _phrase(_plain_prompt, _plain_prompt, _answer, _any),
    _phrase(_fail),
    _phrase(_fail, _restart),
    _phrase(st.just(Answer(("done",))), _restart),
    _phrase(_prompt, _cancel, _prompt),
    _phrase(_restart, _any),
    _phrase(st.builds(Answer, _commands), _restart | _cancel | _resolve, _resolve),
)
MOST_STEPS = 30


def _joined(first: tuple[Step, ...], phrases: list[tuple[Step, ...]]) -> tuple[Step, ...]:
    return (*first, *(step for phrase in phrases for step in phrase))[:MOST_STEPS]


def plans() -> st.SearchStrategy[Plan]:
    """Plans that begin with a prompt, most of them of 10 to 25 steps."""
    steps = st.builds(_joined, _phrase(_prompt), st.lists(_phrases, min_size=4, max_size=12))
    return st.builds(Plan, steps, settles=st.booleans(), max_wakes=st.sampled_from([0, 1, 16]))


def at_rest(*actions: Action, settles: bool = False, max_wakes: int = 16) -> Plan:
    """A plan of these, each when all is at rest after the one before."""
    return Plan(tuple(Step(action) for action in actions), settles, max_wakes)


_START = (Prompt(), Answer(("hold", "done")), Resolve(0, ("accept",)))
SURE: tuple[Plan, ...] = (
    at_rest(Prompt(), Answer(("park",)), Answer(("quit",)), *_START, Restart("drains", resume=True)),
    at_rest(*_START, Conclude(0, 0), Answer(("done",)), *_START, Conclude(0, 1)),
    at_rest(*_START, Conclude(0, 0), max_wakes=0),
    at_rest(*_START, Restart("crashes", resume=False), *_START, Restart("crashes", resume=True)),
    at_rest(Prompt(settings="two turns"), Answer(("on",)), Prompt(), Restart("drains", resume=True)),
    at_rest(Prompt(settings="two turns"), Answer(("on",)), Answer(("miss",)), Prompt(), Fail("busy"), Fail("refused")),
    at_rest(Prompt(), Answer(("hold",)), Resolve(0, ("accept",)), Conclude(0, 1), Answer(("note",)), settles=True),
    at_rest(Prompt(), Fail("bug"), Prompt(), Answer(("prose",)), Answer(("prose",)), Answer(("prose",)), Prompt()),
    at_rest(
        ClientDoes(("hold",)), Resolve(0, ("accept",)), Conclude(0, 0), ClientDoes(("hold",)), Resolve(0, ("reject",))
    ),
    at_rest(Prompt(), Answer(("hold",)), Restart("drains", resume=True), Resolve(0, ("reject", "accept"))),
    at_rest(
        Prompt(), Answer(("hold",)), Restart("crashes", resume=True), Resolve(0, ("cancel",)), Cancel(queued_too=True)
    ),
)
"""Plans that come to what is rare among others."""
