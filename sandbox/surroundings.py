"""What of this machine matters for a command line of bubblewrap: looked up here, so that building that is pure."""

# Paths are words of a command line here, so they stay text; some hundred are looked at for each command.
# ruff: noqa: PTH110, PTH112, PTH113, PTH117, PTH123, PTH208

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Literal, TypeAlias

from sandbox import links, repository
from sandbox.homes import SECRETS, TOOLS
from sandbox.paths import contains, is_beneath, is_within, is_within_any
from sandbox.policy import Policy
from sandbox.repository import Repository

Kind: TypeAlias = Literal["file", "directory"]

_ETC: Final = (
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/wireguard",
)
"""What only root can read; hidden from a command that root runs."""

_COVERED: Final = ("/tmp", "/var/tmp", "/run", "/var/run", "/home", "/root")  # noqa: S108 – covered, not written to

_NO_HOMES: Final = ("/bin", "/dev", "/etc", "/lib", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin")

_RESOLVER: Final = "/etc/resolv.conf"

_SSH: Final = "/etc/ssh"

_CAP_SYS_ADMIN: Final = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    path: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """``source`` is seen at ``path``, read-only. They differ where there is a link on the way."""

    path: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All paths are real ones, and were there when it was looked; but for ``tools``, whose ``path`` may have links.

    ``is_root``: the command has user id 0, to which much of /proc is writable without any capability.
    ``can_mount``: namespaces can be made without a new user namespace.
    ``home``: the caller's, None when it has none that could be hidden.
    ``covered``: directories that are replaced by empty private ones: homes, /run and those for temporary files.
    ``tools``: what is seen of the homes and of /run all the same.
    ``hidden``: the policy's, and further secrets; what was not there is not here.
    ``missing``: of the root, the writable directories and the one for temporary files, those that are not there
    or lead elsewhere by a link, so that they are not what was granted.
    ``repository``: those of the root and of each writable directory as one.
    """

    is_root: bool
    can_mount: bool
    home: str | None
    covered: tuple[str, ...]
    tools: tuple[Bound, ...]
    hidden: tuple[Hidden, ...]
    missing: tuple[str, ...]
    repository: Repository


def look(policy: Policy, env: Mapping[str, str]) -> Surroundings:
    """Look around for ``policy``; ``env`` is what the command will have. Some 100 calls to the system, no writing.

    What may not be reached is taken for missing.

    Raises:
        OSError: a command that lives exchanges what is looked at faster than that can be done.
    """
    homes = tuple(dict.fromkeys(_homes(env)))
    home = next(iter(homes), None)
    covered = tuple(_covered(homes))
    granted = (policy.root, *policy.writable)
    named = (*granted, policy.tmp) if policy.tmp is not None else granted
    hidden = dict.fromkeys(links.real(path) for path in policy.hidden)
    secrets = dict.fromkeys(
        (*_etc(), *(path for each in homes for name in SECRETS if is_within(path := f"{each}/{name}", granted)))
    )
    return Surroundings(
        is_root=os.geteuid() == 0,
        can_mount=_can_mount(),
        home=home,
        covered=covered,
        tools=tuple(_tools(policy, env, homes, covered)),
        hidden=tuple(_existing((*hidden, *(path for path in secrets if not contains(path, policy.root))))),
        repository=_repositories(policy, home),
        missing=tuple(path for path in named if links.real(path) != path or not os.path.exists(path)),
    )


def _homes(env: Mapping[str, str]) -> Iterator[str]:
    """HOME, and what the system says. Accounts of the system have homes that nothing would work without."""
    for home in (env.get("HOME", ""), _home_of(os.geteuid())):
        real = links.real(home) if os.path.isabs(home) else "/"
        if os.path.isdir(real) and not any(contains(real, each) or contains(each, real) for each in _NO_HOMES):
            yield real


@cache
def _home_of(user: int) -> str:
    """As the system has it; empty for a user that it does not know."""
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:
        return ""


def _covered(homes: tuple[str, ...]) -> Iterator[str]:
    """Real directories, none twice. One that cannot be entered hides itself."""
    for path in dict.fromkeys(map(links.real, (*_COVERED, *homes))):
        if os.path.isdir(path) and (path in homes or os.access(path, os.X_OK)):
            yield path


def _tools(policy: Policy, env: Mapping[str, str], homes: tuple[str, ...], covered: tuple[str, ...]) -> Iterator[Bound]:
    """What is bound over the covered directories: parents first, and nothing that one of them brings along."""
    granted = (policy.root, *policy.writable)
    tools = [f"{home}/{name}" for home in homes for name in TOOLS]
    private = frozenset(f"{home}/{name}" for home in homes for name in SECRETS)
    others = (*covered, *private, *tools)
    covering = frozenset(covered)

    def may_be_seen(path: str) -> bool:
        """Whether a directory that a variable names can be bound: it is covered, and brings nothing along but tools.

        What lies in the root or in a writable directory is there anyway, and a link there is not believed.
        """
        real = links.real(path)
        beneath = real.rstrip("/") + "/"
        return (
            (is_within_any(path, covering) or is_within_any(real, covering))
            and real not in covering
            and not is_within(real, granted)
            and not is_within_any(real, private)
            and not any(each.startswith(beneath) for each in others)
            and os.path.isdir(real)
            and not links.leads_through(path, in_reach)
        )

    def in_reach(link: str) -> bool:
        """Whether a command could have made it: it lies in what is granted, and is not covered there."""
        deepest = max((each for each in (*covered, *granted) if contains(each, link)), key=len, default="")
        return deepest in granted

    found = [path for path in tools if os.path.exists(path) and not links.leads_through(path, in_reach)]
    # Many a PATH names a directory twice.
    for choices in dict.fromkeys(_named(env, granted)):
        found += [path for path in choices if may_be_seen(path)][:1]
    if policy.has_network and is_within(resolver := links.real(_RESOLVER), covered):
        found.append(resolver)
    for path in sorted(set(found)):
        if not any(is_beneath(path, other) for other in found) and os.path.exists(path):
            yield Bound(path=path, source=links.real(path))


def _named(env: Mapping[str, str], granted: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The directories that PATH and VIRTUAL_ENV lead to; of each what to bind, the best first."""
    for entry in env.get("PATH", "").split(":"):
        if os.path.isabs(entry):
            yield _prefix_or_itself(entry)
    environment = env.get("VIRTUAL_ENV", "")
    if os.path.isabs(environment) and os.path.isfile(f"{environment}/pyvenv.cfg"):
        yield (os.path.normpath(environment),)
        # One that a command can write to could name any directory as the home of its Python.
        reachable = partial(is_within, directories=granted)
        if not reachable(links.real(environment)) and not links.leads_through(environment, reachable):
            yield from _base_python(f"{environment}/pyvenv.cfg")


def _base_python(configuration: str) -> Iterator[tuple[str, ...]]:
    """The Python that a virtual environment was made with."""
    try:
        with open(configuration, encoding="utf-8", errors="replace") as file:
            homes = re.findall(r"(?m)^home\s*=\s*(/.*?)\s*$", file.read(16 * 1024))
    except OSError:
        return
    for path in homes:
        # The file may be one that a command of another project can write to.
        if any(os.path.isfile(f"{path}/{name}") for name in ("python3", "python")):
            yield _prefix_or_itself(path)


def _prefix_or_itself(directory: str) -> tuple[str, ...]:
    """``bin`` with a ``lib`` beside it is of no use alone, so the directory of both is tried first."""
    directory = os.path.normpath(directory)
    above, name = os.path.split(directory)
    return (above, directory) if name in {"bin", "sbin"} and os.path.isdir(f"{above}/lib") else (directory,)


def _etc() -> Iterator[str]:
    """Files of the system that this user can read and a command should not: none for an ordinary user."""
    yield from (path for path in _ETC if os.access(path, os.R_OK))
    try:
        keys = [name for name in os.listdir(_SSH) if name.endswith("_key")]
    except OSError:
        return
    if any(os.access(f"{_SSH}/{key}", os.R_OK) for key in keys):
        yield _SSH


def _existing(paths: Iterable[str]) -> Iterator[Hidden]:
    for path in paths:
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            continue
        if not stat.S_ISLNK(mode):
            yield Hidden(path=path, kind="directory" if stat.S_ISDIR(mode) else "file")
        elif os.path.exists(real := links.real(path)):
            yield Hidden(path=real, kind="directory" if os.path.isdir(real) else "file")


def _repositories(policy: Policy, home: str | None) -> Repository:
    found = [repository.look(top) for top in dict.fromkeys((policy.root, *policy.writable))]
    if found[0] == repository.NONE:
        found.append(repository.look_above(policy.root, home))
    held = dict.fromkeys(held for each in found for held in each.held)
    return Repository(held=tuple(held), absent=tuple(dict.fromkeys(path for each in found for path in each.absent)))


@cache
def _can_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN: asked once, as nothing here gives it up."""
    if os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            effective = next(line for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
