"""``plurnk config``: what holds here, and why."""

from __future__ import annotations

import argparse
import json
from typing import Final

from plurnk.cli.exits import OK
from plurnk.cli.settings import settings_of
from plurnk.config import PROVIDER_VARIABLES, VARIABLES, WITHOUT_EFFECT, Variable, effective

_REFERENCE: Final = """\
# Configuration

Made by `plurnk config --reference`; a test compares.

A variable's value is taken from the last of these that has it: its default, `$XDG_CONFIG_HOME/plurnk/plurnk.env`,
`./.env`, `.env.NAME` with `--config NAME`, the environment, its flag. The files hold `KEY=VALUE` lines, with quotes,
comments and `export` if you like; nothing in them is interpolated. `./.env` and `.env.NAME` may come with a project,
or be written by a command: not taken from them is what lets somebody in (`PLURNK_SANDBOX`, `_SANDBOX_ACCEPT`, `_HOST`,
`_AUTH`, `_ALLOWED_ORIGINS`, `_INSECURE`, `_TLS_CERT`, `_TLS_KEY`), names our files or others of yours
(`PLURNK_DB_PATH`, `_SOCKET`, `_PERSONA`, `_MOCK_SCRIPT`) or says where keys and prompts are sent (each
`…_BASE_URL`, `OLLAMA_HOST` and each `…__API_KEY_ENV`) or on whose account (the vendors' keys). Booleans
are `0` or `1`. Values that cannot be used
stop the start, all of them listed; an unknown `PLURNK_…` is a warning. `plurnk config` shows what holds and where it
came from.

| variable | flag | default | meaning |
|---|---|---|---|
{variables}

Where `$XDG_RUNTIME_DIR` is no directory, the socket is `$XDG_STATE_HOME/plurnk/run/plurnk.sock`. Beside the database
lie `token`, `daemon.url` (the address of the daemon that runs) and `daemon.log` (of one that a command started).

## Models

`PLURNK_MODEL_<alias>=<provider>/<model id>` names a model, `PLURNK_MODEL=<alias>` chooses one. What concerns one alias
only:

| variable | meaning |
|---|---|
| `PLURNK_MODEL_<alias>__BASE_URL` | its server; no key is sent there but the one of the next |
| `…__API_KEY_ENV` | the name of the variable that holds its key |
| `…__CONTEXT` | tokens that the model can take; `ollama` is told to, and takes {context} when it is not set |
| `…__TEMPERATURE` | a number like `0.7` |
| `…__MAX_TOKENS` | of an answer with its reasoning, `anthropic` only; 32000 when it is not set |
| `…__PRICES` | USD for a million tokens of prompt, cached prompt and completion: `3/0.3/15`; without it costs are 0 |

A vendor that charges for keeping a prompt has that price as a fourth number (`3/0.3/15/3.75`).

When `PLURNK_MODEL` is not set, the daemon takes what is plainly meant, and says what and why (`plurnk run`, `plurnk
doctor`, its log): the one alias that is configured; else the vendor of the one key that is set, with the model below;
else the first model of a server that answers on `http://`, at `OPENAI_BASE_URL` or `OLLAMA_HOST`; else, and when there
are several aliases or keys, `demo`. `PLURNK_MODEL=demo` asks nobody.

| key | model |
|---|---|
{defaults}

What the providers read:

| variable | meaning |
|---|---|
{foreign}
"""


def main(options: argparse.Namespace) -> int:
    if options.reference:
        print(reference(), end="")
        return OK
    rows = list(effective(settings_of(options)))
    if options.json:
        print(json.dumps({name: {"value": value, "source": source} for name, value, source in rows}))
        return OK
    name_width = max(len(name) for name, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows)
    for name, value, source in rows:
        print(f"{name:{name_width}}  {value:{value_width}}  {source}")
    return OK


def reference() -> str:
    """Return ``docs/configuration.md``."""
    from plurnk.engine.choosing import DEFAULT_MODELS  # noqa: PLC0415 – the engine, for the one who writes the docs
    from plurnk.providers.ollama import DEFAULT_CONTEXT_TOKENS  # noqa: PLC0415 – as above

    variables = "\n".join(
        f"| `{name}` | `{variable.flag}` | {_default(variable)} | {variable.help}{_caveat(name)} |"
        for name, variable in VARIABLES.items()
    )
    foreign = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in PROVIDER_VARIABLES.items())
    defaults = "\n".join(f"| `{key}` | `{vendor}/{model}` |" for key, (vendor, model) in DEFAULT_MODELS.items())
    return _REFERENCE.format(
        variables=variables, foreign=foreign, defaults=defaults, context=f"{DEFAULT_CONTEXT_TOKENS:,}"
    )


def _default(variable: Variable) -> str:
    return f"`{variable.default}`" if variable.default else "–"


def _caveat(name: str) -> str:
    return " (no effect in this version)" if name in WITHOUT_EFFECT else ""
