"""Finding plugins by entry point; built-ins come in by the same door (SPEC 7.4).

A plugin is imported when it is first asked for, but a clash of names is found when the daemon starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points

from plurnk.errors import Conflict, Unsupported
from plurnk.plugins.api import CONTRACT_VERSION, ProviderFactory, Scheme

SCHEMES = "plurnk.schemes"
PROVIDERS = "plurnk.providers"


def discover(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of ``group`` by name, alphabetically.

    Raises:
        Conflict: two packages offer the same name; the message names both.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, _package(p))):
        other = found.get(point.name)
        if other is not None:
            raise Conflict(
                f"two packages offer the {group} plugin {point.name!r}: {_package(other)} and {_package(point)}"
            )
        found[point.name] = point
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def load_schemes() -> Mapping[str, Scheme]:
    """Every scheme that is installed, by name.

    Raises:
        Conflict: a clash, an identity that does not match, or another contract version.
    """
    schemes: dict[str, Scheme] = {}
    for name, point in discover(SCHEMES).items():
        scheme: Scheme = point.load()
        if scheme.manifest.name != name:
            raise Conflict(f"scheme plugin {name!r} of {_package(point)} says that it is {scheme.manifest.name!r}")
        _check_version(point, scheme.manifest.contract_version)
        schemes[name] = scheme
    return schemes


def _check_version(point: EntryPoint, version: int) -> None:
    if version != CONTRACT_VERSION:
        raise Conflict(
            f"plugin {point.name!r} of {_package(point)} has contract version {version};"
            f" this daemon speaks {CONTRACT_VERSION}"
        )


@dataclass(frozen=True, slots=True)
class ProviderPlugins:
    """The providers that are installed; each is imported when a model of it is first wanted."""

    points: Mapping[str, EntryPoint] = field(default_factory=lambda: discover(PROVIDERS))

    def names(self) -> tuple[str, ...]:
        return tuple(self.points)

    def factory(self, name: str) -> ProviderFactory:
        """Import the provider of that name.

        Raises:
            Unsupported: no such provider; the message lists those there are.
            Conflict: it was written for another contract version.
        """
        point = self.points.get(name)
        if point is None:
            raise Unsupported(f"no provider {name!r}; there are {', '.join(self.points)}")
        factory: ProviderFactory = point.load()
        _check_version(point, factory.contract_version)
        return factory
