"""Which handler makes the preview of a type: its own, else its family's."""

from __future__ import annotations

import pytest

from plurnk.content.mimetypes import handler_type

INSTALLED = {"application/json", "application/xml", "application/yaml", "text/html", "image/svg+xml", "text/x-a+b"}


@pytest.mark.parametrize(
    ("mimetype", "handler"),
    [
        ("application/json", "application/json"),
        ("Application/JSON ; charset=utf-8", "application/json"),
        ("application/geo+json", "application/json"),
        ("application/geo+json; charset=utf-8", "application/json"),
        ("application/atom+xml", "application/xml"),
        ("image/svg+xml", "image/svg+xml"),
        ("application/openapi+yaml", "application/yaml"),
        ("text/x-a+b", "text/x-a+b"),
        ("text/html", "text/html"),
        ("text/plain", None),
        ("application/a+b", None),
        ("xml", None),
        ("json", None),
        ("", None),
    ],
)
def test_a_type_has_its_own_handler_or_its_familys(mimetype: str, handler: str | None) -> None:
    assert handler_type(mimetype, INSTALLED) == handler


def test_without_handlers_there_is_none() -> None:
    assert handler_type("application/geo+json", ()) is None
