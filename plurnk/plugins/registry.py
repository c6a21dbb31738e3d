"""The plugins of the daemon: schemes, providers, and which mimetypes have a preview handler (SPEC 7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

from plurnk.errors import Unsupported
from plurnk.plugins.api import Executor, ProviderFactory, Scheme
from plurnk.plugins.discovery import EXECUTORS, MIMETYPES, PROVIDERS, SCHEMES, check, discover


def load_schemes() -> Mapping[str, Scheme]:
    """Every scheme that is installed, by name.

    Raises:
        Conflict: a clash, an identity that does not match, or another contract version.
    """
    schemes: dict[str, Scheme] = {}
    for name, point in discover(SCHEMES).items():
        scheme: Scheme = point.load()
        check(point, version=scheme.manifest.contract_version, identity=scheme.manifest.name)
        schemes[name] = scheme
    return schemes


def load_executors() -> Mapping[str, Executor]:
    """Every executor that is installed, by the name of its runtime. Its program may be missing all the same.

    Raises:
        Conflict: a clash, an identity that does not match, or another contract version.
    """
    executors: dict[str, Executor] = {}
    for name, point in discover(EXECUTORS).items():
        executor: Executor = point.load()
        check(point, version=executor.contract_version, identity=executor.name)
        executors[name] = executor
    return executors


def preview_types() -> frozenset[str]:
    """The mimetypes that have a handler. None is imported: that is done by a worker, for the first preview.

    A handler that turns out not to be what it promises costs its previews, not the start.

    Raises:
        Conflict: a clash.
    """
    return frozenset(discover(MIMETYPES))


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
        check(point, version=factory.contract_version)
        return factory
