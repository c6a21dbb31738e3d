"""Which model answers: aliases, and the providers behind them (SPEC 3.8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from plurnk.errors import Malformed
from plurnk.plugins.api import Provider, ProviderSettings
from plurnk.plugins.registry import ProviderPlugins

if TYPE_CHECKING:
    import httpx

_PREFIX = "PLURNK_MODEL_"
DEMO = "demo"
"""An alias that is always there: the provider that needs nothing."""

THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""What no proxy of the environment is asked for: it could not reach it, and local models are to stay local."""

KEPT_CONNECTIONS = 20


@dataclass(frozen=True, slots=True)
class Alias:
    """``PLURNK_MODEL_<name>=<provider>/<model>``."""

    name: str
    provider: str
    model: str


class Models:
    """The aliases of an environment, and a provider for each that was asked for. Made by ``open_models``.

    ``why`` is a clause that says why the active one is (``choosing``), "" when somebody has said so.
    """

    def __init__(self, env: Mapping[str, str], plugins: ProviderPlugins, why: str = "") -> None:
        self._env = env
        self._plugins = plugins
        self._making = trio.Lock()
        self._http: httpx.AsyncClient | None = None
        self._providers: dict[str, Provider] = {}
        self.aliases = {alias.name: alias for alias in aliases_of(env)}
        self.active = env.get("PLURNK_MODEL") or DEMO
        self.why = why

    def resolve(self, name: str | None) -> Alias:
        """The alias of that name, or the active one.

        Raises:
            Malformed: there is none; the message lists those there are.
        """
        wanted = name or self.active
        alias = self.aliases.get(wanted)
        if alias is None:
            how = f"PLURNK_MODEL_<alias>={wanted if '/' in wanted else '<provider>/<model id>'} makes one"
            raise Malformed(f"no model alias {wanted!r}; there are {', '.join(self.aliases)}; {how}")
        return alias

    async def provider(self, name: str | None) -> Provider:
        """The provider of an alias, made at first use and then kept.

        It is made on a thread: importing httpx and making its client takes 200 to 330 ms (bench/http_client.py),
        for which no client and no stream should have to wait.

        Raises:
            Malformed: no such alias, or a setting of it is missing or wrong.
            Unsupported: no such provider.
        """
        alias = self.resolve(name)
        async with self._making:
            if alias.name not in self._providers:
                self._providers[alias.name] = await trio.to_thread.run_sync(self._make, alias)
        return self._providers[alias.name]

    def _make(self, alias: Alias) -> Provider:
        factory = self._plugins.factory(alias.provider)
        if factory.uses_http:
            self._client()
        return factory(
            ProviderSettings(
                alias=alias.name, provider=alias.provider, model=alias.model, env=self._env, http=self._client
            )
        )

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = _open_client()
        return self._http

    async def aclose(self) -> None:
        """Close the HTTP client, if one was made."""
        if self._http is not None:
            await self._http.aclose()


def _open_client() -> httpx.AsyncClient:
    """A client that follows no redirect, so that no key is, that bounds nothing, and asks this machine directly.

    Raises:
        Malformed: a proxy or certificates that the environment names cannot be used.
    """
    import httpx  # noqa: PLC0415 – a daemon without a model over HTTP does without it

    # A loop that thinks has a connection for minutes: with a bound, the hundred-and-first would wait for it unseen.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS)
    mounts: dict[str, None] = dict.fromkeys(THIS_MACHINE)
    try:
        return httpx.AsyncClient(timeout=None, follow_redirects=False, limits=limits, mounts=mounts)  # noqa: S113 – callers use scopes
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # What is wrong with an address might show the proxy's password.
        why = "not a URL" if isinstance(error, httpx.InvalidURL) else error
        named = "a proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) or SSL_CERT_FILE"
        raise Malformed(f"{named} of the daemon's environment cannot be used: {why}") from None


def has_alias(env: Mapping[str, str], name: str | None) -> bool:
    """Tell whether the environment has such an alias; None: the active one. May be called on any thread."""
    return any(alias.name == (name or env.get("PLURNK_MODEL") or DEMO) for alias in aliases_of(env))


def aliases_of(env: Mapping[str, str]) -> list[Alias]:
    """Every alias that is configured, by name, and the demo.

    Raises:
        Malformed: a value is not ``provider/model``.
    """
    return [Alias(DEMO, DEMO, DEMO), *configured_aliases(env)]


def configured_aliases(env: Mapping[str, str]) -> list[Alias]:
    """Every ``PLURNK_MODEL_<name>``, by name.

    Raises:
        Malformed: a value is not ``provider/model``.
    """
    found: list[Alias] = []
    for key in sorted(env):
        if not key.startswith(_PREFIX) or "__" in key[len(_PREFIX) :]:
            continue
        provider, slash, model = env[key].partition("/")
        if not (provider and slash and model):
            # Not what it is: whoever puts a key there takes the option for an alias.
            raise Malformed(f"{key} must be <provider>/<model>, such as openai/gpt-5")
        found.append(Alias(key[len(_PREFIX) :], provider, model))
    return found


@asynccontextmanager
async def open_models(env: Mapping[str, str], plugins: ProviderPlugins, why: str = "") -> AsyncIterator[Models]:
    """The models of ``env``; leaving the block closes the HTTP client, if one was made.

    Raises:
        Malformed: an alias is not ``provider/model``, or the active one does not exist.
    """
    models = Models(env, plugins, why)
    models.resolve(None)
    async with AsyncExitStack() as resources:
        resources.push_async_callback(models.aclose)
        yield models
