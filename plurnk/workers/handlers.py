"""Preview handlers in a worker: each is found and imported when the first preview of its type is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from plurnk.content.previews import PreviewHandler
from plurnk.errors import TooLarge, UnsupportedType
from plurnk.plugins.discovery import MIMETYPES, discover, load_preview_handler
from plurnk.workers.tasks import MakePreview


def make_preview(task: MakePreview) -> str:
    """Have the handler make it.

    Raises:
        UnsupportedType: there is no handler of that type.
        Conflict: the handler is not what its package promises (SPEC 7.4).
        TooLarge: it returned more than the budget.
        Exception: whatever else it raised.
    """
    made: Any = _handler(task.mimetype).preview(task.content, task.budget_chars)
    if not isinstance(made, str):
        raise TypeError(f"the handler of {task.mimetype} returned {type(made).__name__}, not str")
    if len(made) > task.budget_chars:
        raise TooLarge(f"the handler of {task.mimetype} returned {len(made)} characters of {task.budget_chars}")
    return made


@cache
def _handler(mimetype: str) -> PreviewHandler:
    point = _points().get(mimetype)
    if point is None:
        raise UnsupportedType(f"no handler for {mimetype}")
    return load_preview_handler(point)


@cache
def _points() -> Mapping[str, EntryPoint]:
    return discover(MIMETYPES)
