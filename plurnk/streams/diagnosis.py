"""What would become of a command here and now, found out by running some: for ``plurnk doctor`` (SPEC 4.6)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, cast

import trio

from plurnk.plugins.streaming import Executor
from plurnk.streams.commands import HOW_TO_ACCEPT
from sandbox.environment import allowed
from sandbox.host import PROFILES, Enforcement, Host
from sandbox.policy import Command, Policy, Profile
from sandbox.probe import probe
from sandbox.process import NotEnforced, NotStarted, Process
from sandbox.report import report
from sandbox.spawn import open_process

TRIAL_LIMIT_S: Final = 10.0
"""For a command that does nothing: ten milliseconds in a shell, a hundred in the slowest runtime."""

_SAID_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """``program`` None: it is not installed. ``fault`` None: it did nothing in the sandbox, as it was told to."""

    program: str | None
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """``refusal``: why EXEC is refused; None: it is not, and each of the ``runtimes`` was tried.

    ``profiles``: what each enforces on this machine. ``lines`` say it to people.
    """

    profile: Profile
    accepted: tuple[str, ...]
    backend: str
    refusal: str | None
    runtimes: Mapping[str, Runtime]
    profiles: tuple[Enforcement, ...]
    lines: tuple[str, ...]


async def diagnose(
    profile: str, accept: Collection[str], executors: Mapping[str, Executor], env: Mapping[str, str]
) -> Diagnosis:
    """Look at this machine, and try what ``profile``, one of the sandbox's, lets a command do.

    Cancelled: nothing is left.
    """
    chosen = cast("Profile", profile)
    host = await probe()
    with tempfile.TemporaryDirectory(prefix="plurnk-doctor-") as folder:
        policy = Policy(profile=chosen, root=await trio.to_thread.run_sync(os.path.realpath, folder))
        refusal = _refusal(host, policy, accept)
        trials = _Trials(host, policy, accept, env, may_run=refusal is None)
        async with trio.open_nursery() as running:
            for name, executor in executors.items():
                running.start_soon(trials.see, name, executor)
    return Diagnosis(
        profile=chosen,
        accepted=tuple(accept),
        backend=host.enforcement(chosen).backend,
        refusal=refusal,
        runtimes=dict(sorted(trials.seen.items())),
        profiles=tuple(host.enforcement(each) for each in PROFILES),
        lines=tuple(report(host)),
    )


def _refusal(host: Host, policy: Policy, accept: Collection[str]) -> str | None:
    try:
        host.choose(policy, accept, how_to_accept=HOW_TO_ACCEPT)
    except NotEnforced as error:
        return str(error)
    return None


class _Trials:
    """Runs each runtime as EXEC would, with nothing to do, in a project of its own."""

    def __init__(
        self, host: Host, policy: Policy, accept: Collection[str], env: Mapping[str, str], *, may_run: bool
    ) -> None:
        self._host = host
        self._policy = policy
        self._accept = accept
        self._env = allowed(env)
        self._may_run = may_run
        self.seen: dict[str, Runtime] = {}

    async def see(self, name: str, executor: Executor) -> None:
        program = executor.program(self._env.get("PATH", os.defpath))
        fault = None
        if program is not None and self._may_run:
            fault = await self._fault(Command(argv=executor.argv(program, ""), cwd=self._policy.root, env=self._env))
        self.seen[name] = Runtime(program=program, fault=fault)

    async def _fault(self, command: Command) -> str | None:
        with trio.move_on_after(TRIAL_LIMIT_S):
            try:
                async with open_process(command, self._policy, self._host, accept=self._accept) as process:
                    ended = await process.wait()
                    said = await _said(process)
            except (NotEnforced, NotStarted, OSError) as error:
                return f"it could not be started: {error}"
            return None if ended.code == 0 else f"it ended with {ended.signal or ended.code}{said and ': ' + said}"
        return f"it did not end within {TRIAL_LIMIT_S:g} s"


async def _said(process: Process) -> str:
    """Return the last line of its standard error. It has ended, so this does not wait."""
    lines = (await process.stderr.receive_some(_SAID_BYTES)).decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
