"""The result of an operation, as it stands in the log and on the wire (SPEC 2.4)."""

from __future__ import annotations

import msgspec


class OpResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """``status`` always; of the rest, what the operation has. ``error`` says why it was refused.

    ``startLine`` is the source's number of the content's first line; ``nextLine`` where to read on
    after a 206; ``results`` are FIND's addresses, one a line; ``entry`` is the address of what EXEC
    started, ``subscriptionId`` its stream's, ``command`` what it runs if that is not what was proposed;
    ``outcome`` is that of its proposal, such as why a person rejected it: in the log the row has it.
    """

    status: int
    error: str | None = None
    entry_id: int | None = None
    channel: str | None = None
    content: str | None = None
    mimetype: str | None = None
    start_line: int | None = None
    next_line: int | None = None
    matches: int | None = None
    results: str | None = None
    diff: str | None = None
    left_out: int | None = None
    entry: str | None = None
    subscription_id: int | None = None
    command: str | None = None
    outcome: str | None = None
