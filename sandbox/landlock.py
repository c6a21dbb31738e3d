"""Policy to Landlock rules. Pure, but for the lister that it is given.

Landlock knows no order and no exceptions: a rule gives rights to a directory and all that is beneath it, and
rights add up. So what a policy says (``marks``: here this much, there less) becomes rules by going around what gets
less: a directory with something hidden in it is not granted itself, its children are, one by one.

That costs three things, which the report names: such a directory cannot be listed, nothing new can be made in it,
and a writable tree with a part that is not cannot be had at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sandbox.domain import SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL
from sandbox.paths import contains, is_beneath, is_within
from sandbox.policy import Policy
from sandbox.surroundings import Surroundings

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK: Final = 1 << 11
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

READ: Final = EXECUTE | READ_FILE | READ_DIR
MAKE: Final = REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
WRITE: Final = READ | MAKE | WRITE_FILE | TRUNCATE
DEVICE: Final = READ_FILE | WRITE_FILE | IOCTL_DEV
OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What can be said of a file; the rest is of directories alone."""

BIND_TCP: Final = 1 << 0
CONNECT_TCP: Final = 1 << 1

REFER_ABI: Final = 2
TRUNCATE_ABI: Final = 3
TCP_ABI: Final = 4
IOCTL_ABI: Final = 5
SCOPES_ABI: Final = 6

DEVICES: Final = ("/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero")

Rule = tuple[str, int]
Lister = Callable[[str], Sequence[str]]
"""The names in a directory; none when it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """What is forbidden but for the rules: as the kernel takes it, in bits that its version knows."""

    handled_fs: int
    handled_net: int
    scoped: int
    rules: tuple[Rule, ...]


def handled_fs(abi: int) -> int:
    """All that this version can forbid."""
    newest = (MAKE_SYM << 1) - 1
    for since, right in ((REFER_ABI, REFER), (TRUNCATE_ABI, TRUNCATE), (IOCTL_ABI, IOCTL_DEV)):
        if abi >= since:
            newest |= right
    return newest


def ruleset(marks: Mapping[str, int], listing: Lister, *, abi: int, has_network: bool) -> Ruleset:
    """``marks`` as rules. What is under no mark is forbidden."""
    handled = handled_fs(abi)
    return Ruleset(
        handled_fs=handled,
        handled_net=BIND_TCP | CONNECT_TCP if abi >= TCP_ABI and not has_network else 0,
        scoped=SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if abi >= SCOPES_ABI else 0,
        rules=tuple(sorted((path, rights & handled) for path, rights in _rules(marks, listing) if rights & handled)),
    )


def signals_only(abi: int) -> Ruleset | None:
    """One that forbids nothing but to signal processes outside, such as the supervisor."""
    if abi < SCOPES_ABI:
        return None
    return Ruleset(handled_fs=0, handled_net=0, scoped=SCOPE_SIGNAL, rules=())


def _rules(marks: Mapping[str, int], listing: Lister) -> Iterator[Rule]:
    for path, rights in marks.items():
        yield from _beneath(path, rights, marks, listing)


def _beneath(path: str, rights: int, marks: Mapping[str, int], listing: Lister) -> Iterator[Rule]:
    """Rights for ``path`` and beneath, but for what has a mark of its own there."""
    folder = path.rstrip("/") + "/"
    shared = rights
    for below, others in marks.items():
        if below.startswith(folder):
            shared &= others
    if shared:
        yield path, shared
    if rest := rights & ~shared:
        for name in listing(path):
            if folder + name not in marks:
                yield from _beneath(folder + name, rest, marks, listing)


def marks(policy: Policy, around: Surroundings, *, private_directory: str) -> dict[str, int]:
    """How much of the file system a policy gives: to each of these paths and beneath, up to the next one.

    As with bubblewrap the root alone may lie in a hidden directory, and ``policy.tmp``. ``private_directory``
    is one of ``private.make``.
    """
    hidden = [each.path for each in around.hidden]

    def is_hidden(path: str) -> bool:
        in_root = contains(policy.root, path)
        return any(contains(each, path) and not (in_root and is_beneath(policy.root, each)) for each in hidden)

    # A home in the project is the project's: Landlock could hide it only at the price of nothing new beside it.
    projects = [path for path in (policy.root, *policy.writable) if path != "/"]
    found = {"/": READ, "/dev": 0} | {path: 0 for path in around.covered if not is_within(path, projects)}
    tools = [tool.source for tool in around.tools if not is_hidden(tool.source)]
    found |= {path: READ for path in tools if not is_within(path, projects)}
    found |= dict.fromkeys(DEVICES, DEVICE) | {"/dev/shm": WRITE}  # noqa: S108 – where shared memory is
    granted = {policy.root: WRITE if policy.root_is_writable else READ} | dict.fromkeys(policy.writable, WRITE)
    found |= {path: rights for path, rights in granted.items() if not is_hidden(path) and path not in around.missing}
    found |= dict.fromkeys(hidden, 0)
    if policy.tmp is not None and policy.tmp not in (*hidden, *around.missing):
        found[policy.tmp] = WRITE
    found |= {f"{private_directory}/{name}": WRITE for name in ("home", "tmp")}
    return found if is_within(private_directory, projects) else found | {f"{private_directory}/script": READ}
