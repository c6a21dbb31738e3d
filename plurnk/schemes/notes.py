"""The working notes and the daemon's own papers: known://, unknown://, skill://, plurnk://."""

from __future__ import annotations

from plurnk.plugins.api import ChannelSpec, Manifest
from plurnk.schemes.entries import EntryScheme

_BODY = {"body": ChannelSpec()}

known = EntryScheme(
    Manifest(name="known", channels=_BODY, default_channel="body", writable_by=frozenset({"model", "client"}))
)
unknown = EntryScheme(
    Manifest(name="unknown", channels=_BODY, default_channel="body", writable_by=frozenset({"model", "client"}))
)
skill = EntryScheme(
    Manifest(name="skill", channels=_BODY, default_channel="body", writable_by=frozenset({"model", "client"}))
)
# A loop's prompts are entries of plurnk://; a model that could rewrite them would argue with itself.
plurnk = EntryScheme(
    Manifest(
        name="plurnk",
        channels=_BODY,
        default_channel="body",
        writable_by=frozenset({"model", "client", "system"}),
        category="system",
    ),
    reserved="prompt/",
)
