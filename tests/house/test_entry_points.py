"""Every preview handler that is written is offered under its mimetype, and what is offered is there."""

from __future__ import annotations

import importlib
import pkgutil
import tomllib

from plurnk.content import previews
from plurnk.content.mimetypes import BY_EXTENSION, handler_type, is_text
from plurnk.plugins.discovery import MIMETYPES
from tests.support.source import ROOT

WITHOUT_HANDLER = {"text/css", "text/x-log", "text/x-rst"}
"""Text types of known extensions whose first lines say as much as anything."""


def _offered() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    offered: dict[str, str] = project["entry-points"][MIMETYPES]
    return offered


def _written() -> dict[str, str]:
    """Where each handler in ``content.previews`` stands, by its mimetype."""
    found: dict[str, str] = {}
    for info in pkgutil.iter_modules(previews.__path__, f"{previews.__name__}."):
        for name, value in vars(importlib.import_module(info.name)).items():
            if hasattr(value, "preview") and not isinstance(value, type):
                assert value.mimetype not in found
                found[value.mimetype] = f"{info.name}:{name}"
    return found


def test_every_handler_is_offered_under_its_mimetype_and_nothing_else_is() -> None:
    assert _offered() == _written()


def test_every_text_type_of_a_known_extension_has_a_handler_or_needs_none() -> None:
    texts = {mimetype for mimetype in BY_EXTENSION.values() if is_text(mimetype, b"\0")}
    assert {mimetype for mimetype in texts if handler_type(mimetype, _offered()) is None} == WITHOUT_HANDLER
