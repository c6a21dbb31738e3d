"""What somebody accepts is what they were shown (SPEC 5.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from plurnk.content.canonical import canonical_json
from plurnk.language.ast import OpName
from plurnk.wire.notifications import ProposalTarget


def digest(*, op: OpName, target: ProposalTarget, body: str, attrs: Mapping[str, Any]) -> str:
    """The SHA-256 of a proposed operation, in hex: another one for another value of any part.

    A ``digest`` among ``attrs`` is passed over, so it can be taken of what is proposed and of what was shown. Values
    are equal that are the same JSON; the order of keys is nothing.
    """
    value = {
        "op": op,
        "target": {"scheme": target.scheme, "pathname": target.pathname},
        "body": body,
        "attrs": {name: attrs[name] for name in attrs if name != "digest"},
    }
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
