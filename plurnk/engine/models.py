"""Which model answers: aliases, and the providers behind them (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plurnk.errors import Malformed
from plurnk.plugins.api import Provider, ProviderSettings
from plurnk.plugins.registry import ProviderPlugins

if TYPE_CHECKING:
    import httpx

_PREFIX = "PLURNK_MODEL_"
DEMO = "demo"
"""An alias that is always there: the provider that needs nothing."""


@dataclass(frozen=True, slots=True)
class Alias:
    """``PLURNK_MODEL_<name>=<provider>/<model>``."""

    name: str
    provider: str
    model: str


class Models:
    """The aliases of an environment, and a provider for each that was asked for. Made by ``open_models``."""

    def __init__(self, env: Mapping[str, str], plugins: ProviderPlugins, resources: AsyncExitStack) -> None:
        self._env = env
        self._plugins = plugins
        self._resources = resources
        self._http: httpx.AsyncClient | None = None
        self._providers: dict[str, Provider] = {}
        self.aliases = {alias.name: alias for alias in _aliases(env)}
        self.active = env.get("PLURNK_MODEL") or DEMO

    def resolve(self, name: str | None) -> Alias:
        """The alias of that name, or the active one.

        Raises:
            Malformed: there is none; the message lists those there are.
        """
        wanted = name or self.active
        alias = self.aliases.get(wanted)
        if alias is None:
            raise Malformed(f"no model alias {wanted!r}; there are {', '.join(self.aliases)}")
        return alias

    def provider(self, name: str | None) -> Provider:
        """The provider of an alias, made at first use and then kept.

        Raises:
            Malformed: no such alias, or a setting of it is missing or wrong.
            Unsupported: no such provider.
        """
        alias = self.resolve(name)
        if alias.name not in self._providers:
            factory = self._plugins.factory(alias.provider)
            settings = ProviderSettings(
                alias=alias.name, provider=alias.provider, model=alias.model, env=self._env, http=self._client
            )
            self._providers[alias.name] = factory(settings)
        return self._providers[alias.name]

    def _client(self) -> httpx.AsyncClient:
        """The one HTTP client: making it costs 20 ms and importing httpx 50, so not before it is needed."""
        if self._http is None:
            import httpx  # noqa: PLC0415 – see above

            self._http = httpx.AsyncClient(timeout=None, follow_redirects=False)  # noqa: S113 – callers use scopes
            self._resources.push_async_callback(self._http.aclose)
        return self._http


def _aliases(env: Mapping[str, str]) -> list[Alias]:
    """Every alias that is configured, by name, and the demo.

    Raises:
        Malformed: a value is not ``provider/model``.
    """
    found = [Alias(DEMO, DEMO, DEMO)]
    for key in sorted(env):
        if not key.startswith(_PREFIX) or "__" in key[len(_PREFIX) :]:
            continue
        provider, slash, model = env[key].partition("/")
        if not (provider and slash and model):
            raise Malformed(f"{key} must be <provider>/<model>, such as openai/gpt-5; got {env[key]!r}")
        found.append(Alias(key[len(_PREFIX) :], provider, model))
    return found


@asynccontextmanager
async def open_models(env: Mapping[str, str], plugins: ProviderPlugins) -> AsyncIterator[Models]:
    """The models of ``env``; leaving the block closes the HTTP client, if one was made.

    Raises:
        Malformed: an alias is not ``provider/model``, or the active one does not exist.
    """
    async with AsyncExitStack() as resources:
        models = Models(env, plugins, resources)
        models.resolve(None)
        yield models
