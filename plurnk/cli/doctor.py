"""``plurnk doctor``: what works here, what does not, and what to do about it. It starts nothing."""

from __future__ import annotations

import argparse
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
import trio

from plurnk.cli.chosen import otherwise
from plurnk.cli.daemon import answering, token_of
from plurnk.cli.exits import FAILED, OK
from plurnk.cli.measures import span
from plurnk.cli.rows import printable
from plurnk.cli.settings import load
from plurnk.client import ClientError, RequestError, open_client
from plurnk.config import VARIABLES, BadConfiguration, Settings
from plurnk.engine.choosing import choose_model
from plurnk.engine.models import open_models
from plurnk.errors import PlurnkError
from plurnk.plugins.registry import ProviderPlugins, load_executors
from plurnk.schemes.exec import DEFAULT_RUNTIME
from plurnk.store.lock import holder
from plurnk.streams.diagnosis import Diagnosis, diagnose
from plurnk.wire.answers import DaemonStatusResult, ProvidersListResult

State: TypeAlias = Literal["well", "note", "bad"]

_SIGNS: Final = {"well": "✓", "note": "!", "bad": "✗"}
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``bad``: something does not work, and ``text`` says the way out."""

    about: str
    state: State
    text: str


def main(options: argparse.Namespace) -> int:
    findings: list[Finding] = []
    diagnosis: Diagnosis | None = None
    try:
        settings = load(options)
    except BadConfiguration as error:
        findings += [Finding(about="configuration", state="bad", text=line) for line in error.detail.splitlines()]
    else:
        findings, diagnosis = trio.run(_examine, settings)
    is_well = all(finding.state != "bad" for finding in findings)
    if options.json:
        print(msgspec.json.encode({"well": is_well, "findings": findings, "sandbox": diagnosis}).decode())
    else:
        for finding in findings:
            print(printable(f"{_SIGNS[finding.state]} {finding.about:13} {finding.text}"))
        for line in diagnosis.lines if diagnosis is not None else ():
            print(printable(f"  {line}".rstrip()))
    return OK if is_well else FAILED


async def _examine(settings: Settings) -> tuple[list[Finding], Diagnosis]:
    executors = load_executors()
    diagnosis = await diagnose(settings.sandbox, settings.sandbox_accept, executors, settings.env)
    findings = [
        *_configuration(settings),
        *_files(settings),
        *await _daemon(settings),
        await _model(settings),
        *_commands(diagnosis),
    ]
    return findings, diagnosis


def _configuration(settings: Settings) -> list[Finding]:
    changed = sum(settings.sources[name] != "default" for name in VARIABLES)
    text = f"can be read; settings that are not the default: {changed} (plurnk config shows them)"
    warnings = [Finding(about="configuration", state="note", text=warning) for warning in settings.warnings]
    return [Finding(about="configuration", state="well", text=text), *warnings]


def _files(settings: Settings) -> list[Finding]:
    folder = settings.state_dir
    found = [_folder(folder)]
    if settings.token_path.exists() and settings.token_path.stat().st_mode & _OTHERS:
        text = f"others can read {settings.token_path}; chmod 600 it, or remove it and a new one is made"
        found.append(Finding(about="token", state="bad", text=text))
    if settings.socket_path is not None and _is_open_to_others(door := settings.socket_path.parent):
        text = f"{door} is not yours alone: no socket is made in it; chmod 700 it, or PLURNK_SOCKET chooses another"
        found.append(Finding(about="socket", state="bad", text=text))
    if settings.db_path.exists() and not os.access(settings.db_path, os.R_OK | os.W_OK):
        found.append(Finding(about="database", state="bad", text=f"{settings.db_path} cannot be read and written"))
    return found


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        return Finding(about="state", state="well", text=f"{folder} will be made when it is wanted")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(about="state", state="bad", text=f"{folder} cannot be written; PLURNK_DB_PATH chooses another")
    if _is_open_to_others(folder):
        text = f"{folder} is not yours alone: others may read your notes; chmod 700 it"
        return Finding(about="state", state="note", text=text)
    return Finding(about="state", state="well", text=f"{folder} is private to you")


def _is_open_to_others(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    found = folder.stat()
    return found.st_uid != os.geteuid() or bool(found.st_mode & _OTHERS)


async def _daemon(settings: Settings) -> list[Finding]:
    """Ask it how it is, if there is one; and see that who holds the database is who answers."""
    pid = holder(settings.db_path)
    try:
        where = await answering(settings)
        if where is None:
            return [_silent(pid, settings)]
        async with open_client(where, token=token_of(settings)) as client:
            status: DaemonStatusResult = await client.call("daemon.status")
            providers: ProvidersListResult = await client.call("providers.list")
    except (ClientError, RequestError) as error:
        return [Finding(about="daemon", state="bad", text=str(error))]
    who = "of another database" if pid is None else f"with pid {pid}"
    text = f"the one {who} answers at {where}; version {status.version}, up for {span(status.uptime_ms / 1000)}"
    found = [Finding(about="daemon", state="well", text=f"{text}; live streams: {status.counts.streams}")]
    if other := otherwise(settings, providers, None):
        found.append(Finding(about="daemon", state="note", text=other))
    if status.sandbox is None:
        text = "it runs no commands; if they can be run, see below, restart it"
        found.append(Finding(about="daemon", state="bad", text=text))
    return found


def _silent(pid: int | None, settings: Settings) -> Finding:
    if pid is None:
        return Finding(about="daemon", state="well", text="none runs; the next command that wants one starts it")
    text = f"pid {pid} holds {settings.db_path} and answers neither on its socket nor at its address"
    return Finding(about="daemon", state="bad", text=f"{text}; end it, and the next command starts another")


async def _model(settings: Settings) -> Finding:
    """Make the provider as a loop would; nothing is asked of it."""
    try:
        choice = await choose_model(settings.env)
        async with open_models(choice.env, ProviderPlugins()) as models:
            alias = models.resolve(None)
            await models.provider(None)
    except PlurnkError as error:
        return Finding(about="model", state="bad", text=error.detail)
    as_ = f", as {choice.why}" if choice.why else ""
    if alias.provider == "demo":
        return Finding(about="model", state="note", text=f"none but the demo{as_}; PLURNK_MODEL chooses a real one")
    how = "; PLURNK_MODEL chooses another" if choice.why else ""
    return Finding(about="model", state="well", text=f"{alias.name}: {alias.model} by {alias.provider}{as_}{how}")


def _commands(diagnosis: Diagnosis) -> list[Finding]:
    found = _runtimes(diagnosis)
    if diagnosis.refusal is not None:
        return [*found, Finding(about="commands", state="bad", text=f"EXEC is refused (501): {diagnosis.refusal}")]
    if diagnosis.profile == "off":
        text = "run without a sandbox, as PLURNK_SANDBOX=off says: they may do whatever you may"
        return [*found, Finding(about="commands", state="note", text=text)]
    text = f"run in the profile {diagnosis.profile}, enforced by {diagnosis.backend}"
    found.append(Finding(about="commands", state="well", text=text))
    if diagnosis.accepted:
        text = f"PLURNK_SANDBOX_ACCEPT lets the sandbox lack {', '.join(diagnosis.accepted)}"
        found.append(Finding(about="commands", state="note", text=text))
    return found


def _runtimes(diagnosis: Diagnosis) -> list[Finding]:
    """Tell which work; those that are installed were tried, unless commands are refused."""
    installed = {name: runtime for name, runtime in diagnosis.runtimes.items() if runtime.program is not None}
    faulty = {name: runtime for name, runtime in installed.items() if runtime.fault is not None}
    working = [f"{name} ({installed[name].program})" for name in installed.keys() - faulty.keys()]
    text = ", ".join(sorted(working)) or "none"
    if missing := diagnosis.runtimes.keys() - installed.keys():
        text += f"; not installed: {', '.join(sorted(missing))}"
    found = [Finding(about="runtimes", state="well" if working else "bad", text=text)]
    for name, runtime in faulty.items():
        state: State = "bad" if name == DEFAULT_RUNTIME else "note"
        text = f"{name} ({runtime.program}) does not work in the sandbox: {runtime.fault}"
        found.append(Finding(about="runtimes", state=state, text=text))
    return found
