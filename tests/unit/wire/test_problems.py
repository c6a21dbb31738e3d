"""Every error of ours has its code, and no message has the word that makes a known client start anew."""

from __future__ import annotations

import pytest

from plurnk import errors
from plurnk.wire import problems
from plurnk.wire.problems import Kind


@pytest.mark.parametrize("kind", Kind)
def test_no_two_kinds_are_the_same_to_a_client(kind: Kind) -> None:
    assert [other for other in Kind if other.type == kind.type] == [kind]
    assert -32768 <= kind.code <= -32000


@pytest.mark.parametrize("error", errors.PlurnkError.__subclasses__())
def test_every_error_of_ours_keeps_its_status(error: type[errors.PlurnkError]) -> None:
    problem = problems.of(error("why"))
    assert problem.data["status"] == error.status
    assert problem.message == problem.data["detail"] == "why"


def test_a_subclass_is_answered_as_its_parent() -> None:
    class NoSuchWindow(errors.NotFound):
        pass

    assert problems.of(NoSuchWindow("no window")).code == -32001


def test_a_stranger_is_a_plain_internal_error() -> None:
    problem = problems.of(KeyError("secret"))
    assert problem.code == -32603
    assert "secret" not in problem.message


def test_what_was_raised_to_be_answered_is_answered_so() -> None:
    error = problems.loop_not_found("no loop 3")
    assert problems.of(error) is error.problem
    assert (error.problem.code, str(error)) == (-32002, "no loop 3")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (problems.run_not_found("main"), -32001),
        (problems.loop_not_found("no turn 3"), -32002),
        (problems.entry_not_found("known://a"), -32003),
        (problems.invalid_params("a: expected b"), -32602),
    ],
)
def test_what_was_not_found_has_its_own_code(error: problems.RequestError, code: int) -> None:
    assert error.problem.code == code


def test_the_word_that_resets_a_client_never_goes_out() -> None:
    problem = problems.of(errors.UpstreamFailed("Connection refused: no connections left"))
    assert problem.message == problem.data["detail"] == "link refused: no links left"


def test_a_long_value_is_not_told_back_whole() -> None:
    assert len(problems.method_not_found("x" * 10**6).message) == problems.MAX_DETAIL_CHARS


def test_more_data_goes_along() -> None:
    assert problems.timeout("a.b", 30).data["limitMs"] == 30
