"""One run under all that may happen to it, in any order, at any moment: a model-based test (SPEC 3, 4.4, 5.3, 7.2).

Hypothesis makes plans (``tests.support.run_plans``), each is gone through by an engine on a real database
(``tests.support.run_machine``), and what must hold is read from the database and from what was seen meanwhile
(``tests.support.run_checks``). A plan is a list that is made before anything runs, not a rule-based machine whose rules
look at the engine when they choose: a writer and readers are threads, so at one and the same step an engine
may have come a little further one time than another, and what was made by looking at it could not be made again to be
shrunk. Trio itself schedules by Hypothesis' numbers; what is left to chance are some interleavings of threads.

``MACHINE_PLANS=5000`` tries so many, and others each time: for a night.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings

from plurnk.rules import backoff
from tests.support.run_checks import check
from tests.support.run_machine import go_through
from tests.support.run_plans import SURE, Plan, plans

NIGHT: Final = "MACHINE_PLANS" in os.environ
PLANS: Final = int(os.environ.get("MACHINE_PLANS", "120"))

REACHED: Final = (
    "injected_next_turn",
    "injections shown",
    "crashes with a model",
    "crashes with a proposal",
    "crashes with a stream",
    "drains with a model",
    "drains with a proposal",
    "drains with a stream",
    "breaks with a model",
    "accept 102",
    "accept 409",
    "reject 400",
    "cancel 499",
    "proposal loop_cancelled",
    "model's loop 200 None",
    "model's loop 499 cancelled",
    "model's loop 499 external",
    "model's loop 499 interrupted",
    "model's loop 499 max_turns",
    "model's loop 499 strike_threshold",
    "model's loop 499 wake_limit",
    "model's loop 500 internal_error",
    "model's loop 500 provider_error",
    "client's loop 200 None",
    "stream 200 no-op-active-loop",
    "stream 200 opened-loop",
    "stream 200 skipped-no-provider",
    "stream 499 skipped-aborted",
    "stream 500 no-op-active-loop",
    "stream 500 opened-loop",
    "stream 500 skipped-aborted",
    "turn 500 interrupted",
    "told interrupted",
    "told nothing_to_wait_for",
    "told provider_retry",
)
"""What has to be come to, or the plans prove little."""


@pytest.mark.spec(
    "3.1-one-driver-per-run",
    "3.1-terminal-always-written",
    "3.1-inject-next-turn",
    "3.1-inject-none-lost",
    "3.1-cancel-is-complete",
    "3.2-forced-end-kills-streams",
    "3.5-drain-on-read",
    "4.4-wake-four-ways",
    "5.3-first-wins",
    "6.5-outbox-transactional",
    "7.2-announced-survives-kill",
    "7.2-resume",
)
def test_whatever_happens_to_a_run_what_is_promised_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="plurnk")  # thousands of warnings, all of them deserved
    monkeypatch.setattr(backoff, "FIRST_S", 0.004)
    reached: Counter[str] = Counter()
    before = threads()

    @settings(
        max_examples=PLANS,
        derandomize=not NIGHT,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(plans())
    def go(plan: Plan) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            path, history = trio.run(go_through, plan, Path(folder))
            reached.update(history.reached + check(plan, path, history))

    for plan in SURE:
        go = example(plan)(go)
    go()
    print(*(f"{count:6} {what}" for what, count in sorted(reached.items())), sep="\n")  # noqa: T201 – for pytest -s
    assert [what for what in REACHED if not reached[what]] == []
    # Nothing outlives its daemon but threads that trio keeps for the next one to use.
    assert [thread.name for thread in threads() - before if not thread.name.startswith("Trio thread")] == []


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())
