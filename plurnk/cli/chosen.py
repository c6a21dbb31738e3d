"""Which model the daemon has, and whether another is meant here (SPEC 3.8).

A daemon reads its configuration when it starts: who sets a key or names a model after that must be told.
"""

from __future__ import annotations

from plurnk.config import Settings
from plurnk.errors import Malformed
from plurnk.store.lock import holder
from plurnk.wire.answers import Alias, ProvidersListResult

_SEE = "(see docs/models.md)"


def who_answers(providers: ProvidersListResult, wanted: str | None) -> str:
    """Name the model of that alias, or of the active one, and say why it is."""
    alias = _theirs(providers, wanted)
    if alias is None:
        return f"model {wanted or 'not configured'}"
    as_ = f", as {providers.why}" if providers.why and alias.active else ""
    if alias.provider == "demo":
        demo = f"model: none. This is the demo that comes with plurnk{as_}"
        return f"{demo}; PLURNK_MODEL chooses a real one {_SEE}"
    how = f"; PLURNK_MODEL chooses another {_SEE}" if as_ else ""
    return f"model {alias.alias}: {alias.model} by {alias.provider}{as_}{how}"


def otherwise(settings: Settings, providers: ProvidersListResult, wanted: str | None) -> str | None:
    """Say which model is meant here and what to do; None: the one that the daemon has, or none in particular.

    Servers are not asked. ``wanted``: as ``who_answers``.
    """
    # 20 ms that a mere --help does not need.
    from plurnk.engine.choosing import meant  # noqa: PLC0415
    from plurnk.engine.models import DEMO, aliases_of  # noqa: PLC0415

    try:
        choice = meant(settings.env)
        if choice is None or (wanted is None and choice.why and choice.env["PLURNK_MODEL"] == DEMO):
            return None
        name = wanted or choice.env["PLURNK_MODEL"]
        ours = next((alias for alias in aliases_of(choice.env) if alias.name == name), None)
    except Malformed:
        return None
    theirs = _theirs(providers, wanted)
    if ours is None or (theirs and (theirs.alias, theirs.provider, theirs.model) == (name, ours.provider, ours.model)):
        return None
    as_ = f", as {choice.why}" if choice.why and wanted is None else ""
    meant_here = f"the daemon was started with other settings than hold here: {ours.model} by {ours.provider}{as_}"
    return f"{meant_here}; {how_to_restart(settings)}"


def how_to_restart(settings: Settings) -> str:
    pid = holder(settings.db_path)
    return f"{'end it' if pid is None else f'kill {pid} ends it'}, and the next command starts another"


def _theirs(providers: ProvidersListResult, wanted: str | None) -> Alias | None:
    return next((alias for alias in providers.aliases if (alias.alias == wanted if wanted else alias.active)), None)
