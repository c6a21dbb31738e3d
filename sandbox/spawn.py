"""The one way to start a command: with what this machine has, or not at all."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

import trio

from sandbox import bubblewrap, landlock, private, repository, seccomp, surroundings
from sandbox.host import HOW_TO_ACCEPT, Host
from sandbox.links import real
from sandbox.namespaced import Setup, open_namespaced
from sandbox.paths import is_within
from sandbox.policy import Command, Policy
from sandbox.process import Fds, NotStarted, Process
from sandbox.supervised import Plan, open_supervised
from sandbox.surroundings import Surroundings

logger = logging.getLogger(__name__)

CLEAN_LIMIT_S = 2.0
"""For removing a few files that a command must not leave behind."""


@asynccontextmanager
async def open_process(
    command: Command,
    policy: Policy,
    host: Host,
    *,
    accept: Collection[str] = (),
    how_to_accept: str = HOW_TO_ACCEPT,
) -> AsyncIterator[Process]:
    """Run ``command`` under ``policy`` for the length of the block; what is left of its tree at the end is killed.

    Args:
        command: What to run.
        policy: What it may do.
        host: What ``probe`` found.
        accept: Names of ``host.GAPS`` that this machine need not keep.
        how_to_accept: See ``Host.choose``.

    Raises:
        NotEnforced: this machine cannot enforce the policy, and what is missing is not accepted.
        NotStarted: the command could not be started; nothing is left.

    Cancelled: nothing is left.
    """
    backend = host.choose(policy, accept, how_to_accept=how_to_accept).backend
    if backend == "bubblewrap":
        opened = _open_in_bubblewrap(command, policy, host)
    else:
        prepare = partial(plan, command, policy, host)
        opened = open_supervised(prepare, limits=policy.limits, maker=host.maker)
    async with opened as process:
        yield process


@asynccontextmanager
async def _open_in_bubblewrap(command: Command, policy: Policy, host: Host) -> AsyncIterator[Process]:
    assert host.bubblewrap is not None
    absent: list[str] = []

    def set_up(fds: Fds) -> Setup:
        try:
            around = surroundings.look(policy, command.env)
        except OSError as error:
            raise NotStarted(f"the command was not started: {error.strerror}: {error.filename}") from error
        absent.extend(around.repository.absent)

        arguments = bubblewrap.arguments(policy, command, around, fds=fds, version=host.bubblewrap_version)
        return Setup(arguments=arguments, meant=partial(bubblewrap.meant, policy, around))

    script = () if command.script is None else (bubblewrap.script_path(policy.profile),)
    program = seccomp.program(host.machine) if host.has_seccomp and policy.profile != "off" else None
    try:
        async with open_namespaced(
            (*command.argv, *script),
            set_up,
            bwrap=host.bubblewrap,
            limits=policy.limits,
            maker=host.maker,
            seccomp=program,
            script=command.script,
        ) as process:
            yield process
    finally:
        if absent:
            # Shield: a name that git obeys is not left behind, whoever ended the command.
            with trio.move_on_after(CLEAN_LIMIT_S, shield=True):
                await trio.to_thread.run_sync(_clean, tuple(absent))


def _clean(absent: tuple[str, ...]) -> None:
    for path in repository.without_redirections(absent):
        logger.warning("a command made %s, which git would obey: removed", path)


def plan(command: Command, policy: Policy, host: Host) -> Plan:
    """How the supervisor is to run it. Looks around and makes the private directory: not on the event loop.

    Raises:
        OSError: there is no room for the directory.
    """
    around = surroundings.look(policy, command.env)
    is_off = policy.profile == "off"
    directory = private.make(real(tempfile.gettempdir()), links={} if is_off else _links(around), script=command.script)
    try:
        rules = None if is_off else _ruleset(policy, around, host, directory)
        return Plan(
            argv=(*command.argv, *((f"{directory}/script",) if command.script is not None else ())),
            cwd=command.cwd,
            env=_environment(command, policy, around, directory),
            abi=host.landlock_abi,
            ruleset=landlock.signals_only(host.landlock_abi) if is_off else rules,
            seccomp=None if is_off or not host.has_seccomp else _filter(policy, host),
            confined=not is_off,
            private_directory=directory,
        )
    except BaseException:
        private.remove(directory)
        raise


def _ruleset(policy: Policy, around: Surroundings, host: Host, directory: str) -> landlock.Ruleset | None:
    if not host.landlock_abi:
        return None
    marks = landlock.marks(policy, around, private_directory=directory)
    return landlock.ruleset(marks, _names, abi=host.landlock_abi, has_network=policy.has_network)


def _filter(policy: Policy, host: Host) -> bytes | None:
    return seccomp.program(host.machine, deny_inet=not policy.has_network)


def _environment(command: Command, policy: Policy, around: Surroundings, directory: str) -> dict[str, str]:
    """With a TMPDIR, and a HOME where the real one is out of reach, that can be written to."""
    env = {**command.env}
    if policy.profile == "off":
        return env | {"TMPDIR": bubblewrap.temporary_directory(policy, around)}
    env["TMPDIR"] = policy.tmp or f"{directory}/tmp"  # noqa: S108 – a directory of its own
    if "HOME" in env and around.home is not None and not is_within(around.home, (policy.root, *policy.writable)):
        env["HOME"] = f"{directory}/home"
    return env


def _links(around: Surroundings) -> dict[str, str]:
    """The tools of the real home, by their names in it."""
    home = f"{around.home}/"
    return {tool.path.removeprefix(home): tool.source for tool in around.tools if tool.path.startswith(home)}


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 – names are all that is wanted
    except OSError:
        return []
