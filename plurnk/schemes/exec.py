"""exec:// – what commands wrote: an entry of streams for each (SPEC 2.3, 4.2)."""

from __future__ import annotations

from plurnk.errors import Malformed, Unsupported
from plurnk.language.ast import Exec, UrlTarget
from plurnk.plugins.api import Call, ChannelSpec, Manifest
from plurnk.schemes.entries import EntryScheme
from plurnk.wire.results import OpResult

DEFAULT_RUNTIME = "sh"

_STREAM = ChannelSpec(mimetype="text/plain", orientation="tail")


class ExecScheme(EntryScheme):
    """Entries that nobody edits, and EXEC, which makes them."""

    def __init__(self) -> None:
        super().__init__(
            Manifest(
                name="exec",
                channels={"stdout": _STREAM, "stderr": _STREAM, "stdin": _STREAM},
                default_channel="stdout",
                writable_by=frozenset({"model", "client"}),
                effects="external",
                proposes=True,
                excluded_in_ask=True,
                editable=False,
                category="streams",
            )
        )
        self.handlers = {**self.handlers, "EXEC": self.exec}

    async def exec(self, call: Call) -> OpResult:
        """Refuse: a runtime is a plugin, and there is none."""
        statement = call.statement
        assert isinstance(statement, Exec)
        # With an entry as its target, that entry's content is the command.
        if not isinstance(statement.target, UrlTarget) and not (statement.body or "").strip():
            raise Malformed("EXEC needs a command in its body")
        raise Unsupported(f"runtime '{statement.signal or DEFAULT_RUNTIME}' is not installed; there are none")


exec_ = ExecScheme()
