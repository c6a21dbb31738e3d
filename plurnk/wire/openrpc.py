"""The OpenRPC document, made from the types that decode (SPEC 6.3): ``python -m plurnk.wire.openrpc`` prints it.

OpenRPC has no word for what a server sends unasked; notifications stand under ``x-notifications``.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Final

import msgspec

from plurnk.wire.methods import METHODS, PROTOCOL_VERSION, Method
from plurnk.wire.notifications import Notification
from plurnk.wire.problems import Kind

_REF: Final = "#/components/schemas/{name}"


def notification_types() -> list[type[Notification]]:
    return sorted(Notification.__subclasses__(), key=lambda kind: kind.method)


@functools.cache
def document() -> dict[str, Any]:
    """Return the document; do not change it, it is made once."""
    notifications = notification_types()
    roots: list[type[msgspec.Struct]] = [
        *(method.params for method in METHODS.values()),
        *(method.result for method in METHODS.values()),
        *notifications,
    ]
    schemas, components = msgspec.json.schema_components(roots, ref_template=_REF)
    for struct in components.values():
        if "description" in struct:
            # How a docstring is indented depends on the version of Python.
            struct["description"] = " ".join(struct["description"].split())
    schema_of = dict(zip(roots, schemas, strict=True))
    document = {
        "openrpc": "1.3.2",
        "info": {"title": "plurnk", "version": PROTOCOL_VERSION},
        "methods": [
            _method(method, _properties(schema_of[method.params], components), schema_of[method.result])
            for method in METHODS.values()
        ],
        "x-notifications": [
            {"name": kind.method, "durable": kind.durable, "params": schema_of[kind]} for kind in notifications
        ],
        "components": {
            "schemas": components,
            "errors": {
                kind.type: {"code": kind.code, "message": kind.type, "data": {"status": kind.status, "type": kind.type}}
                for kind in Kind
            },
        },
    }
    # As JSON has it: a default may be a tuple.
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return made


def _properties(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """Take a params object apart into OpenRPC's content descriptors."""
    struct = components[schema["$ref"].rpartition("/")[2]]
    required = struct.get("required", ())
    return [
        {"name": name, "required": name in required, "schema": field} for name, field in struct["properties"].items()
    ]


def _method(method: Method, properties: list[dict[str, Any]], result: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": properties,
        "result": {"name": "result", "schema": result},
        "x-needs-session": method.needs_session,
        "x-long-running": method.long_running,
    }


def text() -> bytes:
    """Return ``docs/openrpc.json``."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(text())
