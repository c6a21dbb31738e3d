"""What providers over HTTP are told: server, key, context, temperature and prices of an alias (SPEC 3.8).

A key goes only to the server that it is meant for: the vendor's variable holds the key of the vendor's server, or
of the one that the vendor's own variable names. An alias with a server of its own gets no key unless it names one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar
from urllib.parse import urlsplit

from plurnk.errors import Malformed
from plurnk.plugins.api import ProviderSettings, Usage

Tokens = TypeVar("Tokens", int, None)

_PICO_USD_PER_TOKEN: Final = 1_000_000
"""Of one USD per million tokens: 10^12 pico-USD / 10^6 tokens."""


def base_url(settings: ProviderSettings, *, variable: str | None, default: str) -> str:
    """The alias's ``__BASE_URL``, else the vendor's ``variable`` (None: it has none), else ``default``.

    Without a slash at its end.

    Raises:
        Malformed: it is no URL of a server.
    """
    if own := settings.option("BASE_URL"):
        return checked_url(own, variable=_name(settings, "BASE_URL"), like=default)
    if variable and (general := settings.env.get(variable)):
        return checked_url(general, variable=variable, like=default)
    return default


def checked_url(given: str, *, variable: str, like: str) -> str:
    """``given`` without space around it and slashes at its end.

    Raises:
        Malformed: it is no URL of a server; the message names ``variable``, and ``like`` as an example.
    """
    base = given.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        beyond_path = parts.query or parts.fragment
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not beyond_path
    except ValueError:
        valid = False
    if not valid or not base.isascii() or not base.isprintable() or " " in base:
        raise Malformed(f"{variable} is no URL like {like}")
    return base


def shown_url(url: str) -> str:
    """``url`` without the user and password that it may have."""
    return re.sub(r"(?<=://)[^/]*@", "", url)


def api_key(settings: ProviderSettings, *, variable: str, base_url_variable: str | None) -> str:
    """The key to send, or "" for none.

    ``variable`` holds the vendor's key. It may be missing when ``base_url_variable`` names a server: local ones need
    none. The alias's ``__API_KEY_ENV`` names another variable, and that one must be there.

    Raises:
        Malformed: a key is missing, or is none that a header can carry. It is never shown.
    """
    name = settings.option("API_KEY_ENV")
    if name is None:
        if settings.option("BASE_URL"):
            return ""
        name = variable
        if not settings.env.get(name) and base_url_variable and settings.env.get(base_url_variable):
            return ""
    # By mistake it may be the key itself.
    said = name if re.fullmatch("[A-Z][A-Z0-9_]*", name) else f"what {_name(settings, 'API_KEY_ENV')} names"
    key = settings.env.get(name, "").strip()
    if not key:
        raise Malformed(
            f"{said} is not set; the model {settings.alias!r} needs it, and the daemon reads it when it starts"
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise Malformed(f"{said} has characters that no key has")
    return key


def context(settings: ProviderSettings, default: Tokens) -> int | Tokens:
    """The tokens of the alias's ``__CONTEXT``.

    Raises:
        Malformed: it is no number above 0.
    """
    return tokens(settings, "CONTEXT", default)


def tokens(settings: ProviderSettings, option: str, default: Tokens) -> int | Tokens:
    """The tokens of the alias's ``__<option>``.

    Raises:
        Malformed: it is no number above 0.
    """
    given = settings.option(option)
    if not given:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,11}", given):
        raise Malformed(f"{_name(settings, option)} is {given!r}; it should be a number of tokens")
    return int(given)


def temperature(settings: ProviderSettings) -> float | None:
    """The alias's ``__TEMPERATURE``; None: the vendor's own.

    Raises:
        Malformed: it is no number like 0.7.
    """
    given = settings.option("TEMPERATURE")
    if not given:
        return None
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", given):
        raise Malformed(f"{_name(settings, 'TEMPERATURE')} is {given!r}; it should be a number like 0.7")
    return float(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Pico-USD for one token of each kind. All 0: not known."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    cache_write: int = 0

    def cost_for(self, usage: Usage) -> int:
        """Pico-USD, exact."""
        plain = max(usage.prompt - usage.cached - usage.cache_written, 0)
        return (
            plain * self.prompt
            + usage.cached * self.cached
            + usage.cache_written * self.cache_write
            + usage.completion * self.completion
        )


def prices(settings: ProviderSettings) -> Prices:
    """``__PRICES=<prompt>/<cached>/<completion>`` of the alias, in USD for a million tokens: ``3/0.3/15``.

    ``cached`` is for those tokens of the prompt that the vendor had kept, ``prompt`` for the others; reasoning is a
    part of the completion. A fourth number is for tokens of the prompt that a vendor charges for keeping
    (``3/0.3/15/3.75``); without it they cost what the others do. Not set: 0, as prices are not known.

    Raises:
        Malformed: it is not three or four such numbers, below 10,000 and with at most six decimals.
    """
    given = settings.option("PRICES")
    if not given:
        return Prices()
    number = r"[0-9]{1,4}(?:\.[0-9]{1,6})?"  # Six decimals are a whole number of pico-USD a token.
    if not re.fullmatch(rf"{number}(/{number}){{2,3}}", given):
        raise Malformed(
            f"{_name(settings, 'PRICES')} is {given!r}; it should be USD for a million tokens of prompt, of cached"
            " prompt and of completion, like 3/0.3/15"
        )
    prompt, cached, completion, *rest = (int(Decimal(each) * _PICO_USD_PER_TOKEN) for each in given.split("/"))
    return Prices(prompt=prompt, cached=cached, completion=completion, cache_write=rest[0] if rest else prompt)


def _name(settings: ProviderSettings, option: str) -> str:
    return f"PLURNK_MODEL_{settings.alias}__{option}"
