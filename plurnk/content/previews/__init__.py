"""Previews: what the index shows of a channel (SPEC 2.8).

``plain`` has the forms that need no knowledge of the type: head, tail, the one line of a binary.
Everything else is made by a *handler*, one for each mimetype, found as a plugin (SPEC 7.4).
"""

from __future__ import annotations

from typing import Protocol


class PreviewHandler(Protocol):
    """Makes the preview of one mimetype; stands under that name in the group ``plurnk.mimetypes``."""

    @property
    def mimetype(self) -> str: ...

    @property
    def contract_version(self) -> int: ...

    def preview(self, content: str, budget_chars: int) -> str:
        """What is inside ``content``, which does not fit into the budget, in at most ``budget_chars`` characters.

        Pure and deterministic. Runs in a process of its own, so it may be slow, raise or even crash: what
        fails is replaced by the head of the content.
        """
        ...
