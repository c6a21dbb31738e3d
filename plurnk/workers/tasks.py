"""What a worker may be asked, and what it answers: values that travel as MessagePack.

The contents to work on travel beside it, as they are: to copy 100 MiB into a message takes 50 ms, in which
nothing else can run.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

import msgspec

from plurnk import errors
from plurnk.content.matching.subject import Rows, Subject
from plurnk.errors import PlurnkError
from plurnk.language.ast import Matcher

T_co = TypeVar("T_co", covariant=True)

WAITING_FACTOR: Final = 3
"""On a busy machine a task takes longer than it works, and that is not its fault."""

OUT_OF_TIME: Final = frozenset({signal.SIGPROF, signal.SIGALRM})
"""What ends a worker at the limit of its task."""

LENGTH_BYTES: Final = 8
"""Before each message stands its length, big-endian."""

ERRORS: Final[Mapping[str, type[PlurnkError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PlurnkError)
}
"""The errors that travel, by name; a subclass made elsewhere arrives as the nearest of these."""


class Task(msgspec.Struct, Generic[T_co], frozen=True, kw_only=True):
    """A question whose answer is of the type T_co.

    ``limit_s``: of processor time; a worker that needs more, or WAITING_FACTOR times as long in all, is ended
    by the kernel, even if its daemon was killed. Unlike a deadline of the asker it counts no wait for a worker.
    """

    answer_type: ClassVar[Any]
    limit_s: float

    @property
    def contents(self) -> tuple[bytes, ...]:
        """What travels beside the task."""
        return ()

    def with_contents(self, contents: Sequence[bytes]) -> Self:
        """The same task on other contents, as many of them."""
        assert not contents
        return self


class MatchRows(Task[Rows], frozen=True, kw_only=True, tag="rows"):
    """``content.matching.match_rows``."""

    answer_type = Rows
    matcher: Matcher
    subject: Subject
    max_chars: int

    @property
    def contents(self) -> tuple[bytes, ...]:
        return (self.subject.data,)

    def with_contents(self, contents: Sequence[bytes]) -> Self:
        (data,) = contents
        return msgspec.structs.replace(self, subject=msgspec.structs.replace(self.subject, data=data))


class MatchEach(Task[tuple[bool, ...]], frozen=True, kw_only=True, tag="each"):
    """``content.matching.has_match`` for each of ``subjects``, in their order."""

    answer_type = tuple[bool, ...]
    matcher: Matcher
    subjects: tuple[Subject, ...]

    @property
    def contents(self) -> tuple[bytes, ...]:
        return tuple(subject.data for subject in self.subjects)

    def with_contents(self, contents: Sequence[bytes]) -> Self:
        pairs = zip(self.subjects, contents, strict=True)
        return msgspec.structs.replace(
            self, subjects=tuple(msgspec.structs.replace(subject, data=data) for subject, data in pairs)
        )


class MakePreview(Task[str], frozen=True, kw_only=True, tag="preview"):
    """The preview that the handler installed for ``mimetype`` makes of ``content`` (SPEC 2.8).

    A handler that returns more than ``budget_chars`` characters has failed.
    """

    answer_type = str
    content: str
    mimetype: str
    budget_chars: int


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A task without its contents, and how long each of those is that follow."""

    task: MatchRows | MatchEach | MakePreview
    sizes: tuple[int, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """``value`` is the answer, as MessagePack. ``spent``: the worker has grown too large to be kept."""

    value: msgspec.Raw
    spent: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """The task raised one of ERRORS, the one called ``kind``."""

    kind: str
    detail: str
    spent: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The task raised what it should not: type and message."""

    detail: str
    spent: bool = False
