"""The checked-in OpenRPC document is what the types say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import cast

import jsonschema
import pytest

from plurnk.wire import openrpc
from plurnk.wire.methods import METHODS
from plurnk.wire.notifications import Notification
from tests.support.source import ROOT


@pytest.mark.spec("6.3-openrpc-in-step")
def test_the_document_in_the_repository_is_up_to_date() -> None:
    written = (ROOT / "docs" / "openrpc.json").read_bytes()
    assert written == openrpc.text(), "python -m plurnk.wire.openrpc > docs/openrpc.json"


@pytest.mark.spec("6.3-openrpc-in-step")
def test_it_has_every_method_and_notification() -> None:
    document = openrpc.document()
    assert [method["name"] for method in document["methods"]] == list(METHODS)
    told = [notification["name"] for notification in document["x-notifications"]]
    assert told == sorted(kind.method for kind in Notification.__subclasses__())


def test_every_reference_leads_somewhere() -> None:
    document = openrpc.document()
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        if isinstance(reference := members.get("$ref"), str):
            yield reference
        yield from _references(list(members.values()))
    elif isinstance(value, list | tuple):
        for member in cast("Sequence[object]", value):
            yield from _references(member)


def test_params_are_told_by_name() -> None:
    (attach,) = (method for method in openrpc.document()["methods"] if method["name"] == "session.attach")
    names = {param["name"]: param["required"] for param in attach["params"]}
    assert names == {
        "id": True,
        "runId": False,
        "runName": False,
        "persona": False,
        "since": False,
        "deltas": False,
    }


def test_the_module_prints_it() -> None:
    printed = subprocess.run([sys.executable, "-m", "plurnk.wire.openrpc"], cwd=ROOT, capture_output=True, check=True)
    assert json.loads(printed.stdout) == openrpc.document()
