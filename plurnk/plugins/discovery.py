"""Finding plugins by entry point; built-ins come in by the same door (SPEC 7.4).

A plugin is imported when it is first asked for, but a clash of names is found when the daemon starts.
Worker processes find preview handlers here, so this imports nothing that they have no use for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from plurnk.content.previews import PreviewHandler
from plurnk.errors import Conflict

SCHEMES: Final = "plurnk.schemes"
PROVIDERS: Final = "plurnk.providers"
MIMETYPES: Final = "plurnk.mimetypes"
EXECUTORS: Final = "plurnk.executors"

CONTRACT_VERSION: Final = 1


def discover(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of ``group`` by name, alphabetically; nothing is imported.

    Raises:
        Conflict: two packages offer the same name; the message names both.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, package_of(p))):
        other = found.get(point.name)
        if other is not None:
            raise Conflict(
                f"two packages offer the {group} plugin {point.name!r}: {package_of(other)} and {package_of(point)}"
            )
        found[point.name] = point
    return found


def package_of(point: EntryPoint) -> str:
    """The distribution that ``point`` came with."""
    return point.dist.name if point.dist is not None else point.value


def check(point: EntryPoint, *, version: int, identity: str | None = None) -> None:
    """See that what ``point`` led to is what it promises: of our contract, and ``identity`` its name there.

    Raises:
        Conflict: it is not; the message names the package.
    """
    plugin = f"the {point.group} plugin {point.name!r} of {package_of(point)}"
    if identity is not None and identity != point.name:
        raise Conflict(f"{plugin} says that it is {identity!r}")
    if version != CONTRACT_VERSION:
        raise Conflict(f"{plugin} has contract version {version}; this daemon speaks {CONTRACT_VERSION}")


def load_preview_handler(point: EntryPoint) -> PreviewHandler:
    """Import the handler.

    Raises:
        Conflict: its identity does not match, or it was written for another contract version.
    """
    handler: PreviewHandler = point.load()
    check(point, version=handler.contract_version, identity=handler.mimetype)
    return handler
